"""3-Block Stack: a gripper lifts and stacks three blocks between walls."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs import raster
from envs.mujoco import sketch
from envs.mujoco.base import MujocoEnvironment
from envs.mujoco.camera import Marker
from envs.mujoco.engine import PhysicsState

BLOCK_STARTS = np.array([(1.33, 0.65, 0.425), (1.33, 0.85, 0.425), (1.33, 0.75, 0.425)])
BLOCK_EDGE = 0.05
LIFTED = np.array([1.34193271, 0.74910037, 0.53472273])  # where the lifted block of a goal is
GRIP = np.array([-0.01, 0.0, 0.008])  # from the top block of a goal to the gripper
SUCCESS_DISTANCE = 0.03
HIGH = 0.50  # a block above this is held or on top of two

WORKSPACE_LOW = np.array([1.30, 0.64, 0.42])  # of the gripper's site, metres; also the unit of observed positions
WORKSPACE_HIGH = np.array([1.36, 0.86, 0.59])
_SENSOR_LOW = np.array([1.0, 0.3, 0.35])
_SENSOR_HIGH = np.array([1.6, 1.2, 1.0])
_SETTLED = 0.42489  # height of a block on the table
_FINGER_RANGE = 0.05
_REACH = 0.05  # metres per unit of action
_SITE = np.array([0.02, 0.0, 0.0])  # of the gripper, in its own frame
_DOWN = np.array([0.5, 0.0, 0.5, 0.0]) * np.sqrt(2.0)  # orientation of the gripper
_SCALE_LOW = np.concatenate([WORKSPACE_LOW, np.zeros(2), np.tile(WORKSPACE_LOW, 3)])
_SCALE_HIGH = np.concatenate([WORKSPACE_HIGH, np.full(2, _FINGER_RANGE), np.tile(WORKSPACE_HIGH, 3)])


def normalize(metres: Any) -> Any:
    """Gripper, fingers and blocks in metres to the units of observations, `[..., 14]`."""
    return (metres - _SCALE_LOW) / (_SCALE_HIGH - _SCALE_LOW)


def to_metres(obs: Any) -> Any:
    """The inverse of `normalize`."""
    return _SCALE_LOW + obs * (_SCALE_HIGH - _SCALE_LOW)


def _goal(blocks: np.ndarray, top: int) -> np.ndarray:
    return np.concatenate([blocks[top] + GRIP, np.full(2, _FINGER_RANGE), blocks.ravel()])


def _stacked(*blocks: int) -> np.ndarray:
    """Block positions `[3, 3]` with the named ones in a tower, the first of them where it starts."""
    positions = BLOCK_STARTS.copy()
    for level, block in enumerate(blocks):
        positions[block] = BLOCK_STARTS[blocks[0]] + (0.0, 0.0, level * BLOCK_EDGE)
    return positions


def _goals() -> dict[str, np.ndarray]:
    goals = {}
    for block in range(3):
        positions = BLOCK_STARTS.copy()
        positions[block] = LIFTED
        goals[f"lift {block}"] = _goal(positions, block)
    for _, below, above in itertools.permutations(range(3)):
        goals[f"{above} on {below}"] = _goal(_stacked(below, above), above)
    for bottom, middle, top in itertools.permutations(range(3)):
        goals[f"{top} on {middle} on {bottom}"] = _goal(_stacked(bottom, middle, top), top)
    return goals


GOALS = _goals()
"""The 15 goals by name, in metres, `[14]` each."""


class BlockStack(MujocoEnvironment):
    """A gripper without an arm lifts and stacks three blocks in a walled part of a table.

    Observation: `[14]` float32: gripper, two fingers, three blocks, positions alone, without velocities or rotations.
    Positions are in units of the gripper's workspace and fingers of their range, so that most values lie in [0, 1]. It
    is also the goal; `goal_in_observation` appends that, `[28]`.

    Action: `[4]` float32 in [-1, 1]: displacement of the gripper in units of 0.05 m, cut off at its workspace, and how
    far each finger is told to go from where it is, metres, so that its sign opens or closes them.

    Reward: 0 at success, else -1.

    Start: always the same: blocks in a row, the gripper closed above them. Goal: in training the last of the list, a
    tower of three; 15 goals lift a block or stack two or three.

    Termination: none, unless `params.terminate_on_success`. Truncation after 150 steps of 0.04 s.

    Metrics: `success`, gripper and blocks are each within 0.03 m of the goal; `obj<i>_above_0.50`, block i is higher
    than 0.50 m.

    Source: Hu et al., "Planning Goals for Exploration" (ICLR 2023), after Pitis et al., "Maximum Entropy Gain
    Exploration" (ICML 2020). The floating gripper in place of the Fetch arm is ours.

    Example:
        >>> env = BlockStack(physics="mujoco")
        >>> params = env.default_params
        >>> obs, state = env.reset(jax.random.key(0), params)
        >>> obs, state, reward, terminated, truncated, info = env.step(jax.random.key(1), state, jnp.zeros(4), params)
    """

    asset = "block_stack"
    substeps = 20
    episode_steps = 150
    camera = "front"
    goals = normalize(np.array(list(GOALS.values()))).astype(np.float32)
    goal_low = np.zeros(14, np.float32)
    goal_high = np.ones(14, np.float32)

    @property
    def eval_goal_names(self) -> tuple[str, ...]:
        """Such as "lift 0", "2 on 1" or "2 on 1 on 0"."""
        return tuple(GOALS)

    @property
    def goal_groups(self) -> dict[str, tuple[int, ...]]:
        """One block lifted, towers of two, towers of three."""
        return {"lift": tuple(range(3)), "two": tuple(range(3, 9)), "three": tuple(range(9, 15))}

    @property
    def num_actions(self) -> int:
        """Three axes and the fingers."""
        return 4

    @property
    def symmetries(self) -> np.ndarray:
        """The blocks may change places: `[6, 14]`, or with `goal_in_observation` `[6, 28]`."""
        orders = np.array([[*range(5), *(5 + 3 * b + i for b in o for i in range(3))] for o in _ORDERS])
        return np.hstack([orders, 14 + orders]) if self.goal_in_observation else orders

    def draw_goal(self, key: jax.Array) -> jax.Array:
        """The last of the list."""
        return jnp.int32(len(self.goals) - 1)

    def start(self, key: jax.Array) -> PhysicsState:
        """See `MujocoEnvironment`."""
        return PhysicsState(jnp.asarray(self.model.qpos0, jnp.float32), jnp.zeros(self.model.nv))

    def control(self, physics: PhysicsState, action: jax.Array) -> jax.Array:
        """See `MujocoEnvironment`."""
        site = _site(physics.qpos)
        wanted = jnp.clip(site + _REACH * action[:3], WORKSPACE_LOW, WORKSPACE_HIGH)
        right, left = physics.qpos[7:9] + action[3]
        return jnp.concatenate([jnp.stack([left, right]), physics.qpos[:3] + wanted - site, jnp.asarray(_DOWN)])

    def sense(self, physics: PhysicsState) -> jax.Array:
        """See `MujocoEnvironment`."""
        blocks = physics.qpos[9:].reshape(3, 7)[:, :3]
        blocks = blocks.at[:, 2].max(_SETTLED)
        gripper, blocks = (jnp.clip(x, _SENSOR_LOW, _SENSOR_HIGH) for x in (_site(physics.qpos), blocks))
        return normalize(jnp.concatenate([gripper, physics.qpos[7:9], blocks.ravel()])).astype(jnp.float32)

    def success(self, achieved: jax.Array, desired: jax.Array) -> dict[str, jax.Array]:
        """All four positions within 0.03 m, and per block whether it is high: two `[..., 14]` -> bool `[...]`."""
        near = self.distance(achieved, desired) < SUCCESS_DISTANCE
        heights = _positions(achieved)[..., 1:, 2]
        high = {f"obj{i}_above_0.50": jnp.broadcast_to(heights[..., i] > HIGH, near.shape) for i in range(3)}
        return {"success": near, **high}

    def distance(self, achieved: jax.Array, desired: jax.Array) -> jax.Array:
        """Metres of the gripper or block that is farthest from its place: two `[..., 14]` -> `[...]`."""
        return jnp.linalg.norm(_positions(achieved) - _positions(desired), axis=-1).max(axis=-1)

    def remoteness(self, achieved: jax.Array, start: jax.Array) -> jax.Array:
        """Metres that the block moved that moved farthest; the gripper does not count."""
        moved = _positions(achieved)[..., 1:, :] - _positions(start)[..., 1:, :]
        return jnp.linalg.norm(moved, axis=-1).max(axis=-1)

    @property
    def map_dims(self) -> tuple[int, int]:
        """Where the gripper is from left to right, and its height."""
        return 1, 2

    @property
    def map_labels(self) -> tuple[str, str]:
        """Shares of the gripper's workspace."""
        return "gripper y [share of its range]", "gripper z [share of its range]"

    @property
    def render_extent(self) -> tuple[float, float, float, float]:
        """The table from the front, in units of the gripper's workspace."""
        centre, width = sketch.STACK_VIEW
        left, bottom = (np.array(centre) - width / 2 - WORKSPACE_LOW[1:]) / (WORKSPACE_HIGH - WORKSPACE_LOW)[1:]
        right, top = (np.array(centre) + width / 2 - WORKSPACE_LOW[1:]) / (WORKSPACE_HIGH - WORKSPACE_LOW)[1:]
        return float(left), float(right), float(bottom), float(top)

    def pose(self, obs: np.ndarray) -> np.ndarray:
        """Blocks upright, the gripper pointing down; see `MujocoEnvironment`."""
        metres = to_metres(obs)
        qpos = np.tile(self.model.qpos0, (len(obs), 1))
        qpos[:, :3] = metres[:, :3] - (0.0, 0.0, -_SITE[0])
        qpos[:, 7:9] = metres[:, 3:5]
        for block in range(3):
            qpos[:, 9 + 7 * block : 12 + 7 * block] = metres[:, 5 + 3 * block : 8 + 3 * block]
        return qpos

    def markers(self, goal: np.ndarray) -> list[Marker]:
        """A sphere of each block's colour, and a yellow one for the gripper."""
        sphere, size = mujoco.mjtGeom.mjGEOM_SPHERE, (0.012, 0.012, 0.012)
        places = np.asarray(_positions(jnp.asarray(goal)))
        colours = (sketch.GRIPPER, *sketch.BLOCKS)
        return [
            Marker(sphere, size, (x, y, z), (red / 255, green / 255, blue / 255, 1.0))
            for (x, y, z), (red, green, blue) in zip(places, colours, strict=True)
        ]

    def in_plane(self, goals: jax.Array) -> jax.Array:
        """See `MujocoEnvironment`."""
        return to_metres(goals)[..., 1:3]

    def sketch(self, obs: jax.Array, goal: jax.Array, path: jax.Array | None) -> raster.Canvas:
        """See `MujocoEnvironment`."""
        return sketch.stack(self.render_size, to_metres(obs), to_metres(goal), path)


_ORDERS = list(itertools.permutations(range(3)))


def _positions(obs: jax.Array) -> jax.Array:
    """Gripper and blocks in metres, `[..., 14] -> [..., 4, 3]`."""
    metres = to_metres(obs)
    metres = jnp.concatenate([metres[..., :3], metres[..., 5:]], axis=-1)
    return metres.reshape(*metres.shape[:-1], 4, 3)


def _site(qpos: jax.Array) -> jax.Array:
    """Where the gripper's site is, `[3]` metres."""
    w, xyz = qpos[3], qpos[4:7]
    turned = 2.0 * jnp.cross(xyz, jnp.cross(xyz, _SITE) + w * _SITE)
    return qpos[:3] + _SITE + turned
