"""The three environments in lines and boxes, for machines without OpenGL: pure functions of observations."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from envs import raster
from envs.raster import Canvas

WALL = (100, 100, 110)
FLOOR = (235, 235, 235)
GOAL = (255, 0, 0)
PATH = (255, 150, 0)
TORSO = (170, 110, 60)
LIMBS = (140, 85, 40)
FAR_LIMBS = (95, 60, 30)
GRIPPER = (225, 195, 30)
FINGERS = (90, 90, 95)
BLOCKS = ((225, 40, 40), (40, 75, 225), (40, 180, 50))

ANT_VIEW = ((2.0, 3.0), 10.0)
WALKER_VIEW = 3.6
STACK_VIEW = ((0.75, 0.5), 0.44)

_CORNERS = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], np.float32)  # of the ant's legs 1 to 4
_ANKLE_AXES = np.array([(-1, 1), (1, 1), (-1, 1), (1, 1)], np.float32) / np.sqrt(2.0)


def ant(size: int, qpos: jax.Array, goal: jax.Array, path: jax.Array | None) -> Canvas:
    """The maze from above: ant `qpos [15]`, goal `[2]`, path `[T, 2]`."""
    canvas = raster.blank(size, np.array(ANT_VIEW[0]), ANT_VIEW[1], WALL)
    canvas = raster.boxes(canvas, np.array([[2.0, 3.0]]), np.array([[3.0, 4.0]]), FLOOR)
    canvas = raster.boxes(canvas, np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[2.0, 1.0]]), WALL)
    canvas = raster.lines(canvas, goal[None], goal[None], 0.3, GOAL)
    if path is not None:
        canvas = raster.paint(canvas, raster.distance_to_line(canvas.centres, path) - 0.06, PATH)
    return ant_body(canvas, qpos)


def ant_body(canvas: Canvas, qpos: jax.Array) -> Canvas:
    """The ant alone, from above: `qpos [15]`."""
    joints = ant_joints(qpos)
    for part, following in itertools.pairwise(joints):
        canvas = raster.lines(canvas, part[:, :2], following[:, :2], 0.08, LIMBS)
    return raster.lines(canvas, qpos[None, :2], qpos[None, :2], 0.25, TORSO)


def ant_joints(qpos: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Centre, hips, knees and feet of the ant, `[4, 3]` each."""
    turn = rotation(qpos[3:7])
    hip, ankle = qpos[7::2], qpos[8::2]
    side = jnp.concatenate([_CORNERS, jnp.zeros((4, 1))], axis=1)
    axis = jnp.concatenate([_ANKLE_AXES, jnp.zeros((4, 1))], axis=1)
    foot = jnp.cos(ankle)[:, None] * side + jnp.sin(ankle)[:, None] * jnp.cross(axis, side)
    swing = jax.vmap(_about_z)(hip)
    centre = jnp.broadcast_to(qpos[:3], (4, 3))
    hips = centre + 0.2 * side @ turn.T
    knees = hips + 0.2 * jnp.einsum("kij,kj->ki", swing, side) @ turn.T
    feet = knees + 0.4 * jnp.einsum("kij,kj->ki", swing, foot) @ turn.T
    return centre, hips, knees, feet


def rotation(quaternion: jax.Array) -> jax.Array:
    """The matrix of a quaternion (w, x, y, z), normalised."""
    w, x, y, z = quaternion / jnp.maximum(jnp.linalg.norm(quaternion), 1e-6)
    cross = jnp.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return jnp.eye(3) + 2 * w * cross + 2 * cross @ cross


