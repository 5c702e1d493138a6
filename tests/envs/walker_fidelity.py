"""MJX against C MuJoCo on the walker, where a process of its own is needed; prints JSON.

`python -m tests.envs.walker_fidelity steps` compares single steps in the precision that JAX_ENABLE_X64 asks for, which
a process has once; `rollouts` compares whole episodes, many at once, for which XLA needs the threads of NPROC.
"""

import copy
import json
import sys

import jax
import mujoco
import numpy as np
from mujoco import mjx

import envs
from envs.mujoco.engine import MjxEngine, MujocoEngine, load_model, with_mjx_solver

WORLDS, FALL, STEPS, HOLD = 8, 400, 100, 5  # physics steps: to fall in, to compare, and of one control
ROLLOUTS = 64


def c_step(model, qpos, qvel, ctrl, steps=1):
    """One world in float64, without a warm start: positions, velocities and contacts after some steps."""
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:], data.ctrl[:] = qpos, qvel, ctrl
    mujoco.mj_step(model, data, steps)
    return data.qpos.copy(), data.qvel.copy(), data.ncon


def make_mjx_step(model):
    """The same for all worlds at once; an engine's own step would round to float32 on the way."""
    on_device = mjx.put_model(model)

    def step(qpos, qvel, ctrl):
        data = mjx.step(on_device, mjx.make_data(on_device).replace(qpos=qpos, qvel=qvel, ctrl=ctrl))
        return data.qpos, data.qvel

    return jax.jit(jax.vmap(step))


def compare_steps():
    """Median, 99th percentile and maximum of what single steps from C's states miss, along walks of fallen walkers."""
    rng, model = np.random.default_rng(0), with_mjx_solver(load_model("walker"))
    mjx_step, still = make_mjx_step(model), np.zeros(model.nv)
    qpos = np.zeros((WORLDS, model.nq))
    qpos[:, 2] = rng.uniform(-np.pi, np.pi, WORLDS)
    qpos[:, 3:] = rng.uniform(*model.jnt_range[3:].T, (WORLDS, model.nu))
    qpos, qvel, _ = map(np.stack, zip(*(c_step(model, q, still, 0.0, FALL) for q in qpos), strict=True))
    errors, contacts = [], 0
    for time in range(STEPS):
        if time % HOLD == 0:
            ctrl = rng.uniform(-1, 1, (WORLDS, model.nu))
        found = mjx_step(qpos, qvel, ctrl)
        rows = [c_step(model, *row) for row in zip(qpos, qvel, ctrl, strict=True)]
        qpos, qvel, touching = map(np.stack, zip(*rows, strict=True))
        errors.append([np.abs(found[0] - qpos).max(axis=1), np.abs(found[1] - qvel).max(axis=1)])
        contacts += int(touching.sum())
    positions, velocities = np.percentile(np.array(errors), (50, 99, 100), axis=(0, 2)).T.tolist()
    return {"dtype": str(found[1].dtype), "positions": positions, "velocities": velocities, "contacts": contacts}


def compare_rollouts():
    """Means and standard errors of episodes from the same starts under the same random actions, per engine."""
    env, params = envs.make("walker", physics="mujoco")
    start = jax.vmap(env.start)(jax.random.split(jax.random.key(0), ROLLOUTS))
    shape = (params.max_steps_in_episode, ROLLOUTS, env.num_actions)
    actions = jax.random.uniform(jax.random.key(1), shape, minval=-1.0, maxval=1.0)
    # As a run compiles it, where the tests would do without optimisation.
    options = {"xla_backend_optimization_level": 3, "xla_backend_extra_options": ""}
    mjx_step = jax.jit(jax.vmap(MjxEngine(env.model, env.substeps).step)).lower(start, actions[0]).compile(options)

    def c_engine(model):
        return jax.jit(jax.vmap(MujocoEngine(model, env.substeps).step))

    lighter = copy.copy(env.model)
    lighter.opt.gravity[2] *= 0.8
    steps = {
        "mjx": mjx_step,
        "c at the limits of mjx": c_engine(with_mjx_solver(env.model)),
        "c": c_engine(env.model),
        "c with less gravity": c_engine(lighter),
    }
    return {name: summary(step, start, actions) for name, step in steps.items()}


def summary(step, state, actions):
    """Mean and standard error over rollouts: where they end, and the torso's mean height on the way."""
    heights = []
    for action in actions:
        state = step(state, action)
        heights.append(np.asarray(state.qpos[:, 0]))
    figures = {"x": np.asarray(state.qpos[:, 1]), "height": np.mean(heights, axis=0)}
    return {name: (float(x.mean()), float(x.std(ddof=1) / np.sqrt(ROLLOUTS))) for name, x in figures.items()}


if __name__ == "__main__":
    print(json.dumps({"steps": compare_steps, "rollouts": compare_rollouts}[sys.argv[1]]()))
