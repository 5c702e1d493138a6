"""Ant Maze: a four-legged ant walks through a winding corridor."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs import raster
from envs.mujoco import sketch
from envs.mujoco.ant import noisy_start
from envs.mujoco.base import MujocoEnvironment
from envs.mujoco.camera import Marker
from envs.mujoco.engine import PhysicsState

PLACES = ((0.0, 0.2), (2.0, 0.2), (4.0, 0.2), (4.0, 2.2), (4.0, 4.2), (2.0, 4.2), (0.0, 4.2), (0.0, 6.2))
"""Where the goals are, in the order of the corridor, metres; each is a goal in four headings."""

HEADINGS = 4
SUCCESS_DISTANCE = 1.0
MAX_TORQUE = 30.0

_HEIGHT = 0.60819
_ORIENTATION = (0.98750, 0.00183, -0.00683, 0.15749)
_JOINTS = (0.05146, 1.22387, -0.06587, -1.06980, 0.50907, -1.15507, 0.52595, 0.71172)


def _turned(quaternion: np.ndarray, yaw: float) -> np.ndarray:
    """`quaternion`, (w, x, y, z), turned by `yaw` radians about the vertical; of the two signs the one with w > 0."""
    cos, sin = np.cos(yaw / 2), np.sin(yaw / 2)
    w, x, y, z = quaternion
    turned = np.array([cos * w - sin * z, cos * x - sin * y, cos * y + sin * x, cos * z + sin * w])
    return turned * np.sign(turned[0])


def _goals() -> np.ndarray:
    rows = []
    for place in PLACES:
        for heading in range(HEADINGS):
            orientation = _turned(np.array(_ORIENTATION), heading * np.pi / 2)
            rows.append(np.concatenate([place, [_HEIGHT], orientation, _JOINTS, np.zeros(14)]))
    return np.array(rows, np.float32)


class AntMaze(MujocoEnvironment):
    """An ant walks from the start of a corridor with five bends toward its end, 14 metres away.

    Observation: `[29]` float32, positions (x, y, z in metres, orientation as a quaternion w x y z, 8 joints in
    radians), then 14 velocities. It is also the goal; `goal_in_observation` appends that, `[58]`.

    Action: `[8]` float32 in [-1, 1], torques in units of 30 Nm: hip and ankle of legs 4, 1, 2, 3.

    Reward: 0 within a metre of the goal, else -1.

    Start: the model's own pose plus noise, U(-0.1, 0.1) on positions and 0.1 N(0, 1) on velocities. Goal: one of 8
    places in 4 headings.

    Termination: none, unless `params.terminate_on_success`. Truncation after 500 steps of 0.1 s.

    Metrics: `success`, the torso is within a metre of the goal's x, y; heading and pose do not count.

    Source: Hu et al., "Planning Goals for Exploration" (ICLR 2023), after Pitis et al., "Maximum Entropy Gain
    Exploration" (ICML 2020). Merged walls, spheres at the ends of the limbs and Euler instead of Runge-Kutta are ours.

    Example:
        >>> env = AntMaze(physics="mujoco")
        >>> params = env.default_params
        >>> obs, state = env.reset(jax.random.key(0), params)
        >>> obs, state, reward, terminated, truncated, info = env.step(jax.random.key(1), state, jnp.zeros(8), params)
    """

    asset = "ant_maze"
    substeps = 5
    episode_steps = 500
    camera = "top"
    goals = _goals()
    goal_low = np.concatenate([[-0.75, -0.5], np.full(27, -1.0)]).astype(np.float32)
    goal_high = np.concatenate([[5.0, 9.0], np.full(27, 1.0)]).astype(np.float32)

    @property
    def eval_goal_names(self) -> tuple[str, ...]:
        """Place and heading, such as "(4,2.2) 90°"."""
        return tuple(f"({x:g},{y:g}) {90 * heading}°" for x, y in PLACES for heading in range(HEADINGS))

    @property
    def goal_groups(self) -> dict[str, tuple[int, ...]]:
        """The places, in the order of the corridor, each in all headings."""
        headings = np.arange(len(self.goals)).reshape(len(PLACES), HEADINGS).tolist()
        return {f"({x:g},{y:g})": tuple(group) for (x, y), group in zip(PLACES, headings, strict=True)}

    def start(self, key: jax.Array) -> PhysicsState:
        """See `MujocoEnvironment`."""
        return noisy_start(self.model, key)

    def control(self, physics: PhysicsState, action: jax.Array) -> jax.Array:
        """See `MujocoEnvironment`."""
        return MAX_TORQUE * action

    def sense(self, physics: PhysicsState) -> jax.Array:
        """See `MujocoEnvironment`."""
        return jnp.concatenate([physics.qpos, physics.qvel])

    def success(self, achieved: jax.Array, desired: jax.Array) -> dict[str, jax.Array]:
        """Nearer than a metre in x and y: two `[..., 29]` -> bool `[...]`."""
        return {"success": self.distance(achieved, desired) < SUCCESS_DISTANCE}

    def distance(self, achieved: jax.Array, desired: jax.Array) -> jax.Array:
        """Metres in x and y, through walls: two `[..., 29]` -> `[...]`."""
        return jnp.linalg.norm((achieved - desired)[..., :2], axis=-1)

    def remoteness(self, achieved: jax.Array, start: jax.Array) -> jax.Array:
        """Metres along the corridor between the nearest of `PLACES`, which are two metres apart."""
        places = jnp.array(PLACES)
        near, near_start = (
            jnp.argmin(jnp.linalg.norm(x[..., None, :2] - places, axis=-1), axis=-1) for x in (achieved, start)
        )
        return 2.0 * jnp.abs(near - near_start)

    @property
    def map_labels(self) -> tuple[str, str]:
        """Metres."""
        return "x [m]", "y [m]"

    @property
    def render_extent(self) -> tuple[float, float, float, float]:
        """The maze and a part of its outer walls, metres."""
        (x, y), width = sketch.ANT_VIEW
        return x - width / 2, x + width / 2, y - width / 2, y + width / 2

    def pose(self, obs: np.ndarray) -> np.ndarray:
        """See `MujocoEnvironment`."""
        return obs[:, : self.model.nq]

    def markers(self, goal: np.ndarray) -> list[Marker]:
        """A red disc."""
        return [Marker(mujoco.mjtGeom.mjGEOM_CYLINDER, (0.2, 0.2, 0.02), (goal[0], goal[1], 0.05), (1, 0, 0, 1))]

    def in_plane(self, goals: jax.Array) -> jax.Array:
        """See `MujocoEnvironment`."""
        return goals[..., :2]

    def sketch(self, obs: jax.Array, goal: jax.Array, path: jax.Array | None) -> raster.Canvas:
        """See `MujocoEnvironment`."""
        return sketch.ant(self.render_size, obs[: self.model.nq], goal[:2], path)
