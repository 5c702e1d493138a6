"""Ant without a reward: body, episodes, where it is, and what it sees."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs.mujoco import tiles
from envs.mujoco.engine import MjxEngine, MujocoEngine, with_mjx_solver

LANES, STEPS = 16, 40
ENV, PARAMS = envs.make("ant_no_reward", physics="mujoco", height=30, width=40)
RESET, STEP = jax.jit(ENV.reset_env), jax.jit(ENV.step_env)


@pytest.fixture(scope="module")
def played() -> SimpleNamespace:
    """Random actions in each lane, episodes of at most 25 steps with automatic reset."""
    params = dataclasses.replace(PARAMS, max_steps_in_episode=25)

    def step(carry, key):
        actions = jax.random.uniform(key, (LANES, 8), minval=-1.5, maxval=1.5)
        obs, state, *rest = jax.vmap(ENV.step, (0, 0, 0, None))(jax.random.split(key, LANES), carry[1], actions, params)
        return (obs, state), (carry[1], obs, state, *rest)

    def run(key):
        start = jax.vmap(ENV.reset_env, (0, None))(jax.random.split(key, LANES), params)
        return jax.lax.scan(step, start, jax.random.split(key, STEPS))[1]

    names = ("before", "obs", "state", "reward", "terminated", "truncated", "info")
    return SimpleNamespace(**dict(zip(names, jax.tree.map(np.asarray, jax.jit(run)(jax.random.key(0))), strict=True)))


def test_sizes_and_numbers_are_the_published_ones():
    assert PARAMS.max_steps_in_episode == 1001
    assert ENV.observation_space(PARAMS).shape == (27,)
    assert ENV.action_space(PARAMS).shape == (8,)
    model = ENV.model
    assert (model.opt.timestep, model.opt.integrator) == (0.01, mujoco.mjtIntegrator.mjINT_RK4)
    np.testing.assert_array_equal(model.actuator_gear[:, 0], [150] * 8)
    np.testing.assert_array_equal(model.actuator_ctrlrange, [[-1, 1]] * 8)
    body = envs.make("ant_maze", physics="mujoco")[0].model
    np.testing.assert_array_equal(model.body_mass, body.body_mass)
    np.testing.assert_array_equal(model.jnt_range, body.jnt_range)


def test_episodes_end_by_health_and_by_the_clock_and_start_anew(played):
    done = played.terminated | played.truncated
    height = played.info["final_observation"][..., 0]
    np.testing.assert_array_equal(played.terminated, (height < 0.2) | (height > 1.0))
    assert played.truncated.any() and played.terminated.any() and not done.all()
    np.testing.assert_array_equal(played.reward, 0)
    np.testing.assert_array_equal(played.state.time[done], 0)
    place = played.state.physics.qpos[..., :2]
    moved = np.linalg.norm(place - played.before.physics.qpos[..., :2], axis=-1)
    assert moved[~done].max() < 1 < np.median(moved[done])
    changed = played.state.tiles != played.before.tiles
    np.testing.assert_array_equal(changed, done)
    assert np.abs(place).max() < 101 and place.min() < -50 and place.max() > 50
    np.testing.assert_array_equal(played.obs, np.concatenate(
        [played.state.physics.qpos[..., 2:], played.state.physics.qvel], axis=-1
    ))  # fmt: skip


def test_positions_are_mujocos_centre_of_mass_and_the_step_is_its_own(played):
    data = mujoco.MjData(ENV.model)
    for index in ((0, 0), (10, 3), (20, 7)):
        before = jax.tree.map(lambda x, index=index: x[index], played.state.physics)
        action = np.linspace(-1, 1, 8)
        state = RESET(jax.random.key(0), PARAMS)[1]
        _, after, *_, info = STEP(jax.random.key(0), dataclasses.replace(state, physics=before), action, PARAMS)
        data.qpos[:], data.qvel[:], data.ctrl[:], data.qacc_warmstart[:] = before.qpos, before.qvel, action, 0
        mujoco.mj_step(ENV.model, data, 5)
        np.testing.assert_allclose(after.physics.qpos, data.qpos, atol=1e-5)
        mujoco.mj_forward(ENV.model, data)
        np.testing.assert_allclose(info["position"], data.body("torso").subtree_com, atol=1e-4)


def test_a_state_without_a_finite_successor_ends_the_episode_and_is_kept():
    _, state = RESET(jax.random.key(0), PARAMS)
    fast = dataclasses.replace(state, physics=dataclasses.replace(state.physics, qvel=jnp.full(14, 1e30)))
    obs, after, _, terminated, info = STEP(jax.random.key(0), fast, jnp.zeros(8), PARAMS)
    assert terminated
    np.testing.assert_array_equal(after.physics.qpos, state.physics.qpos)
    assert np.isfinite(obs).all() and np.isfinite(info["position"]).all()
    assert not STEP(jax.random.key(0), state, jnp.zeros(8), PARAMS)[3]


def test_splits_have_other_episodes():
    starts = [RESET(jax.random.key(0), dataclasses.replace(PARAMS, split=split))[1] for split in range(4)]
    assert len({int(state.tiles) for state in starts}) == 4
    assert len({float(state.physics.qpos[0]) for state in starts}) == 4


def test_the_camera_is_the_published_one():
    """Its axes against MuJoCo's, with a camera of the published orientation at the centre of a tilted torso."""
    spec = mujoco.MjSpec.from_string("<mujoco><worldbody><body name='torso'><freejoint/><geom size='1'/></body>"
                                     "</worldbody></mujoco>")  # fmt: skip
    spec.body("torso").add_camera(name="eye", quat=[0.6187, 0.3423, -0.3423, -0.6187])
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[3:] = [0.9, 0.2, -0.3, 0.1]
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)
    right, up, backward = data.camera("eye").xmat.reshape(3, 3).T
    turn = np.asarray(jax.jit(tiles.rotation)(data.qpos[3:7]))
    for axis, expected in ((tiles.RIGHT, right), (tiles.UP, up), (tiles.FORWARD, -backward)):
        np.testing.assert_allclose(turn @ np.array(axis), expected, atol=1e-3)
    assert model.cam_fovy[0] == tiles.FIELD_OF_VIEW


