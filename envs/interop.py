"""Bridges to brax and gymnax: our environments for brax's agents, theirs for goal-directed ones.

To gymnax nothing needs converting: every environment of this package is one. Neither library's goals are ours, so an
environment that comes from there is completed by `Goals`, which the user gives. For gymnasium see
`envs.interop_gymnasium`.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from envs import raster
from envs.base import GoalEnvironment

_GOAL = 0x60A1  # names the key of a goal: the environment, which gets the key itself, will split it into fewer


class BraxEnvironment:
    """One of our environments with brax's methods, for brax's wrappers and agents.

    Observation: `[O + D]`, the observation and the goal, which brax's agents take from nowhere else. Action: [-1, 1]
    per dimension. Reward, goals and starts are the environment's own; episodes have no end but brax's `EpisodeWrapper`,
    except where `params.terminate_on_success` says so. brax's automatic reset goes back to an episode's first state.

    Where jax no longer has `jax.device_put_replicated`, which brax's agents call, making one of these puts it back.

    Args:
        env: the environment.
        params: its parameters; without, its defaults.

    Example:
        >>> from brax.training.agents.ppo import train as ppo
        >>> env, params = envs.make("walker")
        >>> env = BraxEnvironment(env)
        >>> make_policy, weights, _ = ppo.train(env, num_timesteps=10**7, episode_length=150, num_envs=256)
    """

    def __init__(self, env: GoalEnvironment[Any, Any], params: Any = None) -> None:
        self.env = env
        self.params = env.default_params if params is None else params
        self._state: Any = importlib.import_module("brax.envs.base").State
        _complete_jax()
        self._space = env.action_space(self.params)

    @property
    def observation_size(self) -> int:
        """Length of an observation with its goal."""
        sizes = (self.env.observation_space(self.params).shape, self.env.goal_space(self.params).shape)
        return sum(shape[0] for shape in sizes)

    @property
    def action_size(self) -> int:
        """Length of an action."""
        return int(self._space.shape[0])

    @property
    def backend(self) -> str:
        """What brax calls the physics."""
        return getattr(self.env, "physics", "jax")

    @property
    def unwrapped(self) -> "BraxEnvironment":
        """Itself."""
        return self

    def reset(self, rng: jax.Array) -> Any:
        """An episode's first brax `State`."""
        key, reset_key = jax.random.split(rng)
        obs, state = self.env.reset_env(reset_key, self.params)
        goal = self.env.desired_goal(state)
        names = self.env.success(self.env.achieved_goal(obs), goal)
        metrics = {f"metric_{name}": jnp.zeros(()) for name in names}
        zero = jnp.zeros(())
        return self._state(state, jnp.concatenate([obs, goal]), zero, zero, metrics, {"key": key})

    def step(self, state: Any, action: jax.Array) -> Any:
        """The `State` after an action; randomness comes from a key in `info`."""
        key, step_key = jax.random.split(state.info["key"])
        low, high = self._space.low, self._space.high
        scaled = low + 0.5 * (jnp.clip(action, -1.0, 1.0) + 1.0) * (high - low)
        obs, inner, reward, terminated, info = self.env.step_env(step_key, state.pipeline_state, scaled, self.params)
        return state.replace(
            pipeline_state=inner,
            obs=jnp.concatenate([obs, self.env.desired_goal(inner)]),
            reward=reward.astype(jnp.float32),
            done=terminated.astype(jnp.float32),
            metrics=state.metrics | {name: info[name].astype(jnp.float32) for name in info if name in state.metrics},
            info=state.info | {"key": key},
        )


def _complete_jax() -> None:
    """Put back what brax 0.14.2, the last version so far, calls and jax 0.10 no longer has."""
    if not hasattr(jax, "device_put_replicated"):
        vars(jax)["device_put_replicated"] = _replicated


