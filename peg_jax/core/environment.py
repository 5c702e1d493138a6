"""What the agents ask of an environment: the gymnax API plus goals, as a structural type.

Any object with these methods will do; nothing here depends on a particular environment package.
"""

from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np

from peg_jax.core.types import Array, Key

EnvState = Any
EnvParams = Any


class Box(Protocol):
    """A box of `low` and `high` bounds."""

    low: Any
    high: Any
    shape: tuple[int, ...]


class GoalEnvironment(Protocol):
    """A gymnax environment with goals. All methods are for one environment; callers `vmap`."""

    def reset_env(self, key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        """Start an episode: `(obs [D], state)`."""

    def step_env(
        self, key: Key, state: EnvState, action: Array, params: EnvParams
    ) -> tuple[Array, EnvState, Array, Array, dict[str, Array]]:
        """One step without automatic reset: `(obs, state, reward, terminated, info)`."""

    def action_space(self, params: EnvParams) -> Any:
        """A gymnax `Box` or `Discrete`."""

    def observation_space(self, params: EnvParams) -> Box:
        """A gymnax `Box`."""

    def goal_space(self, params: EnvParams) -> Box:
        """The bounds within which a planner looks for goals."""

    def achieved_goal(self, obs: Array) -> Array:
        """The goal `[..., D]` that observations `[..., O]` amount to."""

    def desired_goal(self, state: EnvState) -> Array:
        """The goal `[D]` of the running episode."""

    def eval_goals(self, params: EnvParams) -> Array:
        """Nominal evaluation goals `[G, D]`."""

    def reset_to_eval_goal(self, key: Key, goal_index: Array, params: EnvParams) -> tuple[Array, EnvState]:
        """Start an evaluation episode for goal `goal_index`."""

    def sample_goals(self, key: Key, n: int, params: EnvParams) -> Array:
        """Goals `[n, D]` as the environment draws them for its own training."""

    def success(self, achieved: Array, desired: Array) -> dict[str, Array]:
        """Per metric, whether `achieved [..., D]` meets `desired [..., D]`."""

    def distance(self, achieved: Array, desired: Array) -> Array:
        """How far `achieved [..., D]` is from `desired [..., D]`, in the goal's units."""

    def remoteness(self, achieved: Array, start: Array) -> Array:
        """How far one must go from `start [..., D]` to get to `achieved [..., D]`; in mazes along the corridors."""

    @property
    def symmetries(self) -> np.ndarray:
        """Orders of an observation's entries that leave the task the same, int `[S, O]`."""

    @property
    def eval_goal_names(self) -> tuple[str, ...]:
        """One short name per evaluation goal."""

    @property
    def map_dims(self) -> tuple[int, int]:
        """The two goal dimensions that a map of goals shows, across and up."""

    @property
    def map_labels(self) -> tuple[str, str]:
        """Names of these two."""

    @property
    def render_extent(self) -> tuple[float, float, float, float] | None:
        """What a picture covers, (left, right, bottom, top), if it is a map of `map_dims`."""

    def render(self, obs: Array, desired_goal: Array, params: EnvParams, trajectory: Array | None = None) -> Array:
        """A picture `[H, W, 3]` uint8; what lies outside it is not drawn, nor are NaN rows of `trajectory [T, D]`."""

    def photographs(self, obs: np.ndarray, desired_goal: np.ndarray) -> np.ndarray | None:
        """Pictures `[N, H, W, 3]` uint8 of `obs [N, D]` by a renderer of the environment's own, on the host, if any."""


class Task(NamedTuple):
    """An environment with what the agents read of it once."""

    env: GoalEnvironment
    params: EnvParams
    episode_steps: int
    obs_size: int
    action_size: int
    discrete: bool
    goal_low: Array  # [D]
    goal_high: Array  # [D]

    def env_action(self, action: Array) -> Array:
        """Map an agent's action, in [-1, 1] per dimension or one-hot, to the environment's. `[A]` -> its action."""
        space = self.env.action_space(self.params)
        if self.discrete:
            return jnp.argmax(action, axis=-1)
        return space.low + 0.5 * (action + 1.0) * (space.high - space.low)


def make_task(env: GoalEnvironment, params: EnvParams) -> Task:
    """Read the sizes and bounds off an environment whose goals are full observations.

    Raises:
        ValueError: goals and observations differ in size.
    """
    space, goals = env.action_space(params), env.goal_space(params)
    discrete = hasattr(space, "n")
    shape = env.observation_space(params).shape
    if goals.shape != shape:
        raise ValueError(f"goals must be full observations, but a goal is {goals.shape} and an observation {shape}")
    return Task(
        env=env,
        params=params,
        episode_steps=int(params.max_steps_in_episode),
        obs_size=shape[0],
        action_size=int(space.n) if discrete else space.shape[0],
        discrete=discrete,
        goal_low=jnp.broadcast_to(jnp.asarray(goals.low, jnp.float32), goals.shape),
        goal_high=jnp.broadcast_to(jnp.asarray(goals.high, jnp.float32), goals.shape),
    )
