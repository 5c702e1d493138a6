"""Walker, Ant Maze and 3-Block Stack as environments: starts, goals, success, episodes and what they look like."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs.mujoco import block_stack, camera
from envs.mujoco.ant_maze import PLACES

NAMES = ("ant_maze", "block_stack", "walker")
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
LANES = 6


@functools.cache
def make(name):
    return envs.make(name, physics="mujoco")


@pytest.mark.parametrize("name", NAMES)
def test_the_goal_can_be_appended_to_the_observation(name):
    """And nothing else changes: what is achieved, paid, judged and drawn."""
    (env, params), size = make(name), make(name)[0].goals.shape[1]
    wide, _ = envs.make(name, physics="mujoco", goal_in_observation=True)
    assert wide.observation_space(params).shape == (2 * size,) and wide.goal_space(params).shape == (size,)

    def play(env):
        key, action = jax.random.key(1), jnp.full(env.num_actions, 0.5)
        first, state = env.reset_env(key, params)
        obs, state, reward, _, info = env.step_env(key, state, action, params)
        picture = env.render(obs, state.goal, params, env.achieved_goal(jnp.stack([first, obs])))
        return obs, state.goal, (env.achieved_goal(obs), reward, info["metric_success"], picture)

    (obs, goal, rest), (wide_obs, _, wide_rest) = (jax.jit(play, static_argnums=0)(e) for e in (env, wide))
    np.testing.assert_array_equal(wide_obs, np.concatenate([obs, goal]))
    jax.tree.map(np.testing.assert_array_equal, rest, wide_rest)
    np.testing.assert_array_equal(env.photographs(obs[None], goal[None]), wide.photographs(wide_obs[None], goal[None]))
    for order, wide_order in zip(env.symmetries, wide.symmetries, strict=True):
        np.testing.assert_array_equal(wide_obs[wide_order], np.concatenate([obs[order], goal[order]]))


@functools.cache
def episodes(name):
    """Two episodes of random actions in each lane with automatic reset: first and later obs, states and the rest."""
    env, params = make(name)

    def body(carry, key):
        actions = jax.random.uniform(key, (LANES, env.num_actions), minval=-1.0, maxval=1.0)
        keys = jax.random.split(key, LANES)
        obs, state, *rest = jax.vmap(env.step, (0, 0, 0, None))(keys, carry[1], actions, params)
        return (obs, state), (obs, state.goal_index, *rest)

    def run(key):
        start = jax.vmap(env.reset, (0, None))(jax.random.split(key, LANES), params)
        steps = 2 * params.max_steps_in_episode
        return start, jax.lax.scan(body, start, jax.random.split(key, steps))[1]

    return jax.jit(run)(jax.random.key(0))


@pytest.mark.parametrize(("name", "size", "actions", "steps", "goals"), [
    ("ant_maze", 29, 8, 500, 32), ("block_stack", 14, 4, 150, 15), ("walker", 9, 6, 150, 4),
])  # fmt: skip
def test_sizes_are_the_published_ones(name, size, actions, steps, goals):
    env, params = make(name)
    assert params.max_steps_in_episode == steps
    assert env.observation_space(params).shape == env.goal_space(params).shape == (size,)
    assert env.action_space(params).shape == (actions,)
    assert env.eval_goals(params).shape == (goals, size)
    assert len(set(env.eval_goal_names)) == goals


def test_planner_bounds_are_the_published_ones():
    for name, low, high in (
        ("ant_maze", [-0.75, -0.5, *[-1] * 27], [5, 9, *[1] * 27]),
        ("walker", [-1.3, -20, *[-3.14] * 7], [0.5, 20, *[3.14] * 7]),
        ("block_stack", [0] * 14, [1] * 14),
    ):
        space = make(name)[0].goal_space()
        np.testing.assert_allclose(space.low, low, rtol=1e-6)
        np.testing.assert_allclose(space.high, high, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_episode_starts_afresh_and_its_end_survives(name):
    steps = make(name)[1].max_steps_in_episode
    (first, _), (obs, _, reward, terminated, truncated, info) = episodes(name)
    ends = np.flatnonzero(truncated[:, 0])
    np.testing.assert_array_equal(ends, [steps - 1, 2 * steps - 1])
    assert not np.any(terminated) and np.isfinite(obs).all() and np.isfinite(reward).all()
    second = np.asarray(obs[steps - 1])  # what follows the reset
    final = np.asarray(info["final_observation"][steps - 1])
    assert np.all(np.abs(final - second).max(axis=1) > 1e-3)
    np.testing.assert_array_equal(info["final_observation"][: steps - 1], obs[: steps - 1])
    if name == "block_stack":  # the published reset is the same every time
        np.testing.assert_array_equal(first, second)
    else:
        assert np.all(np.abs(first - second).max(axis=1) > 1e-3)
        assert np.unique(np.round(first, 4), axis=0).shape[0] == LANES


def test_goals_are_drawn_anew():
    (_, state), (_, goal_index, *_) = episodes("ant_maze")
    assert np.any(np.asarray(state.goal_index) != goal_index[500])
    drawn = make("ant_maze")[0].sample_goals(jax.random.key(0), 500, make("ant_maze")[1])
    assert np.unique(np.asarray(drawn), axis=0).shape[0] == 32
    assert np.unique(np.asarray(make("walker")[0].sample_goals(jax.random.key(0), 50, None))[:, 1]).size == 4
    stack = make("block_stack")[0].sample_goals(jax.random.key(0), 5, None)
    np.testing.assert_array_equal(stack, np.tile(make("block_stack")[0].goals[-1], (5, 1)))


def test_the_ant_starts_at_its_own_pose_with_noise():
    env, params = make("ant_maze")
    obs = np.asarray(jax.vmap(env.reset_env, (0, None))(jax.random.split(jax.random.key(0), 2000), params)[0])
    default = np.array([0, 0, 0.75, 1, *[0] * 11])
    noise = obs[:, :15] - default
    assert np.abs(noise).max() <= 0.1 + 1e-6 and np.all(noise.min(0) < -0.095) and np.all(noise.max(0) > 0.095)
    np.testing.assert_allclose(obs[:, 15:].std(axis=0), 0.1, rtol=0.1)
    assert env.model.body_mass.sum() == pytest.approx(0.911, abs=1e-3)


def test_the_ant_stays_in_the_corridor_and_pushes_with_30():
    env, _ = make("ant_maze")
    (_, _), (obs, *_) = episodes("ant_maze")
    x, y = np.asarray(obs[..., 0]), np.asarray(obs[..., 1])
    assert x.min() > -1 and y.min() > -1 and y.max() < 1.0  # none gets round the first bend in 500 random steps
    np.testing.assert_array_equal(env.model.actuator_ctrlrange, [[-30, 30]] * 8)
    np.testing.assert_array_equal(env.control(None, jnp.array([1.0, -0.5])), [30, -15])
    order = [env.model.joint(i).name for i in env.model.actuator_trnid[:, 0]]
    assert order == [f"{part}_{leg}" for leg in (4, 1, 2, 3) for part in ("hip", "ankle")]


def test_the_ants_remoteness_follows_the_corridor():
    ant = make("ant_maze")[0]
    goals = jnp.asarray(ant.goals)[::4]
    np.testing.assert_array_equal(ant.remoteness(goals, goals[0]), 2.0 * np.arange(8))
    np.testing.assert_array_equal(ant.remoteness(goals[6], goals[1] + 0.4), 10.0)  # though they are 4.5 m apart
    groups = [np.asarray(ant.goals)[list(group)] for group in ant.goal_groups.values()]
    assert [np.ptp(ant.remoteness(jnp.asarray(group), goals[0])) for group in groups] == [0.0] * 8
    np.testing.assert_array_equal(
        [ant.remoteness(jnp.asarray(group[0]), goals[0]) for group in groups], 2.0 * np.arange(8)
    )


def test_ant_goals_are_places_in_four_headings():
    goals = np.asarray(make("ant_maze")[0].eval_goals()).reshape(8, 4, 29)
    np.testing.assert_allclose(goals[:, :, :2], np.repeat(np.array(PLACES)[:, None], 4, axis=1), atol=1e-6)
    np.testing.assert_allclose(goals[0, 0, 2:7], [0.60819, 0.98750, 0.00183, -0.00683, 0.15749], atol=1e-5)
    w, x, y, z = np.moveaxis(goals[0, :, 3:7], -1, 0)
    yaw = np.degrees(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2)))
    np.testing.assert_allclose(yaw % 360, 18.12 + np.arange(4) * 90, atol=0.05)
    np.testing.assert_allclose(np.linalg.norm(goals[..., 3:7], axis=-1), 1.0, atol=1e-4)
    np.testing.assert_array_equal(goals[..., 15:], 0)


def test_success_is_strict_and_looks_at_positions_alone():
    ant, walker = make("ant_maze")[0], make("walker")[0]
    goal = jnp.asarray(ant.goals[12])
    offsets = jnp.array([[0.99, 0.0], [0.0, -0.99], [0.71, 0.71], [1.01, 0.0]])
    states = jnp.tile(goal, (4, 1)).at[:, :2].add(offsets).at[:, 2:].add(5.0)
    np.testing.assert_array_equal(ant.success(states, goal)["success"], [True, True, False, False])
    goal = jnp.asarray(walker.goals[1])
    states = jnp.tile(goal, (3, 1)).at[:, 1].add(jnp.array([0.09, -0.09, 0.11])).at[:, 2:].add(3.0)
    np.testing.assert_array_equal(walker.success(states, goal)["success"], [True, True, False])


def test_walker_starts_tumbling_within_its_ranges():
    env, params = make("walker")
    obs = np.asarray(jax.vmap(env.reset_env, (0, None))(jax.random.split(jax.random.key(0), 2000), params)[0])
    low = np.radians([-20, -150, -45] * 2)
    high = np.radians([100, 0, 45] * 2)
    np.testing.assert_array_equal(obs[:, :2], 0)
    assert obs[:, 2].min() < -3.1 and obs[:, 2].max() > 3.1
    np.testing.assert_allclose(obs[:, 3:].min(0), low, atol=0.02)
    np.testing.assert_allclose(obs[:, 3:].max(0), high, atol=0.02)
    np.testing.assert_array_equal(env.goals[:, 1], [-13, 13, -16, 16])
    _, (_, _, reward, *_, info) = episodes("walker")
    assert np.all(reward < 0) and not np.any(info["metric_success"])


def test_walker_is_the_suites():
    """Quantity by quantity, as `tests/golden/make_physics.py` read them off dm_control 1.0.50."""
    model = make("walker")[0].model
    figures = json.loads((GOLDEN / "dm_control_walker.json").read_text())
    assert (model.opt.timestep, model.opt.iterations) == (figures.pop("timestep"), figures.pop("iterations"))
    sizes = figures.pop("geom_size")
    np.testing.assert_allclose(model.geom_size[1:], sizes, atol=1e-8)
    assert len(figures) == 20
    for name, value in figures.items():
        np.testing.assert_allclose(getattr(model, name), value, atol=1e-8, err_msg=name)
    assert model.body_mass.sum() == pytest.approx(28.54, abs=0.005)


def responses():
    spec = importlib.util.spec_from_file_location("make_physics", GOLDEN / "make_physics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RESPONSES


def test_the_floating_gripper_moves_like_the_fetch_arm():
    """Within a millimetre of the full arm's site and finger, in five motions of 40 steps."""
    env, _ = make("block_stack")
    golden = json.loads((GOLDEN / "fetch_response.json").read_text())
    names, actions = zip(*responses().items(), strict=True)
    actions = jnp.repeat(jnp.asarray(actions, jnp.float32), 20, axis=1)  # [M, 40, 4]

    def step(physics, action):
        physics = env.engine.step(physics, env.control(physics, action))
        return physics, jnp.append(block_stack.to_metres(env.sense(physics))[:3], physics.qpos[7])

    run = jax.jit(jax.vmap(lambda rows: jax.lax.scan(step, env.start(jax.random.key(0)), rows)[1]))
    moved = np.asarray(run(actions))
    travel = np.ptp(moved, axis=1)
    assert travel[names.index("across"), 1] > 0.06 and travel[names.index("fingers"), 3] > 0.045
    for index, name in enumerate(names):
        np.testing.assert_allclose(moved[index], golden[name], atol=1e-3, err_msg=name)


