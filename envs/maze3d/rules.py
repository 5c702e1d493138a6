"""What the rules of a scenario are made of."""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from envs.maze3d.types import Body, EnvState, Maze, Objects

REACH = 0.35
"""Distance from an object at which it is touched, cells."""

END_DELAY = 3
"""Steps from the deciding event to the end of the episode: 0.2 s."""


class Episode(NamedTuple):
    """How an episode begins."""

    body: Body
    maze: Maze
    door: jax.Array  # [H, W] int32, see `EnvState`
    objects: Objects
    goal_distance: jax.Array  # [H, W] int32


class Outcome(NamedTuple):
    """What a step brought."""

    reward: jax.Array  # [] float32
    respawned: jax.Array  # [] bool, the agent was put elsewhere


class Rules(Protocol):
    """A scenario; all methods are pure and for one environment."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the maze, cells."""

    def begin(self, key: jax.Array) -> Episode:
        """Draw an episode."""

    def after_move(self, key: jax.Array, state: EnvState) -> tuple[EnvState, Outcome]:
        """Apply the rules after the agent has moved; `state.countdown` 0 ends the episode."""


def start_body(pos: jax.Array, uniform: jax.Array) -> Body:
    """At rest at `pos [2]`, looking anywhere: `uniform []` of a turn."""
    return Body(pos=pos, velocity=jnp.zeros(2), yaw=(2 * uniform - 1) * jnp.pi)


def touched(state: EnvState) -> jax.Array:
    """Which objects the agent touches, `[N]` bool."""
    distance = jnp.linalg.norm(state.objects.pos - state.body.pos, axis=-1)
    return (distance < REACH) & (state.objects.kind > 0)


def count_down(countdown: jax.Array, decided: jax.Array) -> jax.Array:
    """The next `EnvState.countdown`, which starts when the episode is `decided []`."""
    running = jnp.where(countdown > 0, countdown - 1, countdown)
    return jnp.where(decided & (countdown < 0), END_DELAY, running)
