"""Keys by name."""

import jax
import numpy as np

from peg_jax.core import rng


def test_names_give_different_keys_and_the_same_name_the_same() -> None:
    key = jax.random.key(0)
    data = {name: tuple(np.asarray(jax.random.key_data(rng.named(key, name)))) for name in ("a", "b", "plan", "act")}
    assert len(set(data.values())) == 4
    assert tuple(np.asarray(jax.random.key_data(rng.named(key, "plan")))) == data["plan"]


def test_the_hash_is_stable_across_processes() -> None:
    expected = jax.random.fold_in(jax.random.key(3), 0x352441C2)  # crc32(b"abc")
    assert (jax.random.key_data(rng.named(jax.random.key(3), "abc")) == jax.random.key_data(expected)).all()
