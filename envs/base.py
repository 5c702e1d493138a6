"""Protocols on top of the gymnax API: environments with goals, and environments to be covered."""

import abc
from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import environment, spaces

EnvState = TypeVar("EnvState", bound=environment.EnvState)
EnvParams = TypeVar("EnvParams", bound=environment.EnvParams)


class GoalEnvironment(
    environment.Environment[EnvState, EnvParams],
    abc.ABC,
    Generic[EnvState, EnvParams],
):
    """A gymnax environment whose state carries a goal, in a goal space of `D` numbers.

    Agents and wrappers written for gymnax run on it unchanged. On top of the gymnax methods (`step_env`, `reset_env`,
    `observe`, `action_space`, `observation_space`, `default_params`, ...) it says what the goals are, how they are
    judged and how they look.

    Three rules hold for every goal environment:

    * Episodes have a fixed length, `params.max_steps_in_episode`, and end by truncation. `params.terminate_on_success`,
      off by default, ends them at the first success instead; evaluation turns it on.
    * `info` holds `metric_<name>`, bool `[]`, for each name that `success` returns: the new observation judged against
      the episode's own goal, before any automatic reset. `info["final_observation"]` is the observation before that
      reset.
    * Everything but `eval_goal_names` is pure and can be jitted and vmapped.

    Methods are written for one environment; map over the key and state for a batch.
    """

    @abc.abstractmethod
    def goal_space(self, params: EnvParams) -> spaces.Box:
        """The box that a planner searches: `low` and `high` are `[D]`, in the units of `achieved_goal`."""

    @abc.abstractmethod
    def achieved_goal(self, obs: jax.Array) -> jax.Array:
        """The goal that an observation amounts to: `[..., O] -> [..., D]`."""

    @abc.abstractmethod
    def desired_goal(self, state: EnvState) -> jax.Array:
        """The goal of the running episode, `[D]`."""

    @abc.abstractmethod
    def eval_goals(self, params: EnvParams) -> jax.Array:
        """Nominal evaluation goals `[G, D]`; an evaluation episode may draw its goal near the nominal one."""

    @property
    @abc.abstractmethod
    def eval_goal_names(self) -> tuple[str, ...]:
        """One short name per evaluation goal, in the order of `eval_goals`."""

    @property
    def goal_groups(self) -> dict[str, tuple[int, ...]]:
        """Indices of evaluation goals that are about as hard as each other, by name, the hardest last; for reports."""
        return {"all goals": tuple(range(len(self.eval_goal_names)))}

    @abc.abstractmethod
    def reset_to_eval_goal(
        self, key: jax.Array, goal_index: int | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState]:
        """Starts an evaluation episode.

        Args:
            key: PRNG key.
            goal_index: `[]` int in `[0, G)`, may be traced.
            params: environment parameters.

        Returns:
            obs `[O]` and state. An automatic reset inside `step` does not know of this goal.
        """

    @abc.abstractmethod
    def sample_goals(self, key: jax.Array, n: int, params: EnvParams) -> jax.Array:
        """`n` goals as the environment draws them for its own training episodes, `[n, D]`."""

    @abc.abstractmethod
    def success(self, achieved: jax.Array, desired: jax.Array) -> dict[str, jax.Array]:
        """Whether goals are met, per metric name: two `[..., D]` that broadcast give bool `[...]`."""

    def reward(self, achieved: jax.Array, desired: jax.Array) -> jax.Array:
        """Reward of a step to `achieved`, 0 at success, else -1: two `[..., D]` that broadcast give `[...]`."""
        return jnp.where(next(iter(self.success(achieved, desired).values())), 0.0, -1.0)

    def distance(self, achieved: jax.Array, desired: jax.Array) -> jax.Array:
        """How far goals are: two `[..., D]` that broadcast give `[...]`, in the goal's units."""
        return jnp.linalg.norm(achieved - desired, axis=-1)

    def remoteness(self, achieved: jax.Array, start: jax.Array) -> jax.Array:
        """How far one must go from `start` to get there, two `[..., D]` that broadcast give `[...]`; for diagnoses."""
        return self.distance(achieved, start)

    @property
    def symmetries(self) -> np.ndarray:
        """Orders of an observation's entries that leave the task the same, int `[S, O]`; the first changes nothing."""
        return np.arange(self.observation_space(self.default_params).shape[0])[None]

    @property
    def map_dims(self) -> tuple[int, int]:
        """The two goal dimensions that a map of goals shows, across and up."""
        return 0, 1

    @property
    def map_labels(self) -> tuple[str, str]:
        """Names of these two, with units."""
        return "x", "y"

    @property
    def render_extent(self) -> tuple[float, float, float, float] | None:
        """What a picture covers, (left, right, bottom, top) in the units of `map_dims`; None: it is no map."""
        return None

    @abc.abstractmethod
    def render(
        self, obs: jax.Array, desired_goal: jax.Array, params: EnvParams, trajectory: jax.Array | None = None
    ) -> jax.Array:
        """Draws an observation and a goal as arrays, without a window system or a plotting library.

        Args:
            obs: `[O]` observation.
            desired_goal: `[D]` goal.
            params: environment parameters.
            trajectory: optional `[T, D]` goals achieved so far, drawn as a line; rows with NaN are left out.

        Returns:
            `[H, W, 3]` uint8 picture.
        """

    def photographs(self, obs: np.ndarray, desired_goal: np.ndarray) -> np.ndarray | None:
        """Pictures of many observations by a simulator's own renderer, on the host, off the training's path.

        Args:
            obs: `[N, O]` observations.
            desired_goal: `[N, D]` goals.

        Returns:
            `[N, H, W, 3]` uint8 pictures, or None where there is no such renderer, so that `render` has to do.
        """
        return None


class ExplorationEnvironment(
    environment.Environment[EnvState, EnvParams],
    abc.ABC,
    Generic[EnvState, EnvParams],
):
    """A gymnax environment in which it can be told how much of it an agent has visited.

    Agents and wrappers written for gymnax run on it unchanged. Rules on top of gymnax's:

    * `info` holds `position` `[3]`, where the step led, before any automatic reset and before the agent is put
      elsewhere; `task_reward` `[]`, what the task pays, also where the reward is kept at 0; `reachable_cells` `[]`
      int32, by which the number of visited cells can be divided; and `respawned` `[]` bool, whether the agent was put
      elsewhere in the same episode.
    * `info["final_observation"]` is the observation before an automatic reset.

    Methods are written for one environment; map over the key and state for a batch.
    """

    @property
    @abc.abstractmethod
    def position_bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Lowest and highest corner of all positions."""

    @abc.abstractmethod
    def position(self, state: EnvState) -> jax.Array:
        """Where the agent is, `[3]`."""

    @abc.abstractmethod
    def render(self, state: EnvState, track: jax.Array | None = None, marks: jax.Array | None = None) -> jax.Array:
        """A view for people, `[H, W, 3]` uint8.

        The positions `track [T, 3]` are drawn in orange, and on top of them `marks [M, 3]` in blue and larger; those
        with NaN are left out.
        """
