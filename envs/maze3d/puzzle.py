"""Keys, doors and a goal in nine small rooms: dense1.

A chain of one to three locked rooms leads to the goal. Other doors waste a key, or need one that is not there.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d import sprites, textures
from envs.maze3d.draws import integers, ranks, uniforms
from envs.maze3d.paths import distances
from envs.maze3d.rules import Episode, Outcome, count_down, start_body, touched
from envs.maze3d.types import EnvState, Maze, Objects

ROWS, COLUMNS = 3, 3
ROOM_HEIGHT, ROOM_WIDTH = 2, 3
KEY_REWARD, DOOR_REWARD, GOAL_REWARD = 1.0, 1.0, 50.0

_ROOMS = ROWS * COLUMNS
_COLORS = len(textures.DOOR_COLORS)
_CHAIN = 3  # locked rooms on the way to the goal, at most
_OPEN = _COLORS  # "colour" of a doorway without a door
_DOOR_REACH = 0.3  # distance from a door at which its key opens it, beyond touching it
_GOAL_RGB = (0.95, 0.95, 0.95)


def _pairs() -> np.ndarray:
    """`[P, 2]` rooms that touch, in both orders: first all (a, b), then all (b, a)."""
    at = np.arange(_ROOMS).reshape(ROWS, COLUMNS)
    pairs = [*zip(at[:, :-1].flat, at[:, 1:].flat, strict=True), *zip(at[:-1].flat, at[1:].flat, strict=True)]
    return np.array([*pairs, *(pair[::-1] for pair in pairs)])


_PAIRS = _pairs()
_DOORS = len(_PAIRS) // 2


class Plan(NamedTuple):
    """Which rooms are in use and what is between them."""

    rank: jax.Array  # [_ROOMS] int32: place in the chain from the start, 0; `_CHAIN + 1` other; -1 not in use
    door: jax.Array  # [_DOORS] int32: colour, `_OPEN`, or -1 for a wall


@dataclasses.dataclass(frozen=True)
class Puzzle:
    """A key pays +1, a door +1, the goal +50 and the end; one key can be held, and picking up another replaces it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width with walls."""
        return ROWS * (ROOM_HEIGHT + 1) + 1, COLUMNS * (ROOM_WIDTH + 1) + 1

    def begin(self, key: jax.Array) -> Episode:
        """A new puzzle."""
        color, size, turn, cell, extras, growth = uniforms(
            key, (_COLORS,), (), (), (_ROOMS, ROOM_HEIGHT * ROOM_WIDTH), (3,), (_CHAIN + 7, len(_PAIRS))
        )
        colors, length, cells = ranks(color), integers(size, 1, _CHAIN + 1), ranks(cell)
        plan = draw_plan(growth, colors, length)
        maze, door = build(plan)
        home = jnp.argmax(plan.rank == 0)
        objects = place_objects(extras, plan, colors, length, cells)
        body = start_body(place(home, cells[home, -1]), turn)
        start = jnp.zeros(self.shape, bool).at[body.pos[1].astype(int), body.pos[0].astype(int)].set(True)
        return Episode(body, maze, door, objects, goal_distance=distances(~maze.wall, start))

    def after_move(self, key: jax.Array, state: EnvState) -> tuple[EnvState, Outcome]:
        """Pick up keys, open doors, end at the goal."""
        taken = touched(state)
        is_key = state.objects.kind == sprites.KEY + 1
        keys, goal = taken & is_key, jnp.any(taken & ~is_key)
        held = jnp.where(jnp.any(keys), state.objects.color[jnp.argmax(keys)] + 1, state.held)
        opened = (state.door == held) & (held > 0) & near_cells(state.body.pos, self.shape)
        opened &= jnp.cumsum(opened).reshape(opened.shape) == 1  # a key opens one door
        opens = jnp.any(opened)
        reward = KEY_REWARD * jnp.sum(keys) + DOOR_REWARD * opens + GOAL_REWARD * goal
        state = dataclasses.replace(
            state,
            door=jnp.where(opened, 0, state.door),
            objects=dataclasses.replace(state.objects, kind=jnp.where(taken, 0, state.objects.kind)),
            held=jnp.where(opens, 0, held),
            collected=state.collected + goal,
            countdown=count_down(state.countdown, goal),
        )
        return state, Outcome(reward=reward, respawned=jnp.asarray(False))


def near_cells(pos: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Which cells are within `_DOOR_REACH` of `pos [2]` (x, y): bool of `shape`."""
    off_y = jnp.abs(jnp.arange(shape[0]) + 0.5 - pos[1])[:, None]
    off_x = jnp.abs(jnp.arange(shape[1]) + 0.5 - pos[0])
    return jnp.maximum(off_y, off_x) < 0.5 + _DOOR_REACH


