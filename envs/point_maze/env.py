"""Point Maze as a gymnax goal environment."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from envs.base import GoalEnvironment
from envs.point_maze import maze, render

EVAL_CELLS = ((9, 9), (9, 4), (9, 0), (6, 9), (6, 4), (6, 0), (3, 9), (3, 4), (3, 0), (0, 9), (0, 4))
"""Cells that goals are drawn in, in the order of the goal index."""

START_CELL = (0, 0)
MAX_ACTION = 0.95
SUCCESS_DISTANCE = 0.15
SUCCESS_CELL_DISTANCE = 0.7

_START_CLEARANCE = 0.05
_GOAL_CLEARANCE = 0.175

# Uniform candidates for rejection, of which the first clear one is taken. 0.90 of the start cell is clear and 0.55 or
# more of each goal cell, so that no candidate is clear with probability 1e-6 (start) and 3e-6 (goal) or less; then the
# centre is taken.
_START_TRIES = 6
_GOAL_TRIES = 16


@struct.dataclass
class EnvState(environment.EnvState):
    """Where the point and the goal are."""

    time: jax.Array  # [] int32, steps since the reset
    pos: jax.Array  # [2] position, cells
    goal: jax.Array  # [2] goal position, cells
    goal_index: jax.Array  # [] int32, index of the goal's cell in EVAL_CELLS


@struct.dataclass
class EnvParams(environment.EnvParams):
    """What can be changed without recompiling."""

    max_steps_in_episode: int = 50
    goal_index: int | jax.Array = -1  # cell of every episode's goal, in EVAL_CELLS; -1 draws a cell uniformly
    start_anywhere: bool | jax.Array = False  # start in a uniformly drawn cell, for data that covers the whole maze
    terminate_on_success: bool | jax.Array = False  # end the episode at the first success, as evaluation does


class PointMaze(GoalEnvironment[EnvState, EnvParams]):
    """A point finds its way through a 10 x 10 maze with one route between any two cells.

    Observation: `[2]` float32, the position (x, y) in cells, within [-0.5, 9.5]; with `goal_in_observation` the goal's
    position follows, `[4]`.

    Action: `[2]` float32, the displacement in cells, clipped to +-0.95. The point slides along walls and rests at a
    random distance below 0.01 from them, which is the only noise.

    Reward: 0 where the new position is within 0.15 of the goal, else -1.

    Start: uniform in cell (0, 0). Goal: uniform in one of 11 cells, drawn anew per episode. Both keep off walls.

    Termination: none, unless `params.terminate_on_success`. Truncation after 50 steps.

    Metrics: `success`, the goal is nearer than 0.15; `success_cell`, the centre of the goal's cell is nearer than 0.7.

    Source: Hu et al., "Planning Goals for Exploration" (ICLR 2023), after Trott et al., "Keeping Your Distance"
    (NeurIPS 2019).

    Args:
        goal_in_observation: append the goal to the observation, for agents that take one only from there.
        render_size: height and width of pictures, pixels.

    Example:
        >>> env = PointMaze()
        >>> params = env.default_params
        >>> obs, state = env.reset(jax.random.key(0), params)
        >>> action = jnp.array([0.5, 0.0])
        >>> obs, state, reward, terminated, truncated, info = env.step(jax.random.key(1), state, action, params)
    """

    def __init__(self, goal_in_observation: bool = False, render_size: int = 100) -> None:
        self.goal_in_observation = goal_in_observation
        self._draw = render.make_renderer(render_size)

    @property
    def default_params(self) -> EnvParams:
        """The training task."""
        return EnvParams()

    @property
    def name(self) -> str:
        """Environment name."""
        return "PointMaze"

    @property
    def num_actions(self) -> int:
        """Length of the action."""
        return 2

    @property
    def eval_goal_names(self) -> tuple[str, ...]:
        """The goals' cells, such as "(9,4)"."""
        return tuple(f"({x},{y})" for x, y in EVAL_CELLS)

    @property
    def goal_groups(self) -> dict[str, tuple[int, ...]]:
        """The corner that is farthest by route, and the others."""
        return {"other goals": tuple(range(1, len(EVAL_CELLS))), "far corner": (0,)}

    def action_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Displacement per axis, cells."""
        return spaces.Box(jnp.full(2, -MAX_ACTION), jnp.full(2, MAX_ACTION), (2,), jnp.float32)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Positions inside the maze's outer walls."""
        size = 4 if self.goal_in_observation else 2
        return spaces.Box(jnp.full(size, -0.5), jnp.full(size, maze.SIZE - 0.5), (size,), jnp.float32)

    def state_space(self, params: EnvParams | None = None) -> spaces.Dict:
        """Bounds of `EnvState`, field by field."""
        params = self.default_params if params is None else params
        point = spaces.Box(jnp.full(2, -0.5), jnp.full(2, maze.SIZE - 0.5), (2,), jnp.float32)
        return spaces.Dict(
            {
                "time": spaces.Discrete(params.max_steps_in_episode + 1),
                "pos": point,
                "goal": point,
                "goal_index": spaces.Discrete(len(EVAL_CELLS)),
            }
        )

    def goal_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Planner bounds, `[0, 10]^2`: the published ones, half a cell off the maze itself."""
        return spaces.Box(jnp.zeros(2), jnp.full(2, 10.0), (2,), jnp.float32)

    def eval_goals(self, params: EnvParams | None = None) -> jax.Array:
        """Centres of the 11 goal cells, `[11, 2]`."""
        return jnp.array(EVAL_CELLS, dtype=jnp.float32)

    def achieved_goal(self, obs: jax.Array) -> jax.Array:
        """The position: `[..., 2 or 4] -> [..., 2]`."""
        return obs[..., :2]

    def desired_goal(self, state: EnvState) -> jax.Array:
        """The goal's position, `[2]`."""
        return state.goal

    def remoteness(self, achieved: jax.Array, start: jax.Array) -> jax.Array:
        """Passages on the route from cell to cell: two `[..., 2]` -> `[...]`; outside, the nearest cell counts."""
        end, start = (jnp.clip(maze.cell_of(x), 0, maze.SIZE - 1).astype(jnp.int32) for x in (achieved, start))
        routes = jnp.asarray(maze.route_lengths(), jnp.float32)
        return routes[start[..., 0], start[..., 1], end[..., 0], end[..., 1]]

    def success(self, achieved: jax.Array, desired: jax.Array) -> dict[str, jax.Array]:
        """Near the goal, and near the centre of its cell, both strictly: two `[..., 2]` -> two bool `[...]`."""
        to_point = self.distance(achieved, desired)
        to_centre = jnp.linalg.norm(achieved - maze.cell_of(desired), axis=-1)
        return {"success": to_point < SUCCESS_DISTANCE, "success_cell": to_centre < SUCCESS_CELL_DISTANCE}

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """Starts an episode: obs and state."""
        key_start, key_goal = jax.random.split(key)
        key_cell, key_start = jax.random.split(key_start)
        any_cell = jax.random.randint(key_cell, (2,), 0, maze.SIZE).astype(jnp.float32)
        start_cell = jnp.where(params.start_anywhere, any_cell, jnp.array(START_CELL, dtype=jnp.float32))
        pos = _sample_in_cell(key_start, start_cell, _START_CLEARANCE, _START_TRIES)
        goal, goal_index = self._sample_goal(key_goal, params)
        state = EnvState(time=jnp.int32(0), pos=pos, goal=goal, goal_index=goal_index)
        return self.observe(key, state, None, params), state

    def reset_to_eval_goal(
        self, key: jax.Array, goal_index: int | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState]:
        """Starts an episode with a goal drawn in cell `goal_index`: obs and state."""
        return self.reset_env(key, dataclasses.replace(params, goal_index=goal_index))

    def sample_goals(self, key: jax.Array, n: int, params: EnvParams) -> jax.Array:
        """`n` goals of training episodes, `[n, 2]`."""
        return jax.vmap(lambda k: self._sample_goal(k, params)[0])(jax.random.split(key, n))

    def step_env(
        self, key: jax.Array, state: EnvState, action: float | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[Any, Any]]:
        """One move without automatic reset: obs, state, reward `[]`, terminated `[]`, info with the two metrics."""
        # The maze takes moves shorter than a cell only.
        delta = jnp.clip(jnp.asarray(action, dtype=jnp.float32), -MAX_ACTION, MAX_ACTION)
        pull_back = jax.random.uniform(key, (maze.MAX_SLIDES,), maxval=maze.PULL_BACK)
        pos = maze.move(state.pos, delta, pull_back)
        state = dataclasses.replace(state, pos=pos, time=state.time + 1)
        metrics = self.success(state.pos, state.goal)
        reward = self.reward(state.pos, state.goal)
        terminated = metrics["success"] & params.terminate_on_success
        info = {f"metric_{name}": value for name, value in metrics.items()}
        obs, state = self._apply_transition_gradient_policy(self.observe(key, state, action, params), state)
        return obs, state, reward, terminated, info

    def observe(
        self, key: jax.Array, state: EnvState, action: float | jax.Array | None, params: EnvParams
    ) -> jax.Array:
        """The position, followed by the goal where the constructor asked for it: `[2]` or `[4]`."""
        return jnp.concatenate([state.pos, state.goal]) if self.goal_in_observation else state.pos

    @property
    def render_extent(self) -> tuple[float, float, float, float]:
        """The maze with the border around it, cells."""
        low, high = render.extent()
        return low, high, low, high

    def render(
        self, obs: jax.Array, desired_goal: jax.Array, params: EnvParams, trajectory: jax.Array | None = None
    ) -> jax.Array:
        """Walls black, point red, goal blue, trajectory orange: `[render_size, render_size, 3]` uint8, y up."""
        return self._draw(self.achieved_goal(obs), desired_goal, trajectory)

    def _sample_goal(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, jax.Array]:
        """Goal position `[2]` and cell index `[]` of an episode."""
        key_index, key_point = jax.random.split(key)
        drawn = jax.random.randint(key_index, (), 0, len(EVAL_CELLS))
        index = jnp.where(params.goal_index < 0, drawn, params.goal_index).astype(jnp.int32)
        return _sample_in_cell(key_point, self.eval_goals(params)[index], _GOAL_CLEARANCE, _GOAL_TRIES), index


def _sample_in_cell(key: jax.Array, centre: jax.Array, clearance: float, tries: int) -> jax.Array:
    """A point `[2]` uniform over the part of a cell that is clear of walls, or the centre where every try fails."""
    # Both coordinates from one random word, 1.5e-5 of a cell apart: drawing the words is most of what a reset costs.
    word = jax.random.bits(key, (tries,), jnp.uint32)
    uniform = jnp.stack([word >> 16, word & 0xFFFF], axis=-1).astype(jnp.float32) / 2**16
    points = centre + uniform - 0.5
    clear = jax.vmap(lambda point: maze.is_clear(point, clearance))(points)
    return jnp.where(jnp.any(clear), points[jnp.argmax(clear)], centre)