def test_blocks_start_at_rest_and_are_seen_in_units_of_the_workspace():
    env, params = make("block_stack")
    obs, state = env.reset_env(jax.random.key(0), params)
    metres = block_stack.to_metres(np.asarray(obs))
    np.testing.assert_allclose(metres[:5], [1.34193, 0.7491, 0.53472, 0, 0], atol=1e-4)
    np.testing.assert_allclose(metres[5:].reshape(3, 3)[:, :2], [[1.33, 0.65], [1.33, 0.85], [1.33, 0.75]], atol=1e-5)
    np.testing.assert_allclose(metres[7::3], 0.4249, atol=1e-4)
    low = block_stack.normalize(np.array([1.30, 0.64, 0.42, 0, 0] + [1.36, 0.86, 0.59] * 3))
    np.testing.assert_allclose(low, [0] * 5 + [1] * 9, atol=1e-9)
    step = jax.jit(env.step_env)
    for _ in range(5):
        after, state, *_ = step(jax.random.key(0), state, jnp.array([0.0, 0, 0, -1]), params)
    np.testing.assert_allclose(after[5:], obs[5:], atol=2e-3)


def test_the_gripper_keeps_to_its_workspace():
    env, params = make("block_stack")
    _, state = env.reset_env(jax.random.key(0), params)
    step = jax.jit(env.step_env)
    for corner in ([1.0, 1, 1, 0], [-1.0, -1, -1, 0]):
        for _ in range(20):
            obs, state, *_ = step(jax.random.key(0), state, jnp.array(corner), params)
        edge = block_stack.WORKSPACE_HIGH if corner[0] > 0 else block_stack.WORKSPACE_LOW
        # Down there it rests on the blocks' tops.
        np.testing.assert_allclose(block_stack.to_metres(obs)[:2], edge[:2], atol=5e-3)