def draw_plan(uniform: jax.Array, colors: jax.Array, length: jax.Array) -> Plan:
    """Grow the rooms in use from a random start.

    Args:
        uniform: `[_CHAIN + 7, 2 _DOORS]` random numbers in [0, 1).
        colors: `[_COLORS]` a permutation: the chain's doors have the first `length`, the red herring the fourth, and
            doors that cannot be opened the fifth.
        length: `[]` locked rooms of the chain.
    """
    (home, easy, extra, *_), *scores = uniform
    rank = jnp.full(_ROOMS, -1).at[integers(home, 0, _ROOMS)].set(0)
    plan = Plan(rank, jnp.full(_DOORS, -1))
    for step in range(_CHAIN):
        behind = (plan.rank >= 0) & (plan.rank <= step)
        plan = _grow(scores[step], plan, behind, colors[step], step + 1, step < length)
    reachable = (plan.rank >= 0) & (plan.rank < length)
    # The trap takes the key that the next locked room of the chain needs.
    plan = _grow(scores[_CHAIN], plan, reachable, colors[:_CHAIN], _CHAIN + 1, True)
    chain = (plan.rank >= 0) & (plan.rank <= _CHAIN)
    plan = _grow(scores[_CHAIN + 1], plan, chain, colors[_CHAIN], _CHAIN + 1, True)
    plan = _grow(scores[_CHAIN + 2], plan, chain, _OPEN, _CHAIN + 1, easy < 0.5)
    for index in range(2):
        plan = _add_door(scores[_CHAIN + 3 + index], plan, colors[_CHAIN + 1], True)
    return _add_door(scores[_CHAIN + 5], plan, colors[0], extra < 0.5)


def _grow(
    uniform: jax.Array, plan: Plan, parents: jax.Array, color: jax.Array | int, rank: int, wanted: jax.Array | bool
) -> Plan:
    """Add a room beside one of `parents [_ROOMS]`, behind a door of `color`, or of the parent's rank-th of several."""
    possible = parents[_PAIRS[:, 0]] & (plan.rank[_PAIRS[:, 1]] < 0)
    index = jnp.argmax(jnp.where(possible, 1.0 + uniform, 0.0))
    parent, child = jnp.asarray(_PAIRS)[index]
    several = jnp.atleast_1d(jnp.asarray(color))
    tint = several[jnp.minimum(plan.rank[parent], len(several) - 1)]
    done = possible[index] & wanted
    return Plan(
        rank=jnp.where(done & (jnp.arange(_ROOMS) == child), rank, plan.rank),
        door=jnp.where(done & (jnp.arange(_DOORS) == index % _DOORS), tint, plan.door),
    )


def _add_door(uniform: jax.Array, plan: Plan, color: jax.Array, wanted: jax.Array | bool) -> Plan:
    """A door in a wall of a room in use; beyond it there may be nothing."""
    first, second = plan.rank[_PAIRS[:_DOORS, 0]], plan.rank[_PAIRS[:_DOORS, 1]]
    # Between two rooms of the chain it would be a short cut, if it could be opened.
    possible = (plan.door < 0) & ((first >= 0) ^ (second >= 0))
    index = jnp.argmax(jnp.where(possible, 1.0 + uniform[:_DOORS], 0.0))
    return plan._replace(door=jnp.where((jnp.arange(_DOORS) == index) & possible[index] & wanted, color, plan.door))


