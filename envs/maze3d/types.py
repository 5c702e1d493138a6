"""What a maze is made of, as pytrees of arrays.

Lengths are in maze cells unless said otherwise; a cell is `UNITS_PER_CELL` of the reference's units. Grids are indexed
`[y, x]`; cell `(x, y)` spans `[x, x + 1) x [y, y + 1)`, x to the right and y up.
"""

import jax
from flax import struct
from gymnax.environments import environment

UNITS_PER_CELL = 100.0
"""Units of the reference per cell: speeds and the grid oracle are given in them (DeepMind Lab)."""

ORACLE_CELL = 30.0
"""Edge of a grid-oracle cell, units, as published."""

EYE_HEIGHT = 0.5
"""Of the camera above the floor; walls are one cell high."""


@struct.dataclass
class Maze:
    """A layout, fixed for an episode."""

    wall: jax.Array  # [H, W] bool, solid
    room: jax.Array  # [H, W] bool, floor inside a room
    connector: jax.Array  # [H, W] bool, floor between two regions; a door may stand there
    spawn: jax.Array  # [H, W] bool, where a life may start
    goal: jax.Array  # [H, W] bool, where the goal may be


@struct.dataclass
class Objects:
    """Things that stand on the floor and are picked up by touch; `kind` 0 is an empty slot."""

    pos: jax.Array  # [N, 2] float32
    kind: jax.Array  # [N] int32, index into `sprites.SHAPES` plus one
    color: jax.Array  # [N] int32, of the same five as doors; what it means is up to the scenario
    rgb: jax.Array  # [N, 3] float32 in [0, 1], how it is drawn


@struct.dataclass
class Look:
    """How an episode looks: materials, which are patterns in two colours each, where posters hang, and the light."""

    material: jax.Array  # [M, NUMBERS + 6] float32, rows for `textures.unpack`
    poster: jax.Array  # [4, H, W] int8, per face of a wall cell: its poster's number from 0, or -1
    seed: jax.Array  # [] uint32, of the variation from tile to tile
    lamp: jax.Array  # [3, 3] float32, rows for `textures.lamp`: red's, green's and blue's


@struct.dataclass
class Shot:
    """The last shot: what it leaves to be seen, and for how long."""

    age: jax.Array  # [] int32, steps since it was fired
    pos: jax.Array  # [2] float32, where it hit
    seed: jax.Array  # [] uint32, of its random colours


@struct.dataclass
class Body:
    """Pose of the agent."""

    pos: jax.Array  # [2] float32
    velocity: jax.Array  # [2] float32, cells per second
    yaw: jax.Array  # [] float32, radians, 0 looks along +x and grows to the left


@struct.dataclass
class EnvState(environment.EnvState):
    """An episode."""

    time: jax.Array  # [] int32, steps since the reset
    body: Body
    maze: Maze
    door: jax.Array  # [H, W] int32: 0 none or open, else closed, of colour `door - 1`
    objects: Objects
    look: Look
    shot: Shot
    screen: jax.Array  # [] uint32, seed of what the television shows
    collected: jax.Array  # [] int32, goals reached or objects picked up
    held: jax.Array  # [] int32, colour of the key in hand plus one, 0 none
    countdown: jax.Array  # [] int32, steps until the episode ends, -1 while that is open
    goal_distance: jax.Array  # [H, W] int32, path length in cells to the goal, `UNREACHABLE` elsewhere
    reachable_cells: jax.Array  # [] int32, grid-oracle cells that the agent can enter with all doors open


@struct.dataclass
class EnvParams(environment.EnvParams):
    """What can be changed without recompiling."""

    max_steps_in_episode: int = 1800
    split: int | jax.Array = 1  # index into `envs.splits.SPLITS`
