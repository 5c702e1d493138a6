"""The engines: C MuJoCo under every transformation, and MJX against it."""

import functools
import itertools
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs.mujoco.engine import (
    ASSETS,
    THREADS,
    MjxEngine,
    MujocoEngine,
    PhysicsState,
    load_model,
    make_engine,
    resolve,
    with_mjx_solver,
)
from experiments.threads import widen_for_mjx

ROOT = Path(__file__).parents[2]
GRID = ("11111", "1...1", "111.1", "1...1", "1.111", "11111")  # the published maze, row 0 at y = -2, column 0 at x = -2


@functools.cache
def make(name):
    return envs.make(name, physics="mujoco")[0]


@functools.partial(jax.jit, static_argnums=(0, 1))
def starts(name, count):
    return jax.vmap(make(name).start)(jax.random.split(jax.random.key(0), count))


@functools.partial(jax.jit, static_argnums=0)
def random_controls(name, state, key):
    """Controls that uniformly random actions ask for, one row per world."""
    env = make(name)
    actions = jax.random.uniform(key, (state.qpos.shape[0], env.num_actions), minval=-1.0, maxval=1.0)
    return jax.vmap(env.control)(state, actions)


def plain_steps(model, state, control, steps):
    """One world by MuJoCo's own step, without a warm start, as float32."""
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:], data.ctrl[:] = state.qpos, state.qvel, control[: model.nu]
    mocap = np.asarray(control[model.nu :])
    data.mocap_pos[:] = mocap[: 3 * model.nmocap].reshape(-1, 3)
    data.mocap_quat[:] = mocap[3 * model.nmocap :].reshape(-1, 4)
    mujoco.mj_step(model, data, steps)
    return data.qpos.astype(np.float32), data.qvel.astype(np.float32)


def world(tree, *index):
    return jax.tree.map(lambda x: x[index], tree)


@pytest.mark.parametrize("name", ["ant_maze", "walker", "block_stack"])
def test_the_callback_is_mujoco_in_every_world(name):
    env = make(name)
    state = starts(name, 5)
    control = random_controls(name, state, jax.random.key(1))
    after = jax.jit(jax.vmap(env.engine.step))(state, control)
    for index in range(5):
        qpos, qvel = plain_steps(env.model, world(state, index), control[index], env.substeps)
        np.testing.assert_array_equal(after.qpos[index], qpos)
        np.testing.assert_array_equal(after.qvel[index], qvel)
    assert np.abs(after.qpos - state.qpos).max() > 1e-4


def test_seeds_scan_and_single_worlds_agree():
    """Mapped twice and scanned under jit, as a run of several seeds does it, against one world at a time."""
    engine, seeds, lanes, steps = make("ant_maze").engine, 2, 3, 4
    state = jax.tree.map(lambda x: x.reshape(seeds, lanes, -1), starts("ant_maze", seeds * lanes))
    controls = jax.random.uniform(jax.random.key(2), (steps, seeds, lanes, 8), minval=-30.0, maxval=30.0)

    @jax.jit
    def run(state, controls):
        step = jax.vmap(jax.vmap(engine.step))
        return jax.lax.scan(lambda s, c: (step(s, c), None), state, controls)[0]

    together, single = run(state, controls), jax.jit(engine.step)
    np.testing.assert_array_equal(together.qpos, run(state, controls).qpos)  # a function of state and control
    for seed, lane in np.ndindex(seeds, lanes):
        alone = world(state, seed, lane)
        for control in controls[:, seed, lane]:
            alone = single(alone, control)
        np.testing.assert_array_equal(together.qpos[seed, lane], alone.qpos)
        np.testing.assert_array_equal(together.qvel[seed, lane], alone.qvel)


def test_a_shared_state_meets_many_controls():
    """Only the control is mapped; every world starts from the one state."""
    engine = make("walker").engine
    state = world(starts("walker", 1), 0)
    controls = jax.random.uniform(jax.random.key(0), (3, 6), minval=-1.0, maxval=1.0)
    after, alone = jax.jit(lambda s, c: (jax.vmap(engine.step, in_axes=(None, 0))(s, c), engine.step(s, c[1])))(
        state, controls
    )
    np.testing.assert_array_equal(after.qpos[1], alone.qpos)
    assert np.unique(np.asarray(after.qvel), axis=0).shape[0] == 3