def test_the_view_shows_the_floor_where_it_is():
    """Upright, the whole view is floor; a metre on, other pixels; a period on, the same; on its back, sky."""
    poses = np.zeros((5, 15), np.float32)
    poses[:, 1:4] = [1.0, 0.6, 1.0]
    poses[1, 0], poses[2, 0], poses[3, 3:5] = 1.0, tiles.TILE * tiles.PERIOD, [0.0, 1.0]
    camera = tiles.make_camera(31, 41)
    draw = jax.jit(jax.vmap(lambda pose, seed: tiles.first_person(camera, pose, seed)))
    here, there, again, back, other = np.asarray(draw(poses, np.array([7, 7, 7, 7, 8], np.uint32))).astype(int)
    assert here.shape == (31, 41, 3) and here.std() > 10
    assert np.abs(here - there).mean() > 5 and np.abs(here - other).mean() > 5
    assert np.abs(here - again).mean() < 0.5
    assert np.ptp(back[..., 2]) < 60 and (back[..., 2] > back[..., 0]).all()
    # The pixel in the middle sees the floor where the middle ray meets it.
    steps = 0.6 / -tiles.FORWARD[2]
    color = jax.jit(tiles.floor_color)(jnp.uint32(7), jnp.float32(tiles.FORWARD[0] * steps), jnp.float32(1.0))
    np.testing.assert_allclose(here[15, 20], 255 * np.array(color), atol=4)


def test_tiles_are_many_and_flat_in_themselves():
    """Every tile of a period shows one of 189 patterns, nearly all of which occur."""
    place = (tiles.TILE * (np.arange(tiles.PERIOD) + 0.5)).astype(np.float32)
    color = jax.jit(tiles.floor_color)(jnp.uint32(3), place[None], place[:, None], jnp.float32(0.0))
    means = np.unique(np.round(np.stack(color, axis=-1).reshape(-1, 3), 3), axis=0)
    assert 140 < len(means) <= tiles.PATTERNS


def test_a_map_shows_the_ant_and_its_track():
    _, state = RESET(jax.random.key(0), PARAMS)
    track = np.asarray(jax.jit(ENV.position)(state)) + np.linspace([0, 0, 0], [5, 0, 0], 30, dtype=np.float32)
    draw = jax.jit(ENV.render)
    nothing, marked = (np.asarray(draw(state, points)).astype(int) for points in (np.full_like(track, np.nan), track))
    rows, columns = np.nonzero(np.abs(nothing - marked).any(axis=-1))
    assert 15 < len(rows) < 60
    assert np.all(np.abs(rows - 51) <= 2) and columns.max() > 75 and columns.min() > 49  # to the right, as x grows


@pytest.mark.slow
def test_mjx_is_c_mujoco_on_the_plane(played, monkeypatch):
    """One agent step, Runge-Kutta and all, from states in the air and on the ground."""
    # MJX unrolls the three later stages of Runge-Kutta; as a loop they are the same and compile once.
    scan = jax.lax.scan
    monkeypatch.setattr(jax.lax, "scan", lambda *args, unroll=1, **options: scan(*args, **options))
    model = with_mjx_solver(ENV.model)
    state = jax.tree.map(lambda x: x[20], played.state.physics)
    control = jax.random.uniform(jax.random.key(1), (LANES, 8), minval=-1.0, maxval=1.0)
    after = [jax.jit(jax.vmap(engine(model, 1).step))(state, control) for engine in (MujocoEngine, MjxEngine)]
    assert np.abs(after[0].qvel - state.qvel).max() > 0.1
    np.testing.assert_allclose(after[1].qpos, after[0].qpos, atol=1e-4)
    np.testing.assert_allclose(after[1].qvel, after[0].qvel, atol=1e-2)
