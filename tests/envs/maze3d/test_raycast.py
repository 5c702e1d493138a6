"""The ray-caster against a march in small steps."""

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d.raycast import cast


def march(solid: np.ndarray, pos: np.ndarray, direction: np.ndarray) -> tuple[float, int, int]:
    """Distance and cell of the first solid cell, to 1e-4."""
    for distance in np.arange(0, 30, 1e-4):
        x, y = pos + distance * direction
        if solid[int(y), int(x)]:
            return float(distance), int(y), int(x)
    raise AssertionError("no wall")


def test_rays_end_where_a_march_does() -> None:
    rng = np.random.default_rng(0)
    solid = rng.uniform(size=(11, 13)) < 0.25
    solid[0] = solid[-1] = solid[:, 0] = solid[:, -1] = True
    free = np.argwhere(~solid)
    positions = free[rng.integers(0, len(free), 40)][:, ::-1] + rng.uniform(0.1, 0.9, (40, 2))
    angles = rng.uniform(0, 2 * np.pi, 40)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    hits = jax.jit(jax.vmap(lambda p, d: cast(jnp.asarray(solid), p, d[None])))(
        jnp.asarray(positions, jnp.float32), jnp.asarray(directions, jnp.float32)
    )
    for index, (pos, direction) in enumerate(zip(positions, directions, strict=True)):
        distance, y, x = march(solid, pos, direction)
        np.testing.assert_allclose(hits.distance[index, 0], distance, atol=2e-3)
        assert (int(hits.y[index, 0]), int(hits.x[index, 0])) == (y, x)


def test_faces_and_the_place_on_them() -> None:
    solid = jnp.ones((5, 5), bool).at[1:4, 1:4].set(False)
    directions = jnp.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    hits = cast(solid, jnp.array([2.5, 2.25]), directions)
    np.testing.assert_allclose(hits.distance, [1.5, 1.5, 1.75, 1.25])
    assert hits.face.tolist() == [1, 0, 3, 2]
    # Looking along +x, left is +y; along -x it is -y; along +y left is -x; along -y it is +x.
    np.testing.assert_allclose(hits.along, [0.75, 0.25, 0.5, 0.5], atol=1e-5)