def test_auto_is_c_on_a_cpu_and_others_are_refused():
    assert jax.default_backend() != "cpu" or resolve("auto") == "mujoco"
    assert (resolve("mjx"), resolve("mujoco")) == ("mjx", "mujoco")
    with pytest.raises(ValueError, match=r"unknown physics 'bullet'; known: auto, mjx, mujoco"):
        make_engine(load_model("walker"), 1, "bullet")


def test_auto_is_mjx_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [envs.make("walker", physics=physics)[0].physics for physics in ("auto", "mujoco")] == ["mjx", "mujoco"]
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert resolve("auto") == "mjx"


def test_enough_solver_iterations():
    """At the limits that MJX runs with, a step of C MuJoCo is that of a hundred iterations."""
    model = make("ant_maze").model
    assert (model.opt.iterations, with_mjx_solver(model).opt.iterations) == (100, 4)
    few, many = (jax.jit(jax.vmap(MujocoEngine(m, 1).step)) for m in (with_mjx_solver(model), model))
    errors, state = [], starts("ant_maze", 32)
    for step in range(60):
        control = random_controls("ant_maze", state, jax.random.key(step // 5))
        limited, state = few(state, control), many(state, control)
        errors.append(np.abs(limited.qvel - state.qvel).max(axis=1))
    assert np.percentile(errors, 99) < 1e-4


def maze_of_boxes():
    """The ant in the maze of 22 boxes."""
    spec = mujoco.MjSpec.from_file(str(ASSETS / "ant_maze.xml"))
    for geom in [geom for geom in spec.worldbody.geoms if geom.name != "floor"]:
        spec.delete(geom)
    material = {
        "condim": 3,
        "friction": [1, 0.5, 0.5],
        "solimp": [0.8, 0.8, 0.01, 0.5, 2],
        "conaffinity": 1,
        "contype": 0,
    }
    for row, column in np.argwhere(np.array([list(line) for line in GRID]) == "1"):
        place = {"size": [1, 1, 0.5], "pos": [2 * (column - 1), 2 * (row - 1), 0.5]}
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, **place, **material)
    return spec.compile()


def test_merged_walls_act_like_the_22_boxes():
    """From the same states, one step in both mazes: the same away from walls, and at most of the touches of one."""
    boxes, merged = maze_of_boxes(), make("ant_maze").model
    assert sum(boxes.geom_type == mujoco.mjtGeom.mjGEOM_BOX) == 22
    walls = [merged.geom(name).id for name in ("left", "right", "bottom", "top", "box_a", "box_b")]
    free = np.argwhere(np.array([list(line) for line in GRID]) == ".")[:, ::-1] * 2 - 2
    rng = np.random.default_rng(0)
    data, other = mujoco.MjData(merged), mujoco.MjData(boxes)
    errors, touching = [], []
    for place in np.tile(free, (3, 1)):
        mujoco.mj_resetData(merged, data)
        data.qpos[:2] = place + rng.uniform(-0.6, 0.6, 2)
        for step in range(80):
            if step % 5 == 0:
                data.ctrl[:] = rng.uniform(-30, 30, 8)
            other.qpos[:], other.qvel[:], other.ctrl[:] = data.qpos, data.qvel, data.ctrl
            other.qacc_warmstart[:] = data.qacc_warmstart
            mujoco.mj_step(merged, data)
            mujoco.mj_step(boxes, other)
            errors.append(np.abs(data.qvel - other.qvel).max())
            touching.append(np.isin(data.contact.geom, walls).any())
        assert -1 < data.qpos[0] < 5 and -1 < data.qpos[1] < 7
    same, touching = np.array(errors) < 1e-6, np.array(touching)
    assert 0.05 < touching.mean() < 0.5
    assert same[~touching].all()
    assert same[touching].mean() > 0.8  # the rest is at seams, where two boxes push at once


@functools.cache
def compiled_mjx(name, worlds, substeps=1, level=3):
    engine = MjxEngine(make(name).model, substeps)
    state = starts(name, worlds)
    control = random_controls(name, state, jax.random.key(0))
    # By default as a run compiles it, by the newer emitters too: other roundings part two worlds in contact.
    options = {"xla_backend_optimization_level": level, "xla_backend_extra_options": ""}
    return jax.jit(jax.vmap(engine.step)).lower(state, control).compile(options)


def compare(name, state, steps, hold):
    """Largest errors per world: of single MJX steps along a C trajectory, and between the two run freely; contacts."""
    worlds = state.qpos.shape[0]
    c_step, mjx_step = (
        jax.jit(jax.vmap(MujocoEngine(with_mjx_solver(make(name).model), 1).step)),
        compiled_mjx(name, worlds),
    )
    free, forced, apart = state, [], []
    for step in range(steps):
        if step % hold == 0:
            control = random_controls(name, state, jax.random.key(step))
        single, state, free = mjx_step(state, control), c_step(state, control), mjx_step(free, control)
        forced.append([np.abs(single.qpos - state.qpos).max(1), np.abs(single.qvel - state.qvel).max(1)])
        apart.append(np.abs(free.qpos - state.qpos).max(1))
    return np.array(forced), np.array(apart), state


def contacts(name, state):
    """Contacts per world."""
    model = make(name).model
    data, counts = mujoco.MjData(model), []
    for qpos in np.asarray(state.qpos):
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        counts.append(data.ncon)
    return np.array(counts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["walker", "ant_maze"])
def test_mjx_is_c_mujoco(name):
    """In float32, at the same limits of the solver.

    Velocities after one step: 1e-4 is asked of 99 % of the steps, 1e-3 of all. Impacts amplify the roundings of
    float32, which differ with the processor that XLA compiles for. Seen on one of them: 99 % within 9e-5 and all within
    3e-4 for the walker, 1.1e-5 and 1.2e-4 for the ant.
    """
    state = starts(name, 8)
    if name == "ant_maze":  # half of them lean on the box beside the first corridor
        state = PhysicsState(state.qpos.at[:4, 1].add(0.45), state.qvel)
    else:  # let them fall first
        fall = MujocoEngine(make(name).model, 400).step
        state = jax.vmap(fall)(state, jnp.zeros((8, make(name).num_actions)))
    forced, apart, end = compare(name, state, steps=100, hold=5)
    assert contacts(name, end).sum() >= 4
    assert forced[:, 0].max() < 1e-5  # positions after one step from the same state
    assert forced[:, 1].max() < 1e-3 and np.percentile(forced[:, 1], 99) < 1e-4  # velocities
    assert apart.max() < 1e-3


def walker_fidelity(what, **environment):
    """What `tests/envs/walker_fidelity.py` finds in a process of its own."""
    command = [sys.executable, "-m", "tests.envs.walker_fidelity", what]
    environment = os.environ | {"NPROC": "8"} | environment
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=900, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_in_float64_mjx_is_c_mujoco_to_rounding():
    """So what the two differ by in float32 are roundings."""
    found = walker_fidelity("steps", JAX_ENABLE_X64="1")
    assert found["dtype"] == "float64" and found["contacts"] > 800  # more than one per world and step
    assert found["positions"][1] < 1e-12 and found["velocities"][1] < 1e-10  # the 99th percentiles


@pytest.mark.long
def test_rollouts_of_both_engines_are_alike():
    """64 episodes of the walker, long after single ones have parted: means within two standard errors of a difference.

    MJX with its few iterations against C with as many and against C with the suite's hundred. Gravity that is lower by
    a fifth is told apart.
    """
    found = walker_fidelity("rollouts")

    def apart(one, other, figure):
        """Difference of means in standard errors."""
        (mean, error), (other_mean, other_error) = found[one][figure], found[other][figure]
        return abs(mean - other_mean) / np.hypot(error, other_error)

    for one, other in itertools.combinations(("mjx", "c at the limits of mjx", "c"), 2):
        for figure in ("x", "height"):
            assert apart(one, other, figure) < 2, (one, other, figure)
    assert apart("c", "c with less gravity", "height") > 2


# Actions of a hand that opens, goes down on the middle block, closes and goes up: (action, agent steps).
LIFT = (((-0.02, 0, 0, 1), 10), ((-0.02, 0, -0.25, 1), 12), ((0, 0, 0, -1), 10), ((0, 0, 0.2, -1), 12))


@pytest.mark.slow
def test_a_tower_stands_and_a_hand_lifts_in_both_engines():
    """Three blocks on each other for an episode of 150 steps, and a block lifted, in one MJX program.

    Against C MuJoCo with a run's own limits of the solver and with MJX's. Single steps agree while blocks touch the
    table alone. Between boxes the two find other contact points, so that there only what comes of it is compared.
    """
    name, steps = "block_stack", 150
    state = starts(name, 2)
    tower = state.qpos[0].at[:2].set(jnp.array([1.33, 0.62]))  # the gripper stays away from it
    for level, block in enumerate((2, 0, 1)):
        tower = tower.at[9 + 7 * block : 12 + 7 * block].set(jnp.array([1.33, 0.75, 0.42489 + 0.05 * level]))
    state = PhysicsState(state.qpos.at[0].set(tower), state.qvel)
    plan = np.concatenate([np.tile(action, (count, 1)) for action, count in LIFT])
    actions = np.tile([0.0, 0.0, 0.0, -1.0], (steps, 2, 1))
    actions[: len(plan), 1] = plan
    ends, lifted = [], []
    c_step = jax.jit(jax.vmap(MujocoEngine(with_mjx_solver(make(name).model), 20).step))
    own_step = jax.jit(jax.vmap(make(name).engine.step))
    for step in (own_step, c_step, compiled_mjx(name, 2, substeps=20, level=2)):
        now, control_of = state, jax.jit(jax.vmap(make(name).control))
        for index in range(steps):
            now = step(now, control_of(now, actions[index]))
            if index == len(plan) - 1:
                lifted.append(np.asarray(now.qpos[1, 9:].reshape(3, 7)[:, :3]))
            if index == 9:
                ends.append(now)
        blocks = np.asarray(now.qpos[0, 9:].reshape(3, 7)[:, :3])
        expected = [[1.33, 0.75, 0.475], [1.33, 0.75, 0.525], [1.33, 0.75, 0.425]]
        np.testing.assert_allclose(blocks, expected, atol=2e-3)
    for end in ends[:2]:
        np.testing.assert_allclose(end.qpos, ends[2].qpos, atol=1e-4)  # before the first touch
    for blocks in lifted:
        assert blocks[2, 2] > 0.5
        np.testing.assert_allclose(blocks[:2, 2], 0.425, atol=5e-3)
        np.testing.assert_allclose(blocks, lifted[2], atol=0.01)


FACTORISE = """
import sys
sys.argv = ["bench", *sys.argv[1:]]
import experiments
import jax, jax.numpy as jnp
several = jax.jit(lambda *matrices: [jnp.linalg.cholesky(matrix) for matrix in matrices])
jax.block_until_ready([several(*jnp.tile(jnp.eye(30), (4, 512, 1, 1))) for _ in range(300)])
"""


def test_commands_on_mjx_have_the_threads_that_batched_factorisations_wait_on():
    """On two cores this does not end without them."""
    environment = {name: value for name, value in os.environ.items() if name != "NPROC"}
    command = [sys.executable, "-c", FACTORISE, "--physics=mjx"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "widened"),
    [
        (["--physics", "mjx"], True),
        (["--logdir={}/mjx"], True),
        (["--runs", "{}/auto", "{}/mjx"], True),
        (["--runs={}"], True),
        (["--logdir={}/auto"], False),
        (["--logdir={}/damaged", "--seed=1"], False),
    ],
)
def test_commands_on_runs_that_have_mjx_count_as_well(arguments, widened, tmp_path, monkeypatch):
    environment = {}
    monkeypatch.setattr(os, "environ", environment)
    for name in ("auto", "mjx", "damaged"):
        (tmp_path / name).mkdir()
        content = json.dumps({"config": {"physics": name}, "starts": []}) if name != "damaged" else "{"
        (tmp_path / name / "config.json").write_text(content)
    widen_for_mjx([argument.format(tmp_path) for argument in arguments])
    assert (int(environment.get("NPROC", 0)) >= THREADS) == widened


def test_mjx_on_few_threads_warns(monkeypatch):
    monkeypatch.setenv("NPROC", "2")
    with pytest.warns(UserWarning, match="wait for ever on the 2 threads of this CPU; start Python with NPROC=8"):
        MjxEngine(load_model("walker"), 4)
    monkeypatch.setenv("NPROC", "8")
    with warnings.catch_warnings(action="error"):
        MjxEngine(load_model("walker"), 4)
