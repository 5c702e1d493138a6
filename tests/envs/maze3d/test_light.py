"""The light of a maze: it says where one is."""

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d import textures

EPISODES = 64


def test_places_close_by_share_their_light_and_far_ones_do_not() -> None:
    def lights(key: jax.Array) -> jax.Array:
        rows = textures.draw_look(key, (19, 19)).lamp
        x = jnp.array([3.0, 3.1, 3.0, 12.0])
        y = jnp.array([7.0, 7.0, 7.1, 11.0])
        return jnp.stack([textures.lamp(row, x, y) for row in rows], axis=-1)

    light = np.asarray(jax.vmap(lights)(jax.random.split(jax.random.key(0), EPISODES)))
    here, close, far = light[:, :1], light[:, 1:3], light[:, 3:]
    assert ((light >= 0.2) & (light <= 1.8)).all()
    assert np.abs(close - here).max() < 0.15
    assert (np.linalg.norm(far - here, axis=-1) > 0.2).mean() > 0.8
    assert len(np.unique(here, axis=0)) == EPISODES  # each episode has lamps of its own
