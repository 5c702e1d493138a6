"""Walker: a planar biped runs to far places."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs import raster
from envs.mujoco import sketch
from envs.mujoco.base import MujocoEnvironment
from envs.mujoco.camera import Marker
from envs.mujoco.engine import PhysicsState

TARGETS = (-13.0, 13.0, -16.0, 16.0)
"""Where the goals are along x, metres."""

SUCCESS_DISTANCE = 0.1
ROOT = 3  # joints of the root: z, x, pitch

_POSE = (0.34, 0.74, -1.34, 0.0, 1.1, -0.66, -0.1)  # pitch, then right and left hip, knee, ankle
_HEIGHT = -0.15


class Walker(MujocoEnvironment):
    """A planar biped starts tumbling and is asked to be 13 or 16 metres away within 7.5 seconds.

    Observation: `[9]` float32, positions without velocities: z relative to the resting torso and x in metres, pitch,
    right and left hip, knee and ankle in radians. It is also the goal; `goal_in_observation` appends that, `[18]`.

    Action: `[6]` float32 in [-1, 1], torques of hips, knees and ankles in units of 100, 50 and 20 Nm.

    Reward: minus the distance to the goal along x, metres.

    Start: joints uniform in their ranges, pitch uniform in [-pi, pi], at rest, possibly overlapping the floor.

    Goal: one standing pose at four places.

    Termination: none, unless `params.terminate_on_success`. Truncation after 150 steps of 0.05 s, which is the action
    repeat of 2 that the published system applies to the suite's control step.

    Metrics: `success`, within 0.1 metres of the goal along x; passing counts, and the pose does not.

    Source: Hu et al., "Planning Goals for Exploration" (ICLR 2023); the model is dm_control's (Tassa et al., 2018).

    Example:
        >>> env = Walker(physics="mujoco")
        >>> params = env.default_params
        >>> obs, state = env.reset(jax.random.key(0), params)
        >>> obs, state, reward, terminated, truncated, info = env.step(jax.random.key(1), state, jnp.zeros(6), params)
    """

    asset = "walker"
    substeps = 20
    episode_steps = 150
    camera = "side"
    goals = np.array([(_HEIGHT, x, *_POSE) for x in TARGETS], np.float32)
    goal_low = np.array([-1.3, -20.0, *[-3.14] * 7], np.float32)
    goal_high = np.array([0.5, 20.0, *[3.14] * 7], np.float32)

    @property
    def eval_goal_names(self) -> tuple[str, ...]:
        """Such as "x=-13"."""
        return tuple(f"x={x:g}" for x in TARGETS)

    @property
    def goal_groups(self) -> dict[str, tuple[int, ...]]:
        """The two distances."""
        return {"13 m": (0, 1), "16 m": (2, 3)}

    def start(self, key: jax.Array) -> PhysicsState:
        """See `MujocoEnvironment`."""
        joints = self.model.jnt_range[ROOT:]
        low = jnp.concatenate([jnp.array([0.0, 0.0, -jnp.pi]), joints[:, 0]])
        high = jnp.concatenate([jnp.array([0.0, 0.0, jnp.pi]), joints[:, 1]])
        share = jax.random.uniform(key, (self.model.nq,))
        return PhysicsState(low + share * (high - low), jnp.zeros(self.model.nv))

    def control(self, physics: PhysicsState, action: jax.Array) -> jax.Array:
        """See `MujocoEnvironment`."""
        return action

    def sense(self, physics: PhysicsState) -> jax.Array:
        """See `MujocoEnvironment`."""
        return physics.qpos

    def success(self, achieved: jax.Array, desired: jax.Array) -> dict[str, jax.Array]:
        """Nearer than 0.1 along x: two `[..., 9]` -> bool `[...]`."""
        return {"success": self.distance(achieved, desired) < SUCCESS_DISTANCE}

    def distance(self, achieved: jax.Array, desired: jax.Array) -> jax.Array:
        """Metres along x: two `[..., 9]` -> `[...]`."""
        return jnp.abs(achieved[..., 1] - desired[..., 1])

    def reward(self, achieved: jax.Array, desired: jax.Array) -> jax.Array:
        """Minus the distance along x: two `[..., 9]` -> `[...]`."""
        return -self.distance(achieved, desired)

    @property
    def map_dims(self) -> tuple[int, int]:
        """Position and height."""
        return 1, 0

    @property
    def map_labels(self) -> tuple[str, str]:
        """Metres."""
        return "x [m]", "z [m]"

    def pose(self, obs: np.ndarray) -> np.ndarray:
        """See `MujocoEnvironment`."""
        return obs

    def markers(self, goal: np.ndarray) -> list[Marker]:
        """A red post."""
        return [Marker(mujoco.mjtGeom.mjGEOM_BOX, (0.03, 0.03, 1.1), (goal[1], 0.5, 1.1), (1, 0, 0, 1))]

    def in_plane(self, goals: jax.Array) -> jax.Array:
        """See `MujocoEnvironment`."""
        return jnp.stack([goals[..., 1], goals[..., 0] + 1.3], axis=-1)

    def sketch(self, obs: jax.Array, goal: jax.Array, path: jax.Array | None) -> raster.Canvas:
        """See `MujocoEnvironment`."""
        return sketch.walker(self.render_size, obs, goal[1], path)
