"""PEG and episodic curiosity in JAX."""
