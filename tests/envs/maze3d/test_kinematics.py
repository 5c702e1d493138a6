"""How the agent moves (episodic_curiosity.md section 9, point 17)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.maze3d import kinematics
from envs.maze3d.kinematics import RADIUS, action_table
from envs.maze3d.types import UNITS_PER_CELL, Body

MOVE = jax.jit(jax.vmap(kinematics.move, in_axes=(None, 0, 0)))


def walk(solid: jax.Array, body: Body, names: list[str]) -> list[Body]:
    """Poses after each action."""
    actions = kinematics.ACTION_SETS["default_with_idle"]
    table = action_table("default_with_idle")
    poses, body = [], jax.tree.map(lambda x: jnp.asarray(x, jnp.float32)[None], body)
    for name in names:
        body = MOVE(solid, body, table[actions.index(name)][None])
        poses.append(jax.tree.map(lambda x: np.asarray(x[0]), body))
    return poses


def room(size: int) -> jax.Array:
    return jnp.ones((size, size), bool).at[1:-1, 1:-1].set(False)


def at(x: float, y: float, yaw: float = 0.0) -> Body:
    return Body(pos=jnp.array([x, y]), velocity=jnp.zeros(2), yaw=jnp.array(yaw))


def test_a_hundred_steps_forward_in_the_open() -> None:
    poses = walk(room(40), at(2, 20), ["forward"] * 100)
    travelled = UNITS_PER_CELL * (poses[-1].pos[0] - 2)
    assert 2_050 < travelled <= 2_133.4
    steps = np.diff([UNITS_PER_CELL * pose.pos[0] for pose in poses])
    assert steps.max() <= 21.34
    assert steps[-1] == pytest.approx(21.333, abs=0.01)


def test_no_sequence_of_actions_makes_a_step_longer_than_a_run() -> None:
    solid, count = room(80), 64
    body = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float32), (count, *x.shape)), at(40, 40))
    table = jnp.asarray(action_table("default"))

    def step(body: Body, key: jax.Array) -> tuple[Body, jax.Array]:
        after = MOVE(solid, body, table[jax.random.randint(key, (count,), 0, len(table))])
        return after, jnp.linalg.norm(after.pos - body.pos, axis=-1)

    _, lengths = jax.lax.scan(step, body, jax.random.split(jax.random.key(0), 100))
    assert 0.2 < float(lengths.max()) < 0.21334
    zigzag = np.array([pose.pos for pose in walk(solid, at(40, 40), ["forward", "strafe_left"] * 20)])
    assert 0.2 < np.linalg.norm(np.diff(zigzag, axis=0), axis=1).max() < 0.21334


def test_a_full_turn_takes_forty_one_steps() -> None:
    poses = walk(room(9), at(4, 4), ["look_right"] * 41)
    yaws = np.unwrap([0.0, *(float(pose.yaw) for pose in poses)])
    assert np.degrees(yaws[0] - yaws[-1]) == pytest.approx(360.8, abs=0.01)
    np.testing.assert_allclose(poses[-1].pos, [4, 4])


def test_the_agent_stops_by_friction() -> None:
    poses = walk(room(40), at(2, 20), ["forward"] * 10 + ["idle"] * 30)
    assert np.linalg.norm(poses[-1].velocity) < 1e-3
    assert poses[-1].pos[0] - poses[9].pos[0] < 0.6


def test_walls_stop_and_slide() -> None:
    poses = walk(room(9), at(7, 3, np.pi / 4), ["forward"] * 10)
    assert poses[-1].pos[0] == pytest.approx(8 - RADIUS, abs=1e-3)
    assert poses[-1].pos[1] > 4
    assert poses[-1].velocity[0] == 0


def test_strafing_and_backing_go_where_they_say() -> None:
    for name, direction in [("strafe_left", (0, 1)), ("strafe_right", (0, -1)), ("backward", (-1, 0))]:
        moved = walk(room(9), at(4, 4), [name])[-1].pos - 4
        assert moved @ np.array(direction) == pytest.approx(np.linalg.norm(moved), abs=1e-6)
        assert np.linalg.norm(moved) > 0.05


def test_nobody_ever_enters_a_wall() -> None:
    """Random walks of many agents in a maze of pillars and narrow passages."""
    key = jax.random.key(0)
    solid = jax.random.bernoulli(key, 0.3, (12, 12)) | room(12)
    free = np.argwhere(~np.asarray(solid))
    count = 256
    cells = free[np.asarray(jax.random.randint(key, (count,), 0, len(free)))]
    yaw = jax.random.uniform(key, (count,), maxval=6.28)
    body = Body(pos=jnp.asarray(cells[:, ::-1] + 0.5, jnp.float32), velocity=jnp.zeros((count, 2)), yaw=yaw)
    table = jnp.asarray(action_table("default"))

    def step(body: Body, key: jax.Array) -> tuple[Body, jax.Array]:
        commands = table[jax.random.randint(key, (count,), 0, len(table))]
        body = jax.vmap(kinematics.move, in_axes=(None, 0, 0))(solid, body, commands)
        return body, body.pos

    _, places = jax.lax.scan(step, body, jax.random.split(key, 500))
    places, solid = np.asarray(places).reshape(-1, 2), np.asarray(solid)
    for dx, dy in [(-1, -1), (-1, 1), (1, -1), (1, 1)]:
        corner = np.floor(places + 0.999 * RADIUS * np.array([dx, dy])).astype(int)
        assert not solid[corner[:, 1], corner[:, 0]].any()
    assert len(np.unique(places.astype(int), axis=0)) > 30


def test_action_sets_have_the_published_sizes() -> None:
    assert {name: len(actions) for name, actions in kinematics.ACTION_SETS.items()} == {
        "default": 9,
        "nofire": 8,
        "default_with_idle": 10,
        "small": 3,
        "small_with_back": 4,
        "with_idle": 7,
    }
    assert kinematics.ACTION_SETS["default"][8] == "fire"
