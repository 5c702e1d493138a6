"""The grid oracle; numbers of episodic_curiosity.md section 9, points 6 and 7."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.curiosity import oracle
from peg_jax.curiosity.config import OracleConfig
from peg_jax.curiosity.methods import METHODS

WEIGHT = METHODS["ppo_plus_grid_oracle"].numbers["reward.bonus"]
ANT = OracleConfig(cell=5.0, norm=25.0)


def rewards(config: OracleConfig, low: tuple, high: tuple, positions: Any) -> np.ndarray:
    grid = oracle.make_grid(config, low, high)

    def step(visited: jax.Array, position: jax.Array) -> tuple[jax.Array, jax.Array]:
        new, visited = oracle.visit(grid, visited, position)
        return visited, oracle.bonus(config, new)

    return np.asarray(jax.lax.scan(step, oracle.empty(grid), jnp.asarray(positions, jnp.float32))[1])


def test_new_cells_of_a_maze_pay_once() -> None:
    positions = [(10, 10, 25), (29.9, 10, 25), (30, 10, 25), (59, 31, 25), (10, 10, 25)]
    paid = rewards(OracleConfig(), (0, 0, 0), (1700, 1700, 100), positions)
    np.testing.assert_allclose(paid, [1, 0, 1, 1, 0])
    assert WEIGHT * paid.sum() == pytest.approx(0.1574074074, abs=1e-6)


def test_the_published_coverage_is_worth_as_much_as_four_goals() -> None:
    """796 cells, each entered twice."""
    cells = np.tile(np.stack(np.divmod(np.arange(796), 57), axis=1), (2, 1))
    paid = rewards(OracleConfig(), (0, 0, 0), (1700, 1700, 100), np.c_[30 * cells + 15, np.full(len(cells), 50)])
    assert WEIGHT * paid.sum() == pytest.approx(41.7654, abs=5e-5)


@pytest.mark.parametrize(("rounding", "expected"), [("truncate", [1, 0, 1, 1]), ("floor", [1, 1, 0, 1])])
def test_truncation_toward_zero_doubles_the_cells_around_it(rounding: str, expected: list[int]) -> None:
    positions = [(x, 0, 0.5) for x in (-4, 4, -5, 5.1)]
    config = ANT.replace(rounding=rounding)
    np.testing.assert_allclose(rewards(config, (-250, -250, 0), (250, 250, 1), positions), expected)


def test_height_is_part_of_the_cell() -> None:
    np.testing.assert_allclose(rewards(ANT, (-10, -10, 0), (10, 10, 10), [(1, 1, 1), (1, 1, 6), (1, 1, 2)]), [1, 1, 0])


def test_a_published_weight_of_a_cell_scales_with_its_area() -> None:
    config = OracleConfig(cell=60.0)
    np.testing.assert_allclose(rewards(config, (0, 0, 0), (100, 100, 0), [(5, 5, 0), (70, 5, 0)]), [4, 4])