def _about_z(angle: jax.Array) -> jax.Array:
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def walker(size: int, qpos: jax.Array, goal: jax.Array, path: jax.Array | None) -> Canvas:
    """The walker from the side, followed along x over metre stripes: `qpos [9]`, goal's x `[]`, path `[T, 2]`."""
    x = qpos[1]
    canvas = raster.blank(size, jnp.stack([x, jnp.float32(1.1)]), WALKER_VIEW, FLOOR)
    ground = canvas.centres[..., 1]  # the distance to the floor's surface, negative below
    striped = jnp.where(jnp.floor(canvas.centres[..., 0]) % 2 == 0, ground, 1.0)
    canvas = raster.paint(raster.paint(canvas, ground, WALL), striped, (130, 130, 140))
    post = jnp.stack([goal, jnp.float32(1.1)])[None]
    canvas = raster.boxes(canvas, post, np.array([[0.03, 1.1]]), GOAL)
    if path is not None:
        canvas = raster.paint(canvas, raster.distance_to_line(canvas.centres, path) - 0.02, PATH)
    top, hip, *legs = walker_joints(qpos)
    for (knee, ankle, heel, toe), colour in zip((legs[4:], legs[:4]), (FAR_LIMBS, LIMBS), strict=True):
        for start, end, radius in ((hip, knee, 0.05), (knee, ankle, 0.04), (heel, toe, 0.05)):
            canvas = raster.lines(canvas, start[None], end[None], radius, colour)
    return raster.lines(canvas, top[None], hip[None], 0.07, TORSO)


def walker_joints(qpos: jax.Array) -> list[jax.Array]:
    """Top, hip, then right and left knee, ankle, heel and toe in the plane (x, height), `[2]` each."""
    torso, pitch = jnp.stack([qpos[1], qpos[0] + 1.3]), qpos[2]
    hip = torso + _swing(pitch, (0.0, -0.3))
    points = [torso + _swing(pitch, (0.0, 0.3)), hip]
    for joints in (qpos[3:6], qpos[6:9]):
        thigh, shin, foot = pitch - jnp.cumsum(joints)
        knee = hip + _swing(thigh, (0.0, -0.45))
        ankle = knee + _swing(shin, (0.0, -0.5))
        points += [knee, ankle, ankle + _swing(foot, (-0.04, 0.0)), ankle + _swing(foot, (0.16, 0.0))]
    return points


def _swing(angle: jax.Array, offset: tuple[float, float]) -> jax.Array:
    """(x, z) turned by `angle` about the y axis."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cos * offset[0] + sin * offset[1], cos * offset[1] - sin * offset[0]])


def stack(size: int, metres: jax.Array, goal: jax.Array, path: jax.Array | None) -> Canvas:
    """Table, blocks and gripper from the front, y across and z up: `metres [14]`, goal `[14]`, path `[T, 2]`."""
    canvas = raster.blank(size, np.array(STACK_VIEW[0]), STACK_VIEW[1], FLOOR)
    walls, table = np.array([[0.56, 0.5], [0.94, 0.5]]), np.array([[0.75, 0.2]])
    canvas = raster.boxes(canvas, walls, np.array([[0.01, 0.1]]), (170, 175, 190))
    canvas = raster.boxes(canvas, table, np.array([[0.35, 0.2]]), WALL)
    for index, colour in enumerate(BLOCKS):
        block = metres[5 + 3 * index :][1:3]
        canvas = raster.boxes(canvas, block[None], np.array([[0.025, 0.025]]), colour)
    if path is not None:
        canvas = raster.paint(canvas, raster.distance_to_line(canvas.centres, path) - 0.003, PATH)
    for index, colour in enumerate(BLOCKS):  # targets: a disc of the block's colour with a white rim
        target = goal[5 + 3 * index :][1:3][None]
        canvas = raster.lines(canvas, target, target, 0.014, (255, 255, 255))
        canvas = raster.lines(canvas, target, target, 0.010, colour)
    site, (right, left) = metres[1:3], metres[3:5]
    across = jnp.stack([site[0] + 0.0079 + right, site[0] - 0.0079 - left])
    fingers = jnp.stack([across, jnp.full(2, site[1] + 0.02)], axis=1)
    canvas = raster.boxes(canvas, fingers, np.array([[0.007, 0.0385]]), FINGERS)
    return raster.lines(canvas, site[None], site[None], 0.012, GRIPPER)
