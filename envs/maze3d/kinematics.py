"""How the agent moves: Quake's acceleration and friction on foot, sliding along walls, never faster than on a run.

Quake bounds the speed along the wished direction alone, so that turning while running makes a step a sixth longer.

An agent step is four frames of a sixtieth of a second. The agent is a square of half-width `RADIUS` for collisions.
"""

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d.types import UNITS_PER_CELL, Body

FRAMES = 4
FRAME_SECONDS = 1.0 / 60.0
MAX_SPEED = 320.0 / UNITS_PER_CELL  # cells per second
ACCELERATION = 10.0  # share of the wished speed gained per second
FRICTION = 6.0  # share of the speed lost per second
TURN = 2.2 * FRAMES * np.pi / 180  # radians per agent step that looks aside
RADIUS = 0.15
"""Half-width of the agent, cells."""

_SKIN = 1e-4  # kept between the agent and a wall, against rounding

# (forward, leftward, turn to the left, fire), in the reference's order.
_MOVES = {
    "forward": (1, 0, 0, 0),
    "backward": (-1, 0, 0, 0),
    "strafe_left": (0, 1, 0, 0),
    "strafe_right": (0, -1, 0, 0),
    "look_left": (0, 0, 1, 0),
    "look_right": (0, 0, -1, 0),
    "look_left_forward": (1, 0, 1, 0),
    "look_right_forward": (1, 0, -1, 0),
    "fire": (0, 0, 0, 1),
    "idle": (0, 0, 0, 0),
}
_NO_FIRE = tuple(_MOVES)[:8]

ACTION_SETS = {
    "default": (*_NO_FIRE, "fire"),
    "nofire": _NO_FIRE,
    "default_with_idle": (*_NO_FIRE, "fire", "idle"),
    "small": ("forward", "look_left", "look_right"),
    "small_with_back": ("forward", "backward", "look_left", "look_right"),
    "with_idle": (*_NO_FIRE[:6], "idle"),
}
"""Names of the actions of each set, in order."""


def action_table(action_set: str) -> np.ndarray:
    """`[A, 4]` float32: forward, leftward, turn to the left, fire; one row per action."""
    return np.array([_MOVES[name] for name in ACTION_SETS[action_set]], np.float32)


def move(solid: jax.Array, body: Body, command: jax.Array) -> Body:
    """One agent step.

    Args:
        solid: `[H, W]` bool, solid at the border.
        body: pose before.
        command: `[4]` a row of `action_table`.
    """
    yaw = body.yaw + command[2] * TURN
    yaw = (yaw + jnp.pi) % (2 * jnp.pi) - jnp.pi
    forward = jnp.stack([jnp.cos(yaw), jnp.sin(yaw)])
    leftward = jnp.stack([-forward[1], forward[0]])
    wish = command[0] * forward + command[1] * leftward
    velocity, travelled = body.velocity, jnp.zeros(2)
    for _ in range(FRAMES):
        velocity = velocity * (1.0 - FRICTION * FRAME_SECONDS)
        gain = jnp.clip(MAX_SPEED - velocity @ wish, 0.0, ACCELERATION * FRAME_SECONDS * MAX_SPEED)
        velocity = velocity + gain * wish
        velocity = velocity * jnp.minimum(1.0, MAX_SPEED / jnp.maximum(jnp.linalg.norm(velocity), _SKIN))
        travelled = travelled + velocity * FRAME_SECONDS
    x, blocked_x = _slide(solid, body.pos, travelled[0], 0)
    y, blocked_y = _slide(solid, jnp.stack([x, body.pos[1]]), travelled[1], 1)
    velocity = jnp.where(jnp.stack([blocked_x, blocked_y]), 0.0, velocity)
    return Body(pos=jnp.stack([x, y]), velocity=velocity, yaw=yaw)


def _slide(solid: jax.Array, pos: jax.Array, distance: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Move along one axis, less than a cell, up to the first wall: the new coordinate and whether a wall stopped it."""
    ahead = jnp.sign(distance)
    edge = pos[axis] + distance + ahead * RADIUS
    line = jnp.floor(edge).astype(jnp.int32)
    sides = jnp.floor(pos[1 - axis] + jnp.array([-RADIUS, RADIUS])).astype(jnp.int32)
    cells = solid[sides, line] if axis == 0 else solid[line, sides]
    blocked = jnp.any(cells) & (distance != 0)
    wall = jnp.where(ahead > 0, line, line + 1).astype(pos.dtype)
    stop = wall - ahead * (RADIUS + _SKIN)
    return jnp.where(blocked, stop, pos[axis] + distance), blocked