def test_stack_goals_and_success():
    env, params = make("block_stack")
    assert env.eval_goal_names[:9] == (
        *("lift 0", "lift 1", "lift 2", "2 on 1", "1 on 2", "2 on 0", "0 on 2", "1 on 0", "0 on 1"),
    )
    assert env.eval_goal_names[9:] == (
        *("2 on 1 on 0", "1 on 2 on 0", "2 on 0 on 1", "0 on 2 on 1", "1 on 0 on 2", "0 on 1 on 2"),
    )
    towers = block_stack.to_metres(np.asarray(env.goals))
    np.testing.assert_allclose(towers[9, 5:].reshape(3, 3)[:, 2], [0.425, 0.475, 0.525], atol=1e-6)
    np.testing.assert_allclose(towers[9, :3], [1.32, 0.65, 0.533], atol=1e-6)
    np.testing.assert_allclose(towers[:, 3:5], 0.05, atol=1e-6)
    goal = env.eval_goals(params)[2]
    moved = block_stack.to_metres(jnp.tile(goal, (4, 1)))
    moved = moved.at[0, 5].add(0.029).at[1, 7].add(0.031).at[2, 0].add(0.031).at[3, 3:5].set(0.0)
    success = env.success(block_stack.normalize(moved), goal)
    np.testing.assert_array_equal(success["success"], [True, False, False, True])
    np.testing.assert_array_equal(success["obj2_above_0.50"], [True] * 4)
    np.testing.assert_array_equal(success["obj0_above_0.50"], [False] * 4)


