"""Configs as pytrees."""

import dataclasses

import jax
import pytest
from flax import struct

from peg_jax.core.config import ConfigError, nested, require, static


@struct.dataclass
class Inner:
    rate: float = 0.5
    size: int = static(3)


@struct.dataclass
class Outer:
    inner: Inner = nested(Inner)
    weight: float = 2.0


def test_floats_are_leaves_and_static_fields_are_structure() -> None:
    assert sorted(jax.tree.leaves(Outer())) == [0.5, 2.0]
    other_rate, other_size = Outer(Inner(rate=0.1)), Outer(Inner(size=4))
    assert jax.tree.structure(Outer()) == jax.tree.structure(other_rate)
    assert jax.tree.structure(Outer()) != jax.tree.structure(other_size)


def test_configs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Outer().weight = 1.0


def test_require_names_option_value_and_remedy_as_typed() -> None:
    with pytest.raises(ConfigError, match=r"--agent\.min-std=-1 cannot work: make it positive"):
        require(False, "agent.min_std", -1, "make it positive")
    require(True, "agent.min_std", -1, "make it positive")
