"""Pick up good objects and leave bad ones in one room: dense2."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d import sprites
from envs.maze3d.draws import integers, ranks, uniforms
from envs.maze3d.rules import Episode, Outcome, count_down, start_body, touched
from envs.maze3d.types import EnvState, Maze, Objects

PLACES = (9, 10)  # rows and columns of the grid of places
SPACING = 1.5  # cells
PER_KIND = 10
PICKUPS = 10

_GOOD, _BAD = (sprites.CAN, sprites.BALLOON), (sprites.HAT, sprites.CAKE)
_CONFIGURATIONS = np.array(  # colours of good and bad things, three configurations
    [[(0.9, 0.2, 0.2), (0.2, 0.4, 0.9)], [(0.2, 0.8, 0.3), (0.9, 0.5, 0.1)], [(0.9, 0.85, 0.2), (0.6, 0.2, 0.8)]]
)


@dataclasses.dataclass(frozen=True)
class Collect:
    """Ten good objects pay +1 and ten bad ones -1; the tenth pickup of any kind ends the episode."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the room with its walls."""
        return tuple(int(np.ceil(SPACING * count)) + 2 for count in PLACES)  # type: ignore[return-value]

    def begin(self, key: jax.Array) -> Episode:
        """Objects at random places; the agent starts at a place that is left."""
        places, variants, config, turn = uniforms(key, (PLACES[0] * PLACES[1],), (2 * PER_KIND,), (), ())
        order = ranks(places)[: 2 * PER_KIND + 1]
        pos = 1.0 + SPACING * (jnp.stack([order % PLACES[1], order // PLACES[1]], axis=1) + 0.5)
        good = jnp.arange(2 * PER_KIND) < PER_KIND
        variant = integers(variants, 0, 2)
        shape = jnp.where(good, jnp.asarray(_GOOD)[variant], jnp.asarray(_BAD)[variant])
        rgb = jnp.asarray(_CONFIGURATIONS, jnp.float32)[integers(config, 0, len(_CONFIGURATIONS))]
        objects = Objects(
            pos=pos[:-1],
            kind=shape + 1,
            color=jnp.where(good, 0, 1),
            rgb=jnp.where(good[:, None], rgb[0], rgb[1]),
        )
        floor = jnp.zeros(self.shape, bool).at[1:-1, 1:-1].set(True)
        nowhere = jnp.zeros(self.shape, bool)
        return Episode(
            body=start_body(pos[-1], turn),
            maze=Maze(wall=~floor, room=floor, connector=nowhere, spawn=floor, goal=nowhere),
            door=jnp.zeros(self.shape, jnp.int32),
            objects=objects,
            goal_distance=jnp.zeros(self.shape, jnp.int32),
        )

    def after_move(self, key: jax.Array, state: EnvState) -> tuple[EnvState, Outcome]:
        """Pick up what is touched."""
        taken = touched(state)
        reward = jnp.sum(jnp.where(taken, jnp.where(state.objects.color == 0, 1.0, -1.0), 0.0))
        collected = state.collected + jnp.sum(taken)
        objects = dataclasses.replace(state.objects, kind=jnp.where(taken, 0, state.objects.kind))
        countdown = count_down(state.countdown, collected >= PICKUPS)
        state = dataclasses.replace(state, objects=objects, collected=collected, countdown=countdown)
        return state, Outcome(reward=reward, respawned=jnp.asarray(False))