def test_the_stacks_remoteness_is_that_of_its_blocks():
    env, params = make("block_stack")
    start, _ = env.reset_env(jax.random.key(0), params)
    moved = block_stack.to_metres(jnp.tile(start, (3, 1)))
    moved = moved.at[0, 1].add(0.1).at[1, 7].add(0.2).at[2, 9].add(0.05).at[2, 12].add(0.1)
    np.testing.assert_allclose(env.remoteness(block_stack.normalize(moved), start), [0.0, 0.2, 0.1], atol=1e-5)


def test_a_scripted_hand_lifts_a_block():
    """Open, go down on the block in the middle, close, go up: the block comes along."""
    env, params = make("block_stack")
    _, state = env.reset_env(jax.random.key(0), params)
    plan = [[-0.02, 0, 0, 1]] * 10 + [[-0.02, 0, -0.25, 1]] * 12 + [[0, 0, 0, -1]] * 10 + [[0, 0, 0.2, -1]] * 12

    def step(state, action):
        obs, state, *_, info = env.step_env(jax.random.key(0), state, action, params)
        return state, (obs, info["metric_obj2_above_0.50"])

    obs, high = jax.jit(lambda s: jax.lax.scan(step, s, jnp.array(plan)))(state)[1]
    heights = block_stack.to_metres(np.asarray(obs))[:, [7, 10, 13]]
    assert heights[-1, 2] > 0.5 and bool(high[-1]) and not bool(high[0])
    np.testing.assert_allclose(heights[-1, :2], 0.425, atol=5e-3)


