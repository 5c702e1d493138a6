"""`Every(k)` (conformance test 18)."""

import jax
import jax.numpy as jnp
import pytest

from peg_jax.core.clock import Clock, init_clock, tick


def firings(period: int, counts: list[int]) -> list[int]:
    def query(clock: Clock, count: jax.Array) -> tuple[Clock, jax.Array]:
        due, clock = tick(clock, count, period)
        return clock, due

    _, due = jax.lax.scan(query, init_clock(), jnp.array(counts))
    return [count for count, fired in zip(counts, due, strict=True) if fired]


@pytest.mark.parametrize(
    ("period", "counts", "expected"),
    [
        (5, [3, 20, 21, 22, 23, 24], [3, 20, 21, 22, 23]),
        (50, list(range(51, 300)), [51, 101, 151, 201, 251]),
        (0, [0, 1, 5, 100], []),
        (1, [4, 5, 5, 6], [4, 5, 6]),
    ],
)
def test_fires_at(period: int, counts: list[int], expected: list[int]) -> None:
    assert firings(period, counts) == expected


def test_asking_a_clock_of_period_zero_leaves_it_unstarted() -> None:
    _, clock = tick(init_clock(), 7, 0)
    assert not clock.started
