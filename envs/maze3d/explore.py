"""Find the goal, again and again: sparse, verysparse, sparseplusdoors, noreward.

An episode has one maze and one goal. A life starts at a spawn marker; reaching the goal starts the next one.
"""

import dataclasses

import jax
import jax.numpy as jnp

from envs.lazily import only_where
from envs.maze3d import sprites
from envs.maze3d.draws import choose_cell, uniforms
from envs.maze3d.generation import generate
from envs.maze3d.paths import UNREACHABLE, cheapest, distances, walk_down
from envs.maze3d.rules import Episode, Outcome, start_body, touched
from envs.maze3d.types import Body, EnvState, Maze, Objects

GOAL_REWARD = 10.0
GOAL_COLOR = (0.2, 0.95, 0.3)

_DETOUR = 30.0  # largest extra cost of a cell when a random path is drawn, in cells


@dataclasses.dataclass(frozen=True)
class Explore:
    """The rules.

    Args:
        size: cells along the maze's edge, border included; odd, at least 5.
        min_distance: path length in cells from a spawn to the goal, at least; where no spawn is that far, the farthest.
        doors: put doors between regions; each life opens those of one random path to the goal, and half of the others.
    """

    size: int = 17
    min_distance: int = 0
    doors: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the maze."""
        return self.size, self.size

    def begin(self, key: jax.Array) -> Episode:
        """A new maze with a goal and a first life."""
        maze_key, life_key = jax.random.split(key)
        maze = generate(maze_key, self.size)
        (choice,) = uniforms(jax.random.fold_in(life_key, 1), ())
        y, x = choose_cell(choice, maze.goal)
        goal = jnp.zeros(maze.wall.shape, bool).at[y, x].set(True)
        goal_distance = distances(~maze.wall, goal)
        body, door = self.new_life(life_key, maze, goal_distance)
        objects = Objects(
            pos=jnp.stack([x, y])[None] + 0.5,
            kind=jnp.array([sprites.BALL + 1]),
            color=jnp.zeros(1, jnp.int32),
            rgb=jnp.array([GOAL_COLOR]),
        )
        return Episode(body=body, maze=maze, door=door, objects=objects, goal_distance=goal_distance)

    def new_life(self, key: jax.Array, maze: Maze, goal_distance: jax.Array) -> tuple[Body, jax.Array]:
        """Where a life starts, and which doors are closed in it, int32 `[H, W]`."""
        shape = maze.wall.shape if self.doors else ()
        choice, turn, detour, order = uniforms(key, (), (), shape, shape)
        reachable = maze.spawn & (goal_distance < UNREACHABLE)
        far = reachable & (goal_distance >= self.min_distance)
        farthest = reachable & (goal_distance == jnp.max(jnp.where(reachable, goal_distance, -1)))
        y, x = choose_cell(choice, jnp.where(jnp.any(far), far, farthest))
        body = start_body(jnp.stack([x, y]) + 0.5, turn)
        if not self.doors:
            return body, jnp.zeros(maze.wall.shape, jnp.int32)
        to_goal = cheapest(1.0 + _DETOUR * detour, ~maze.wall, goal_distance == 0)
        off_path = maze.connector & ~walk_down(to_goal, jnp.stack([y, x]))
        return body, jnp.where(off_path & ~_half_of(order, off_path), 1, 0)

    def after_move(self, key: jax.Array, state: EnvState) -> tuple[EnvState, Outcome]:
        """Reward the goal and start the next life."""
        reached = touched(state)[0]
        body, door = only_where(self.new_life)(reached, (state.body, state.door), key, state.maze, state.goal_distance)
        state = dataclasses.replace(state, body=body, door=door, collected=state.collected + reached)
        return state, Outcome(reward=GOAL_REWARD * reached, respawned=reached)


def _half_of(uniform: jax.Array, grid: jax.Array) -> jax.Array:
    """Half of the cells set in `grid [H, W]`, rounded down: those with the lowest numbers."""
    score = jnp.where(grid, uniform, 2.0)
    ordered = jnp.sort(score.reshape(-1))
    return grid & (score < ordered[jnp.sum(grid) // 2])
