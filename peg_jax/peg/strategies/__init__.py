"""Goal strategies, one family per file; `peg_jax.peg.methods` gives them their names."""
