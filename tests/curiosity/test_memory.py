"""Episodic memory: golden values 1, 2 and 5 of the reference."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array, Key
from peg_jax.curiosity.memory import Memory, aggregate, clear, init_memory, insert
from peg_jax.curiosity.reachability_config import Aggregation, MemoryConfig

CAPACITY = 200
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def of_values() -> dict[Aggregation, object]:
    """One compiled program per rule; values lie in the first slots, whatever the others hold is not to matter."""

    def compile_rule(rule: Aggregation) -> object:
        program = jax.jit(lambda x, filled: aggregate(x, filled, MemoryConfig(aggregation=rule)))

        def run(values: list[float]) -> float:
            padded = np.full(CAPACITY, 0.99, np.float32)
            padded[: len(values)] = values
            return float(program(padded, np.arange(CAPACITY) < len(values)))

        return run

    return {rule: compile_rule(rule) for rule in ("percentile", "nth_largest", "max", "relative_count")}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([i / 10 for i in range(1, 11)], 0.91),
        ([0.05, 0.95], 0.86),
        ([0.9, 0.1, 0.3, 0.2, 0.8], 0.86),
        ([0.2, 0.4, 0.9], 0.80),
        ([0.2], 0.2),
        ([], 0.0),
        ([i / 200 for i in range(200)], 0.8955),
        ([i / 10 for i in range(11)], 0.9),
        ([0.0] * 180 + [1.0] * 20, 0.1),
        ([0.0] * 179 + [1.0] * 21, 1.0),
    ],
)
def test_percentile(of_values: dict, values: list[float], expected: float) -> None:
    assert of_values["percentile"](values) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([i / 20 for i in range(1, 21)], 0.55), ([0.3, 0.9, 0.5], 0.3), ([], 0.0), ([0.7] * 9 + [0.1], 0.1)],
)
def test_nth_largest(of_values: dict, values: list[float], expected: float) -> None:
    assert of_values["nth_largest"](values) == pytest.approx(expected, abs=1e-6)


def test_max_and_relative_count(of_values: dict) -> None:
    values = [0.2, 0.95, 0.5, 0.51]
    assert of_values["max"](values) == pytest.approx(0.95)
    assert of_values["relative_count"](values) == pytest.approx(0.5)  # 0.5 itself is not above
    assert of_values["max"]([]) == 0.0
    assert of_values["relative_count"]([]) == 0.0


def test_the_percentile_is_a_value_of_the_program(of_values: dict) -> None:
    values, filled = jnp.arange(5.0), jnp.ones(5, bool)
    several = jax.vmap(lambda p: aggregate(values, filled, MemoryConfig(percentile=p)))(jnp.array([0.0, 50.0, 100.0]))
    np.testing.assert_allclose(several, [0.0, 2.0, 4.0])


def letters(count: int) -> Array:
    return jnp.arange(65, 65 + count)


def filled_by(memory: Memory, items: Array, key: Key, replacement: str) -> Memory:
    def step(memory: Memory, item: Array) -> tuple[Memory, None]:
        return insert(memory, jax.random.fold_in(key, item), item, replacement), None

    return jax.lax.scan(step, memory, items)[0]


def test_fifo_replaces_the_oldest() -> None:
    memory = filled_by(init_memory(jnp.zeros((), jnp.int32), 3), letters(5), KEY, "fifo")
    assert bytes(memory.entries.tolist()) == b"DEC"
    assert int(memory.size) == 3
    assert memory.filled.tolist() == [True] * 3


def test_what_is_not_to_be_inserted_leaves_the_memory_alone() -> None:
    memory = filled_by(init_memory(jnp.zeros((), jnp.int32), 3), letters(2), KEY, "fifo")
    same = insert(memory, KEY, jnp.asarray(90), "fifo", where=False)
    assert jax.tree.map(np.asarray, same).entries.tolist() == memory.entries.tolist()
    assert int(same.inserted) == 2
    assert same.filled.tolist() == [True, True, False]


def test_a_cleared_memory_is_empty_and_takes_the_next() -> None:
    memory = clear(filled_by(init_memory(jnp.zeros((), jnp.int32), 3), letters(5), KEY, "fifo"))
    assert int(memory.size) == 0
    again = insert(memory, KEY, jnp.asarray(90), "random")
    assert int(again.size) == 1
    assert int(again.entries[0]) == 90


def test_survival_under_random_replacement_over_many_environments() -> None:
    """Statistical: 20 memories of 200 old items are 4,000 trials, each within five standard errors and 0.02."""

    def trial(key: Key) -> Array:
        memory = filled_by(init_memory(jnp.zeros((), jnp.int32), CAPACITY), -jnp.arange(1, CAPACITY + 1), key, "random")
        assert isinstance(memory, Memory)

        def step(memory: Memory, index: Array) -> tuple[Memory, Array]:
            memory = insert(memory, jax.random.fold_in(key, index), index, "random")
            return memory, jnp.mean(memory.entries < 0)

        return jax.lax.scan(step, memory, jnp.arange(1000))[1]

    survival = jax.jit(jax.vmap(trial))(jax.random.split(KEY, 20)).mean(axis=0)
    for inserted, expected in ((200, 0.36696), (400, 0.13466), (1000, 0.00665)):
        assert float(survival[inserted - 1]) == pytest.approx(expected, abs=0.02)


def test_a_memory_that_is_not_full_fills_in_order_under_random_replacement() -> None:
    memory = filled_by(init_memory(jnp.zeros((), jnp.int32), 8), letters(5), KEY, "random")
    assert bytes(memory.entries[:5].tolist()) == b"ABCDE"
    assert int(memory.size) == 5


def test_a_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MemoryConfig().capacity = 3  # type: ignore[misc]