def test_the_blocks_are_interchangeable():
    env, _ = make("block_stack")
    orders = env.symmetries
    assert orders.shape == (6, 14) and np.array_equal(orders[0], np.arange(14))
    goals = {tuple(np.round(goal, 5)) for goal in np.asarray(env.goals)}
    towers = {tuple(np.round(goal[order], 5)) for goal in env.goals[9:10] for order in orders}
    assert len(towers) == 6 and tuple(np.round(env.goals[9], 5)) in towers & goals
    for name in ("ant_maze", "walker"):
        assert make(name)[0].symmetries.shape[0] == 1


@pytest.mark.parametrize("name", NAMES)
def test_sketches_show_agent_goal_and_path(name):
    env, params = make(name)
    (first, _), (obs, *_) = episodes(name)
    draw = jax.jit(lambda obs, goal, path: env.render(obs, goal, params, path))
    goal, path = jnp.asarray(env.goals[0]), obs[:40, 0]
    away = jnp.full_like(goal, 1e6)
    whole, no_path, no_agent, no_goal = (
        np.asarray(draw(*row)).astype(int)
        for row in (
            (first[0], goal, path),
            (first[0], goal, jnp.full_like(path, jnp.nan)),
            (away, away, jnp.full_like(path, jnp.nan)),
            (first[0], away, path),
        )
    )
    assert whole.shape == (100, 100, 3)
    assert np.abs(whole - no_path).any(axis=-1).sum() > 5
    assert np.abs(no_path - no_agent).any(axis=-1).sum() > 50
    assert name == "walker" or np.abs(whole - no_goal).any(axis=-1).sum() > 3  # the walker's goal is out of sight


def test_sketched_limbs_are_where_the_simulator_has_them():
    from envs.mujoco import sketch

    rng = np.random.default_rng(0)
    model = make("ant_maze")[0].model
    data = mujoco.MjData(model)
    data.qpos[:] = rng.normal(size=15)
    data.qpos[3:7] /= np.linalg.norm(data.qpos[3:7])
    mujoco.mj_forward(model, data)
    _, hips, knees, feet = sketch.ant_joints(jnp.asarray(data.qpos, jnp.float32))
    for name, drawn in (("hip", hips), ("knee", knees), ("foot", feet)):
        real = [data.geom(f"{name}_touch_{leg}").xpos for leg in (1, 2, 3, 4)]
        np.testing.assert_allclose(drawn, real, atol=1e-5)
    model = make("walker")[0].model
    data = mujoco.MjData(model)
    data.qpos[:] = rng.normal(size=9)
    mujoco.mj_forward(model, data)
    _, hip, *legs = sketch.walker_joints(jnp.asarray(data.qpos, jnp.float32))
    for name, (_, ankle, heel, toe) in (("right", legs[:4]), ("left", legs[4:])):
        foot = data.geom(f"{name}_foot").xpos
        np.testing.assert_allclose((np.asarray(heel) + np.asarray(toe)) / 2, foot[[0, 2]], atol=1e-5)
        np.testing.assert_allclose(ankle, data.joint(f"{name}_ankle").xanchor[[0, 2]], atol=1e-5)
    np.testing.assert_allclose(hip, data.joint("right_hip").xanchor[[0, 2]], atol=1e-5)