def build(plan: Plan) -> tuple[Maze, jax.Array]:
    """The plan as a maze, and its doors, int32 `[H, W]`."""
    height, width = ROWS * (ROOM_HEIGHT + 1) + 1, COLUMNS * (ROOM_WIDTH + 1) + 1
    y, x = np.mgrid[:height, :width]
    inside = (y % (ROOM_HEIGHT + 1) > 0) & (x % (ROOM_WIDTH + 1) > 0)
    owner = np.where(inside, (y - 1) // (ROOM_HEIGHT + 1) * COLUMNS + (x - 1) // (ROOM_WIDTH + 1), 0)
    room = inside & (plan.rank >= 0)[owner]
    first, second = _PAIRS[:_DOORS].T
    # A door stands in the first row or the middle column of the rooms that it joins.
    door_y = np.where(
        second == first + 1, 1 + (first // COLUMNS) * (ROOM_HEIGHT + 1), (first // COLUMNS + 1) * (ROOM_HEIGHT + 1)
    )
    door_x = np.where(
        second == first + 1, (first % COLUMNS + 1) * (ROOM_WIDTH + 1), 2 + (first % COLUMNS) * (ROOM_WIDTH + 1)
    )
    passage = jnp.zeros((height, width), bool).at[door_y, door_x].set(plan.door >= 0)
    closed = jnp.where((plan.door >= 0) & (plan.door < _OPEN), plan.door + 1, 0)
    door = jnp.zeros((height, width), jnp.int32).at[door_y, door_x].set(closed)
    nowhere = jnp.zeros((height, width), bool)
    return Maze(wall=~(room | passage), room=room, connector=passage, spawn=room, goal=nowhere), door


def place(room: jax.Array, cell: jax.Array) -> jax.Array:
    """Middle `[2]` (x, y) of a cell of a room, by their numbers."""
    y = 1 + (room // COLUMNS) * (ROOM_HEIGHT + 1) + cell // ROOM_WIDTH
    x = 1 + (room % COLUMNS) * (ROOM_WIDTH + 1) + cell % ROOM_WIDTH
    return jnp.stack([x, y]) + 0.5


def place_objects(uniform: jax.Array, plan: Plan, colors: jax.Array, length: jax.Array, cells: jax.Array) -> Objects:
    """The goal, the chain's keys, the red herring's key, and perhaps a useless one: six slots."""
    rooms = [jnp.argmax(plan.rank == step) for step in range(_CHAIN)]
    last = jnp.argmax(plan.rank == length)
    within = integers(uniform[0], 0, length), integers(uniform[1], 0, length)
    herring, useless = (jnp.argmax(plan.rank == rank) for rank in within)
    has_useless = (length < _CHAIN) & (uniform[2] < 0.5)
    key_kind = sprites.KEY + 1
    room = jnp.stack([last, *rooms, herring, useless])
    # Each room has six cells in random order, the last one for the agent: one of its own for each slot but two keys.
    cell = cells[room, jnp.array([0, 0, 0, 0, 1, 2])]
    color = jnp.stack([jnp.zeros((), colors.dtype), *colors[:_CHAIN], colors[_CHAIN], colors[_CHAIN - 1]])
    kind = jnp.stack(
        [
            jnp.asarray(sprites.BALL + 1),
            *(jnp.where(step < length, key_kind, 0) for step in range(_CHAIN)),
            jnp.asarray(key_kind),
            jnp.where(has_useless, key_kind, 0),
        ]
    )
    rgb = jnp.asarray(textures.DOOR_COLORS)[color].at[0].set(jnp.array(_GOAL_RGB))
    return Objects(pos=jax.vmap(place)(room, cell), kind=kind, color=color, rgb=rgb)
