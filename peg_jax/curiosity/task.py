"""What the agent asks of an environment: the gymnax API, and a position for the grid oracle."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

from peg_jax.core.types import Array, Key
from peg_jax.curiosity.config import OracleConfig
from peg_jax.curiosity.oracle import Corner, Grid, make_grid

EnvState = Any
EnvParams = Any
StepResult = tuple[Array, EnvState, Array, Array, Array, dict[str, Array]]


class ExplorationEnvironment(Protocol):
    """A gymnax environment whose `info` holds `position [3]`, `task_reward []`, `reachable_cells []`, `respawned []`.

    All methods are for one environment; callers `vmap`. Where the observation is no picture, a method
    `view(state) -> uint8 [H, W, C]` may offer one for methods that need it.
    """

    def reset_env(self, key: Key, params: EnvParams) -> tuple[Array, EnvState]:
        """Start an episode: `(obs, state)`."""

    def step(self, key: Key, state: EnvState, action: Array, params: EnvParams) -> StepResult:
        """One step with automatic reset: `(obs, state, reward, terminated, truncated, info)`."""

    def step_env(
        self, key: Key, state: EnvState, action: Array, params: EnvParams
    ) -> tuple[Array, EnvState, Array, Array, dict[str, Array]]:
        """One step without automatic reset: `(obs, state, reward, terminated, info)`."""

    def is_truncated(self, state: EnvState, params: EnvParams) -> Array:
        """Whether the time is up."""

    def action_space(self, params: EnvParams) -> Any:
        """A gymnax `Box` or `Discrete`."""

    def observation_space(self, params: EnvParams) -> Any:
        """A gymnax `Box`."""

    @property
    def position_bounds(self) -> tuple[Corner, Corner]:
        """Lowest and highest corner of all positions."""

    def position(self, state: EnvState) -> Array:
        """Where the agent is, `[3]`."""

    def render(self, state: EnvState, track: Array | None = None, marks: Array | None = None) -> Array:
        """A view for people, `[H, W, 3]` uint8, with the positions `track [T, 3]` and `marks [M, 3]`, but for NaN."""


class Task(NamedTuple):
    """An environment with what the agent reads of it once."""

    env: ExplorationEnvironment
    params: EnvParams
    obs_shape: tuple[int, ...]
    actions: int
    discrete: bool
    grid: Grid
    view: Callable[[EnvState], Array] | None  # what is to be seen in a state, where observations are no pictures
    frame_shape: tuple[int, ...]  # [H, W, C] of pictures; empty where there are none

    def frames(self, obs: Array, env: EnvState) -> Array:
        """Pictures uint8 `[N, H, W, C]` of N environments."""
        return jax.vmap(self.view)(env) if self.view else obs


def make_task(env: ExplorationEnvironment, params: EnvParams, oracle: OracleConfig) -> Task:
    """Read the sizes off an environment."""
    space = env.action_space(params)
    discrete = hasattr(space, "n")
    obs_shape = tuple(env.observation_space(params).shape)
    view = getattr(env, "view", None) if len(obs_shape) != 3 else None
    return Task(
        env=env,
        params=params,
        obs_shape=obs_shape,
        actions=int(space.n) if discrete else space.shape[0],
        discrete=discrete,
        grid=make_grid(oracle, *env.position_bounds),
        view=view,
        frame_shape=_view_shape(env, params, view) if view else obs_shape if len(obs_shape) == 3 else (),
    )


def _view_shape(env: ExplorationEnvironment, params: EnvParams, view: Callable[[EnvState], Array]) -> tuple[int, ...]:
    return jax.eval_shape(lambda key: view(env.reset_env(key, params)[1]), jax.random.key(0)).shape