def test_without_gl_there_is_one_line_of_advice_and_no_photograph(monkeypatch, caplog):
    def broken(*_):
        raise ImportError("no EGL here")

    monkeypatch.setattr(camera.mujoco, "Renderer", broken)
    camera._advise.cache_clear()
    env, _ = make("walker")
    assert [env.photographs(env.goals[:1], env.goals[:1]) for _ in range(2)] == [None, None]
    assert [record.message.count("\n") for record in caplog.records] == [0]
    assert "no EGL here" in caplog.text and "libegl1" in caplog.text


WITHOUT_LIBRARIES = """
import ctypes, sys
load = ctypes.CDLL.__init__

def missing(self, name, *rest, **options):
    if name and name.startswith(tuple(sys.argv[1:])):
        raise OSError(f"{name}: cannot open shared object file")
    load(self, name, *rest, **options)

ctypes.CDLL.__init__ = missing
import envs
env, _ = envs.make("walker", physics="mujoco")
print([env.photographs(env.goals[:1], env.goals[:1]) for _ in range(2)])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MuJoCo draws with the system's own library")
@pytest.mark.parametrize(("asked", "lacking"), [
    ("osmesa", ["libOSMesa"]), ("egl", ["libEGL"]), (None, ["libOpenGL", "libGL.", "libGLES"]),
])  # fmt: skip
def test_without_gl_libraries_mujoco_is_imported_all_the_same(asked, lacking):
    environment = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")}
    environment |= {"MUJOCO_GL": asked} if asked else {}
    command = [sys.executable, "-c", WITHOUT_LIBRARIES, *lacking]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120, capture_output=True, text=True)
    assert done.stdout == "[None, None]\n"
    (advice,) = [line for line in done.stderr.splitlines() if "pictures are drawn from arrays" in line]
    assert f"({asked or 'egl'} lacks " in advice and "libegl1 libopengl0" in advice
    assert all(name.rstrip(".") in advice for name in lacking)


@pytest.mark.skipif(not hasattr(mujoco, "Renderer"), reason="built without a renderer")
@pytest.mark.parametrize("name", NAMES)
def test_photographs_show_poses_and_goals(name):
    env, _ = make(name)
    first = np.asarray(env.reset_env(jax.random.key(0), env.default_params)[0])
    obs = np.stack([first, env.goals[0]])
    shown = camera.photograph(env.model, env.camera, 60, env.pose(obs), [[], []])
    if shown is None:
        pytest.skip("no OpenGL on this machine")
    assert shown.shape == (2, 60, 60, 3) and shown.std() > 5
    assert np.abs(shown[0].astype(int) - shown[1]).any(axis=-1).sum() > 20
    pose = (
        1 if name == "walker" else 0
    )  # the walker's goal is out of sight from its start, others hide their goal's marker
    marked = camera.photograph(env.model, env.camera, 60, env.pose(obs[[pose]]), [env.markers(env.goals[-1 + pose])])
    assert np.abs(shown[pose].astype(int) - marked[0]).any(axis=-1).sum() > 3


@pytest.mark.parametrize("name", NAMES)
def test_where_the_physics_diverges_the_body_stays_where_it_was(name):
    """C MuJoCo would put it back to the model's own pose, and MJX go on with what is no number."""
    env, params = make(name)
    _, state = env.reset(jax.random.key(0), params)
    mad = state.replace(physics=state.physics.replace(qvel=state.physics.qvel.at[0].set(1e11)))
    obs, after, *_ = jax.jit(env.step_env)(jax.random.key(1), mad, jnp.zeros(env.num_actions), params)
    np.testing.assert_array_equal(after.physics.qpos, state.physics.qpos)
    assert np.isfinite(obs).all()
