"""What the MuJoCo environments share: episodes, goals and the way through the engine."""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from envs import raster
from envs.base import GoalEnvironment
from envs.mujoco.camera import Marker, photograph
from envs.mujoco.engine import PhysicsState, last_good, load_model, make_engine


@struct.dataclass
class EnvState(environment.EnvState):
    """The physics and the goal."""

    time: jax.Array  # [] int32, agent steps since the reset
    physics: PhysicsState
    goal: jax.Array  # [D]
    goal_index: jax.Array  # [] int32


@struct.dataclass
class EnvParams(environment.EnvParams):
    """What can be changed without recompiling."""

    max_steps_in_episode: int = 150
    goal_index: int | jax.Array = -1  # goal of every episode; -1 leaves the choice to the environment
    terminate_on_success: bool | jax.Array = False  # end the episode at the first success


class MujocoEnvironment(GoalEnvironment[EnvState, EnvParams]):
    """A goal environment whose goals are a fixed list of full observations.

    Args:
        physics: `mjx`, `mujoco` (C) or `auto`, which is MJX on an accelerator and C on a CPU.
        render_size: height and width of pictures, pixels.
        goal_in_observation: append the goal to the observation, for agents that take one only from there.

    Raises:
        ValueError: no such physics.
    """

    asset: ClassVar[str]  # name of the model in assets/
    substeps: ClassVar[int]  # physics steps per agent step
    episode_steps: ClassVar[int]
    camera: ClassVar[str]  # of the model, for pictures
    goals: ClassVar[np.ndarray]  # [G, D]
    goal_low: ClassVar[np.ndarray]  # [D], the planner's bounds
    goal_high: ClassVar[np.ndarray]  # [D]

    def __init__(self, physics: str = "auto", render_size: int = 100, goal_in_observation: bool = False) -> None:
        self.goal_in_observation = goal_in_observation
        self.model: mujoco.MjModel = load_model(self.asset)
        self.engine = make_engine(self.model, self.substeps, physics)
        self.render_size = render_size

    @abc.abstractmethod
    def start(self, key: jax.Array) -> PhysicsState:
        """The physics at the start of an episode; computes no physics step."""

    @abc.abstractmethod
    def control(self, physics: PhysicsState, action: jax.Array) -> jax.Array:
        """What an agent's action `[A]`, in [-1, 1], asks of the engine."""

    @abc.abstractmethod
    def sense(self, physics: PhysicsState) -> jax.Array:
        """What is observed of the body, `[D]`."""

    @abc.abstractmethod
    def pose(self, obs: np.ndarray) -> np.ndarray:
        """Positions `[N, nq]` of the model in which observations `[N, D]`, without goals, are shown."""

    @abc.abstractmethod
    def markers(self, goal: np.ndarray) -> list[Marker]:
        """What shows a goal `[D]` in a picture."""

    @abc.abstractmethod
    def in_plane(self, goals: jax.Array) -> jax.Array:
        """Where goals are in the plane of the sketch: `[..., D] -> [..., 2]`."""

    @abc.abstractmethod
    def sketch(self, obs: jax.Array, goal: jax.Array, path: jax.Array | None) -> raster.Canvas:
        """A drawing of an observation `[D]` without goal, a goal `[D]` and a path `[T, 2]` in the sketch's plane."""

    @property
    def physics(self) -> str:
        """Which engine computes the physics: `mjx` or `mujoco`."""
        return self.engine.name

    @property
    def default_params(self) -> EnvParams:
        """The training task."""
        return EnvParams(max_steps_in_episode=self.episode_steps)

    @property
    def name(self) -> str:
        """Environment name."""
        return type(self).__name__

    @property
    def num_actions(self) -> int:
        """Length of the action."""
        return self.model.nu

    def action_space(self, params: EnvParams | None = None) -> spaces.Box:
        """One number in [-1, 1] per motor."""
        return spaces.Box(-jnp.ones(self.num_actions), jnp.ones(self.num_actions), (self.num_actions,), jnp.float32)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Unbounded, `[D]`, or with `goal_in_observation` `[2 D]`."""
        size = self.goals.shape[1] * (2 if self.goal_in_observation else 1)
        return spaces.Box(jnp.full(size, -jnp.inf), jnp.full(size, jnp.inf), (size,), jnp.float32)

    def goal_space(self, params: EnvParams | None = None) -> spaces.Box:
        """The published bounds of the planner."""
        return spaces.Box(jnp.asarray(self.goal_low), jnp.asarray(self.goal_high), self.goal_low.shape, jnp.float32)

    def eval_goals(self, params: EnvParams | None = None) -> jax.Array:
        """The list of goals, `[G, D]`."""
        return jnp.asarray(self.goals, jnp.float32)

    def achieved_goal(self, obs: jax.Array) -> jax.Array:
        """The observation but for the goal: `[..., D or 2 D] -> [..., D]`."""
        return obs[..., : self.goals.shape[1]]

    def desired_goal(self, state: EnvState) -> jax.Array:
        """The goal of the episode, `[D]`."""
        return state.goal

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """Starts an episode: obs and state."""
        start_key, goal_key = jax.random.split(key)
        index = jnp.where(params.goal_index < 0, self.draw_goal(goal_key), params.goal_index).astype(jnp.int32)
        state = EnvState(jnp.int32(0), self.start(start_key), self.eval_goals(params)[index], index)
        return self.observe(key, state, None, params), state

    def reset_to_eval_goal(
        self, key: jax.Array, goal_index: int | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState]:
        """Starts an episode with goal `goal_index`: obs and state."""
        return self.reset_env(key, dataclasses.replace(params, goal_index=goal_index))

    def draw_goal(self, key: jax.Array) -> jax.Array:
        """Index of a training episode's goal, `[]`: uniform over the list."""
        return jax.random.randint(key, (), 0, len(self.goals))

    def sample_goals(self, key: jax.Array, n: int, params: EnvParams) -> jax.Array:
        """`n` goals of training episodes, `[n, D]`."""
        return self.eval_goals(params)[jax.vmap(self.draw_goal)(jax.random.split(key, n))]

    def step_env(
        self, key: jax.Array, state: EnvState, action: float | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[Any, Any]]:
        """One agent step without automatic reset: obs, state, reward `[]`, terminated `[]`, info with the metrics."""
        action = jnp.clip(jnp.asarray(action, jnp.float32), -1.0, 1.0)
        physics, _ = last_good(self.engine.step(state.physics, self.control(state.physics, action)), state.physics)
        state = dataclasses.replace(state, physics=physics, time=state.time + 1)
        obs = self.observe(key, state, action, params)
        achieved = self.achieved_goal(obs)
        metrics = self.success(achieved, state.goal)
        terminated = metrics["success"] & params.terminate_on_success
        info = {f"metric_{name}": value for name, value in metrics.items()}
        reward = self.reward(achieved, state.goal)
        obs, state = self._apply_transition_gradient_policy(obs, state)
        return obs, state, reward, terminated, info

    def observe(
        self, key: jax.Array, state: EnvState, action: float | jax.Array | None, params: EnvParams
    ) -> jax.Array:
        """What is observed of the body, followed by the goal where the constructor asked for it: `[D]` or `[2 D]`."""
        seen = self.sense(state.physics)
        return jnp.concatenate([seen, state.goal]) if self.goal_in_observation else seen

    def render(
        self, obs: jax.Array, desired_goal: jax.Array, params: EnvParams, trajectory: jax.Array | None = None
    ) -> jax.Array:
        """A sketch from arrays, `[render_size, render_size, 3]` uint8."""
        path = None if trajectory is None else self.in_plane(trajectory)
        return raster.finish(self.sketch(self.achieved_goal(obs), desired_goal, path))

    def photographs(self, obs: np.ndarray, desired_goal: np.ndarray) -> np.ndarray | None:
        """MuJoCo's own pictures, or None where it cannot draw. See `GoalEnvironment`."""
        shown = [self.markers(goal) for goal in np.asarray(desired_goal)]
        pose = self.pose(np.asarray(obs)[:, : self.goals.shape[1]])
        return photograph(self.model, self.camera, self.render_size, pose, shown)
