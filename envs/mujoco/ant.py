"""The ant itself, wherever it walks: how it starts, and where its mass is."""

import jax
import jax.numpy as jnp
import mujoco

from envs.mujoco import sketch
from envs.mujoco.engine import PhysicsState

START_NOISE = 0.1


def noisy_start(model: mujoco.MjModel, key: jax.Array) -> PhysicsState:
    """The model's own pose plus noise: U(-0.1, 0.1) on positions, 0.1 N(0, 1) on velocities."""
    pos_key, vel_key = jax.random.split(key)
    noise = jax.random.uniform(pos_key, (model.nq,), minval=-START_NOISE, maxval=START_NOISE)
    qvel = START_NOISE * jax.random.normal(vel_key, (model.nv,))
    return PhysicsState(jnp.asarray(model.qpos0, jnp.float32) + noise, qvel)


def centre_of_mass(model: mujoco.MjModel, qpos: jax.Array) -> jax.Array:
    """Of the whole ant in the pose `qpos [15]`: `[3]` metres."""
    torso, leg, foot = (float(model.body(name).mass[0]) for name in ("torso", "leg_1", "foot_1"))
    centre, hips, knees, feet = sketch.ant_joints(qpos)
    weighted = torso * centre[0] + leg * jnp.sum(hips + knees, axis=0) / 2 + foot * jnp.sum(knees + feet, axis=0) / 2
    return weighted / (torso + 4 * leg + 4 * foot)
