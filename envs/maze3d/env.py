"""First-person mazes as gymnax environments."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from gymnax.environments import spaces

from envs.base import ExplorationEnvironment
from envs.lazily import only_where
from envs.maze3d import coverage, kinematics, overview, raycast, renderer, textures
from envs.maze3d.rules import Rules
from envs.maze3d.television import Television, overlay
from envs.maze3d.types import UNITS_PER_CELL, EnvParams, EnvState, Shot
from envs.splits import split_key

_LONG_AGO = 1000  # age of a shot that was never fired
_MAP_PIXELS = 6  # per cell


class Maze3D(ExplorationEnvironment[EnvState, EnvParams]):
    """A maze seen through the agent's eyes.

    Observation: `[height, width, 3]` uint8, a view of 90 degrees from left to right. No map, compass or position.

    Action: one of a named set, see `kinematics.ACTION_SETS`; by default forward, backward, strafe left and right, look
    left and right, both of these with forward, and fire. A step is a fifteenth of a second: at most 0.2133 cells and
    8.8 degrees. Walls stop only the part of a move that goes into them. Fire changes pixels at random and nothing else.

    Reward, termination: the scenario's rules (`explore`, `collect`, `puzzle`). Truncation after
    `params.max_steps_in_episode`.

    Start: a maze, a theme and everything else drawn anew. `params.split` chooses one of four disjoint streams of them.

    Info: `position` `[3]` in the reference's units, of which a cell has 100; `reachable_cells`, the number of cells of
    30 units that can be visited; `task_reward`, also where the scenario pays nothing; `respawned`, the agent was put
    elsewhere in the same episode; `collected`, goals reached or objects picked up in the episode.

    An episode's maze is drawn only where one ends, so `jax.vmap(env.step)` is cheap at any batch size.

    Source: Savinov et al., "Episodic Curiosity through Reachability" (ICLR 2019), whose scenarios these follow.

    Args:
        rules: the scenario.
        max_steps: of an episode, by default.
        action_set: a name in `kinematics.ACTION_SETS`.
        pays: False keeps the reward at 0; `info["task_reward"]` tells what it would have been.
        height: of the view, pixels, even.
        width: of the view, pixels.
        television: a noisy television in the view, or none.

    Example:
        >>> import envs
        >>> env, params = envs.make("maze3d_sparse")
        >>> obs, state = env.reset(jax.random.key(0), params)
        >>> obs, state, reward, terminated, truncated, info = env.step(jax.random.key(1), state, 0, params)

    Raises:
        ValueError: an unknown action set, a view that cannot be drawn, or a television that waits for a missing action.
    """

    def __init__(
        self,
        rules: Rules,
        max_steps: int = 1800,
        action_set: str = "default",
        pays: bool = True,
        height: int = 84,
        width: int = 84,
        television: Television | None = None,
    ) -> None:
        if action_set not in kinematics.ACTION_SETS:
            raise ValueError(f"unknown action_set {action_set!r}; known: {', '.join(kinematics.ACTION_SETS)}")
        if height < 2 or height % 2 or width < 2:
            raise ValueError(f"a view of {height} x {width} cannot be drawn: use an even height, and at least 2 x 2")
        self.actions = kinematics.ACTION_SETS[action_set]
        if television and television.switches == "action" and "fire" not in self.actions:
            raise ValueError(f"the television switches by the action fire, which action_set {action_set!r} has not")
        self.rules, self.pays, self.television, self._max_steps = rules, pays, television, max_steps
        self._commands = kinematics.action_table(action_set)
        self._camera = renderer.make_camera(height, width)
        self._reset_where = only_where(self.reset_env)

    @property
    def default_params(self) -> EnvParams:
        """Episodes of the scenario's length, from the stream for training policies."""
        return EnvParams(max_steps_in_episode=self._max_steps)

    @property
    def num_actions(self) -> int:
        """Number of actions."""
        return len(self.actions)

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """Index into `actions`."""
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """The view."""
        shape = len(self._camera.down), len(self._camera.right), 3
        return spaces.Box(0, 255, shape, jnp.uint8)

    @property
    def position_bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Corners of the maze, in units."""
        height, width = self.rules.shape
        return (0.0, 0.0, 0.0), (UNITS_PER_CELL * width, UNITS_PER_CELL * height, UNITS_PER_CELL)

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """Starts an episode: obs and state."""
        begin_key, look_key = jax.random.split(split_key(key, params.split))
        episode = self.rules.begin(begin_key)
        zero = jnp.zeros((), jnp.int32)
        look = textures.draw_look(look_key, self.rules.shape)
        state = EnvState(
            time=zero,
            **episode._asdict(),
            look=look,
            shot=Shot(age=zero + _LONG_AGO, pos=jnp.zeros(2), seed=jnp.zeros((), jnp.uint32)),
            screen=look.seed,
            collected=zero,
            held=zero,
            countdown=zero - 1,
            reachable_cells=coverage.reachable_cells(~episode.maze.wall),
        )
        # One type for each leaf, whether it comes from a reset or from a step.
        state = jax.tree.map(lambda x: x.astype(x.dtype), state)
        return self.observe(key, state, None, params), state

    def step_env(
        self, key: jax.Array, state: EnvState, action: int | float | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[Any, Any]]:
        """One step without automatic reset: obs, state, reward `[]`, terminated `[]`, info."""
        draw_key, rules_key = jax.random.split(key)
        shot_seed, screen_seed = jax.random.bits(draw_key, (2,), jnp.uint32)
        command = jnp.asarray(self._commands)[jnp.asarray(action, jnp.int32)]
        solid = state.maze.wall | (state.door > 0)
        body = kinematics.move(solid, state.body, command)
        state = dataclasses.replace(state, time=state.time + 1, body=body)
        fires = command[3] > 0
        state = dataclasses.replace(
            state, shot=_shoot(shot_seed, solid, state, fires), screen=self._switch(screen_seed, state.screen, fires)
        )
        position = self.position(state)
        state, outcome = self.rules.after_move(rules_key, state)
        state = jax.tree.map(lambda x: x.astype(x.dtype), state)
        task_reward = jnp.asarray(outcome.reward, jnp.float32)
        info = {
            "position": position,
            "reachable_cells": state.reachable_cells,
            "task_reward": task_reward,
            "respawned": outcome.respawned,
            "collected": state.collected,
        }
        obs, state = self._apply_transition_gradient_policy(self.observe(key, state, action, params), state)
        return obs, state, task_reward * self.pays, state.countdown == 0, info

    def step(
        self,
        key: jax.Array,
        state: EnvState,
        action: int | float | jax.Array,
        params: EnvParams | None = None,
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, jax.Array, dict[Any, Any]]:
        """One step with automatic reset, as gymnax has it; a reset is computed only where an episode ends."""
        params = self.default_params if params is None else params
        step_key, reset_key = jax.random.split(key)
        last_obs, state, reward, terminated, info = self.step_env(step_key, state, action, params)
        truncated = self.is_truncated(state, params)
        obs, state = self._reset_where(terminated | truncated, (last_obs, state), reset_key, params)
        info |= {"terminated": terminated, "truncated": truncated, "final_observation": last_obs}
        return obs, state, reward, terminated, truncated, info

    def observe(
        self, key: jax.Array, state: EnvState, action: int | float | jax.Array | None, params: EnvParams
    ) -> jax.Array:
        """The view, `[height, width, 3]` uint8."""
        view = renderer.render(self._camera, state)
        return overlay(self.television, state.screen, view) if self.television else view

    def position(self, state: EnvState) -> jax.Array:
        """Where the agent's eye is, `[3]` in units."""
        return UNITS_PER_CELL * jnp.append(state.body.pos, 0.5)

    def render(self, state: EnvState, track: jax.Array | None = None, marks: jax.Array | None = None) -> jax.Array:
        """The maze from above, uint8; `track [T, 3]` and `marks [M, 3]` are positions as in `info`."""
        places = [None if positions is None else positions[:, :2] / UNITS_PER_CELL for positions in (track, marks)]
        return overview.draw(state, _MAP_PIXELS, *places)

    def _switch(self, seed: jax.Array, screen: jax.Array, fires: jax.Array) -> jax.Array:
        """The television's next picture."""
        if self.television is None:
            return screen
        switches = fires if self.television.switches == "action" else True
        return jnp.where(switches, seed, screen)


def _shoot(seed: jax.Array, solid: jax.Array, state: EnvState, fires: jax.Array) -> Shot:
    """The shot after a step; a new one hits the wall in the middle of the view."""
    direction = jnp.stack([jnp.cos(state.body.yaw), jnp.sin(state.body.yaw)])
    distance = raycast.cast(solid, state.body.pos, direction[None]).distance[0]
    age = jnp.minimum(state.shot.age + 1, _LONG_AGO)
    return Shot(
        age=jnp.where(fires, 0, age),
        pos=jnp.where(fires, state.body.pos + distance * direction, state.shot.pos),
        seed=jnp.where(fires, seed, state.shot.seed),
    )
