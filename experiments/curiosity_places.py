"""What a bonus pays where the agent has been, and where it has not.

Along a walk every new place lies beside one just left, so that entering it says little. Here the memory of a walk's
first half, to which nothing is added, judges the frames of the second: those of cells that were visited, and those of
cells so many cells of path away from all that were.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import mannwhitneyu

from envs.maze3d.paths import distances
from envs.maze3d.types import UNITS_PER_CELL
from peg_jax.core.types import Array, Key
from peg_jax.curiosity import reachability
from peg_jax.curiosity.r_network import Variables
from peg_jax.curiosity.reachability_config import ReachabilityConfig
from peg_jax.curiosity.watching import Episodes

Figures = dict[str, Any]
AWAY = ((0, 0), (1, 1), (2, 2), (3, 10_000))
"""Path lengths in cells to the nearest visited one, first and last of each row."""

NEVER = -1.0  # a threshold that no similarity is below


def cell_of(position: Array) -> Array:
    """The maze cell `(x, y)` of positions: `[..., 3]` -> int32 `[..., 2]`."""
    return jnp.floor(jnp.asarray(position)[..., :2] / UNITS_PER_CELL).astype(jnp.int32)


def judged_by_the_first_half(
    config: ReachabilityConfig, variables: Variables, episodes: Episodes, key: Key
) -> tuple[Array, Array, Array]:
    """The second half of a walk of T steps in N mazes, by a memory of the first.

    Returns:
        Bonus `[T/2, N]`, path length in cells to the nearest cell of the first half, int32, and whether the episode
        still runs, bool.
    """
    half = episodes.alive.shape[0] // 2
    memory = reachability.memories_of(config, variables, episodes.frames[0])
    first, done = episodes.frames[1 : half + 1], episodes.taken.done[:half]
    zero, (first_key, second_key) = jnp.zeros((), jnp.int32), jax.random.split(key)
    memory, _ = reachability.score_rollout(config, variables, memory, first, done, zero, first_key)
    keeps_nothing = dataclasses.replace(config, bonus=dataclasses.replace(config.bonus, threshold=NEVER))
    later, done = episodes.frames[half + 1 :], episodes.taken.done[half:]
    _, judged = reachability.score_rollout(keeps_nothing, variables, memory, later, done, zero, second_key)
    cell = cell_of(episodes.position)

    def away(wall: Array, before: Array, after: Array) -> Array:
        visited = jnp.zeros(wall.shape, bool).at[before[:, 1], before[:, 0]].set(True)
        return distances(~wall, visited)[after[:, 1], after[:, 0]]

    wall = episodes.states.maze.wall[0]
    length = jax.vmap(away, in_axes=(0, 1, 1), out_axes=1)(wall, cell[: half + 1], cell[half + 1 :])
    return judged.bonus, length, episodes.alive[half:]


def paid_by_distance(paid: np.ndarray, length: np.ndarray, alive: np.ndarray) -> Figures:
    """Mean bonus by path length, and the chance that a step in the last row pays more than one in the first."""
    groups = [paid[alive & (length >= low) & (length <= high)] for low, high in AWAY]
    rows: list[Figures] = [
        {"cells": list(cells), "steps": int(group.size)}
        | ({"bonus": round(float(group.mean()), 4)} if len(group) else {})
        for cells, group in zip(AWAY, groups, strict=True)
    ]
    figures: Figures = {"by_path_distance": rows}
    if len(groups[0]) and len(groups[-1]):
        figures["unseen_is_higher"] = round(chance_of_more(groups[-1], groups[0]), 4)
    return figures


def chance_of_more(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The chance that one of ours is larger than one of theirs; 0.5 if they are alike."""
    return float(mannwhitneyu(ours, theirs).statistic / (len(ours) * len(theirs)))