def _replicated(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """One copy of `tree` on each device: leaves `[...]` to `[len(devices), ...]`."""
    # The axis is called as in brax's `pmap`: under another name, arrays from before and after do not go together.
    sharding = NamedSharding(Mesh(np.asarray(devices), ("i",)), PartitionSpec("i"))
    return jax.tree.map(
        lambda leaf: jax.device_put(jnp.broadcast_to(leaf, (len(devices), *jnp.shape(leaf))), sharding), tree
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Goals:
    """What a foreign environment lacks. Goals are full observations, `[O]`."""

    eval_goals: np.ndarray  # [G, O]
    low: np.ndarray  # [O], where a planner looks for goals
    high: np.ndarray  # [O]
    reached: Callable[[jax.Array, jax.Array], jax.Array]  # observations and goals, [..., O] each, to bool [...]
    names: tuple[str, ...] = ()  # of the evaluation goals; without, their numbers


@struct.dataclass
class ForeignState(environment.EnvState):
    """The foreign state with a goal."""

    time: jax.Array  # [] int32
    inner: Any
    goal: jax.Array  # [O]


@struct.dataclass
class ForeignParams(environment.EnvParams):
    """Episode length, which is ours, and the foreign parameters."""

    max_steps_in_episode: int = 1
    inner: Any = None


class ForeignEnvironment(GoalEnvironment[ForeignState, ForeignParams]):
    """An environment of another library as a goal environment; made by `from_gymnax` and `from_brax`.

    Its reward is passed on. So are its terminations, but episodes of PEG have a fixed length and go on regardless.
    """

    def __init__(self, goals: Goals, params: ForeignParams, functions: "Functions", render_size: int = 100) -> None:
        self.goals, self._functions, self._params, self.render_size = goals, functions, params, render_size

    @property
    def default_params(self) -> ForeignParams:
        """The episode length asked for, with the foreign defaults."""
        return self._params

    def action_space(self, params: ForeignParams | None = None) -> Any:
        """The foreign one."""
        return self._functions.action_space

    @property
    def num_actions(self) -> int:
        """Length of an action, or number of discrete ones."""
        space = self._functions.action_space
        return int(space.n) if hasattr(space, "n") else int(space.shape[0])

    def observation_space(self, params: ForeignParams | None = None) -> spaces.Box:
        """Unbounded."""
        size = self.goals.eval_goals.shape[1]
        return spaces.Box(jnp.full(size, -jnp.inf), jnp.full(size, jnp.inf), (size,), jnp.float32)

    def goal_space(self, params: ForeignParams | None = None) -> spaces.Box:
        """The user's bounds."""
        return spaces.Box(jnp.asarray(self.goals.low), jnp.asarray(self.goals.high), self.goals.low.shape, jnp.float32)

    def eval_goals(self, params: ForeignParams | None = None) -> jax.Array:
        """The user's, `[G, O]`."""
        return jnp.asarray(self.goals.eval_goals, jnp.float32)

    @property
    def eval_goal_names(self) -> tuple[str, ...]:
        """The user's, or numbers."""
        return self.goals.names or tuple(str(index) for index in range(len(self.goals.eval_goals)))

    def achieved_goal(self, obs: jax.Array) -> jax.Array:
        """The observation."""
        return obs

    def desired_goal(self, state: ForeignState) -> jax.Array:
        """The goal of the episode, `[O]`."""
        return state.goal

    def success(self, achieved: jax.Array, desired: jax.Array) -> dict[str, jax.Array]:
        """What the user calls reached."""
        return {"success": self.goals.reached(achieved, desired)}

    def reward(self, achieved: jax.Array, desired: jax.Array) -> jax.Array:
        """The foreign reward cannot be told from goals.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the reward is the foreign environment's own, which does not follow from goals")

    def sample_goals(self, key: jax.Array, n: int, params: ForeignParams) -> jax.Array:
        """Uniform among the evaluation goals, `[n, O]`."""
        return self.eval_goals()[jax.random.randint(key, (n,), 0, len(self.goals.eval_goals))]

    def reset_env(self, key: jax.Array, params: ForeignParams) -> tuple[jax.Array, ForeignState]:
        """Starts an episode: obs and state."""
        goal_key = jax.random.fold_in(key, _GOAL)
        return self._reset(key, self.sample_goals(goal_key, 1, params)[0], params)

    def reset_to_eval_goal(
        self, key: jax.Array, goal_index: int | jax.Array, params: ForeignParams
    ) -> tuple[jax.Array, ForeignState]:
        """Starts an episode with goal `goal_index`: obs and state."""
        return self._reset(key, self.eval_goals()[goal_index], params)

    def _reset(self, key: jax.Array, goal: jax.Array, params: ForeignParams) -> tuple[jax.Array, ForeignState]:
        obs, inner = self._functions.reset(key, params.inner)
        return obs, ForeignState(jnp.int32(0), inner, goal)

    def step_env(
        self, key: jax.Array, state: ForeignState, action: float | jax.Array, params: ForeignParams
    ) -> tuple[jax.Array, ForeignState, jax.Array, jax.Array, dict[Any, Any]]:
        """One step of the foreign environment without automatic reset."""
        obs, inner, reward, terminated = self._functions.step(key, state.inner, action, params.inner)
        info = {f"metric_{name}": value for name, value in self.success(obs, state.goal).items()}
        return obs, dataclasses.replace(state, inner=inner, time=state.time + 1), reward, terminated, info

    def render(
        self, obs: jax.Array, desired_goal: jax.Array, params: ForeignParams, trajectory: jax.Array | None = None
    ) -> jax.Array:
        """A column per entry of the observation, with a red mark at the goal; from the planner's lower bound upward."""
        span = jnp.asarray(self.goals.high) - jnp.asarray(self.goals.low)
        heights, marks = (jnp.clip((x - self.goals.low) / span, 0.0, 1.0) for x in (obs, desired_goal))
        place = (jnp.arange(obs.shape[0]) + 0.5) / obs.shape[0]
        width = 0.35 / obs.shape[0]
        canvas = raster.blank(self.render_size, np.array([0.5, 0.5]), 1.1, (255, 255, 255))
        columns = jnp.stack([jnp.full_like(heights, width), 0.5 * heights], axis=1)
        canvas = raster.boxes(canvas, jnp.stack([place, 0.5 * heights], axis=1), columns, (70, 110, 180))
        dots = jnp.stack([place, marks], axis=1)
        return raster.finish(raster.lines(canvas, dots, dots, 0.5 * width, (255, 0, 0)))


@dataclasses.dataclass(frozen=True, eq=False)
class Functions:
    """A foreign environment as three things."""

    reset: Callable[..., Any]  # (key, params) -> obs [O], state
    step: Callable[..., Any]  # (key, state, action, params) -> obs [O], state, reward, terminated
    action_space: Any  # a gymnax Box or Discrete


def from_gymnax(env: Any, params: Any, goals: Goals, episode_steps: int) -> ForeignEnvironment:
    """A goal environment from a gymnax one whose observations are vectors.

    Args:
        env: the gymnax environment.
        params: its parameters.
        goals: what it lacks.
        episode_steps: length of an episode.

    Raises:
        ValueError: observations and goals differ in shape.
    """

    def step(key: jax.Array, state: Any, action: Any, params: Any) -> tuple[Any, ...]:
        obs, state, reward, terminated, _ = env.step_env(key, state, action, params)
        return jnp.asarray(obs, jnp.float32), state, jnp.asarray(reward, jnp.float32), jnp.asarray(terminated, bool)

    def reset(key: jax.Array, params: Any) -> tuple[Any, Any]:
        obs, state = env.reset_env(key, params)
        return jnp.asarray(obs, jnp.float32), state

    functions = Functions(reset, step, env.action_space(params))
    return _checked(functions, params, goals, episode_steps)


def from_brax(env: Any, goals: Goals, episode_steps: int) -> ForeignEnvironment:
    """A goal environment from a brax one whose observations are vectors; give it without brax's wrappers.

    Args:
        env: the brax environment.
        goals: what it lacks.
        episode_steps: length of an episode.

    Raises:
        ValueError: observations and goals differ in shape.
    """

    def reset(key: jax.Array, params: None) -> tuple[Any, Any]:
        state = env.reset(key)
        return state.obs, state

    def step(key: jax.Array, state: Any, action: Any, params: None) -> tuple[Any, ...]:
        state = env.step(state, action)
        return state.obs, state, state.reward, state.done.astype(bool)

    ones = jnp.ones(env.action_size)
    functions = Functions(reset, step, spaces.Box(-ones, ones, (env.action_size,), jnp.float32))
    return _checked(functions, None, goals, episode_steps)


def _checked(functions: Functions, params: Any, goals: Goals, episode_steps: int) -> ForeignEnvironment:
    obs, _ = jax.eval_shape(functools.partial(functions.reset, params=params), jax.random.key(0))
    wanted = goals.eval_goals.shape[1:]
    if obs.shape != wanted or goals.low.shape != wanted or goals.high.shape != wanted:
        shapes = f"{wanted}, and their bounds {goals.low.shape} and {goals.high.shape}"
        raise ValueError(f"goals must be full observations, of shape {obs.shape}, but they have {shapes}")
    return ForeignEnvironment(goals, ForeignParams(episode_steps, params), functions)
