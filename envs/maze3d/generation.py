"""Random mazes of rooms and corridors, by DeepMind Lab's rules.

Corridors and rooms lie on the odd cells of the grid, the *nodes*; the cells between two nodes are walls or passages.
All functions are for one maze and are mapped over keys.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d.draws import integers, ranks, uniforms
from envs.maze3d.paths import neighbours
from envs.maze3d.types import Maze

ROOM = 3
"""Cells along a room's edge."""

MAX_ROOMS = 9
SPAWNS_PER_ROOM = 5

_TRIES_PER_ROOM = 4
_ROOM_NODES = (ROOM + 1) // 2


class Regions(NamedTuple):
    """Rooms and corridors before they are joined."""

    floor: jax.Array  # [H, W] bool
    room: jax.Array  # [H, W] bool
    region: jax.Array  # [H, W] int32 on floor cells, from 1; 0 elsewhere
    origins: jax.Array  # [MAX_ROOMS, 2] int32, node (y, x) of each room's first corner, -1 for a room that is not there


def generate(key: jax.Array, size: int) -> Maze:
    """A maze of `size` x `size` cells, border included.

    Args:
        key: PRNG key.
        size: odd, at least 5.
    """
    nodes, tries = ((size - 1) // 2) ** 2, _TRIES_PER_ROOM * MAX_ROOMS
    places, order, turns, joints, markers = uniforms(
        key, (tries, 2), (nodes,), (2 * nodes, 4), (len(_between_nodes(size)[0]),), (MAX_ROOMS, ROOM * ROOM)
    )
    regions = carve_corridors(order, turns, place_rooms(places, size))
    connector = choose_connectors(joints, regions)
    floor = simplify(regions.floor | connector, regions.room, connector)
    spawn, goal = place_markers(markers, regions)
    return Maze(wall=~floor, room=regions.room, connector=connector & floor, spawn=spawn, goal=goal)


def place_rooms(uniform: jax.Array, size: int) -> Regions:
    """Up to `MAX_ROOMS` rooms that do not overlap: one try for each of the random places `uniform [N, 2]`."""
    nodes = (size - 1) // 2
    places = integers(uniform, 0, nodes - _ROOM_NODES + 1)

    def attempt(carry: tuple[jax.Array, jax.Array, jax.Array], place: jax.Array) -> tuple[tuple, None]:
        taken, origins, count = carry
        inside = _in_square(taken.shape, place, _ROOM_NODES)
        fits = ~jnp.any(taken & inside) & (count < MAX_ROOMS)
        origins = jnp.where(fits & (jnp.arange(MAX_ROOMS) == count)[:, None], place, origins)
        return (taken | (inside & fits), origins, count + fits), None

    start = jnp.zeros((nodes, nodes), bool), jnp.full((MAX_ROOMS, 2), -1), jnp.int32(0)
    (_, origins, _), _ = jax.lax.scan(attempt, start, places)
    cells = jax.vmap(lambda origin: _in_square((size, size), 2 * origin + 1, ROOM))(origins)
    cells &= (origins[:, 0] >= 0)[:, None, None]
    region = jnp.sum(cells * (1 + jnp.arange(MAX_ROOMS))[:, None, None], axis=0)
    return Regions(floor=region > 0, room=region > 0, region=region, origins=origins)


def _in_square(shape: tuple[int, ...], origin: jax.Array, edge: int) -> jax.Array:
    y, x = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])[None, :]
    return (y >= origin[0]) & (y < origin[0] + edge) & (x >= origin[1]) & (x < origin[1] + edge)


def carve_corridors(order: jax.Array, turns: jax.Array, regions: Regions) -> Regions:
    """Fill what rooms leave with recursive-backtracker mazes; each connected one becomes a region.

    Args:
        order: `[nodes]` random numbers in [0, 1): a walk starts at the highest that is left.
        turns: `[2 nodes, 4]` random numbers in [0, 1): a step goes to the highest side that is free.
        regions: the rooms.
    """
    size = regions.floor.shape[0]
    nodes = (size - 1) // 2
    beside = jnp.asarray(_node_neighbours(nodes))
    order, turns = 1.0 + order, 1.0 + turns  # 0 is for what cannot be chosen

    def walk(carry: tuple[jax.Array, jax.Array, jax.Array], turn: jax.Array) -> tuple[tuple, None]:
        region, parent, here = carry
        around = beside[here]
        free = jnp.where((around >= 0) & (region[around] == 0), turn, 0.0)
        advance, back = jnp.any(free > 0), parent[here]
        # Where the walk is back at its root, the next one starts at a random node that is left.
        left = jnp.where(region == 0, order, 0.0)
        restart = ~advance & (back < 0) & jnp.any(left > 0)
        ahead = jnp.where(advance, around[jnp.argmax(free)], jnp.where(back < 0, jnp.argmax(left), back))
        here_next = jnp.where(advance | restart | (back >= 0), ahead, here)
        mine = jnp.where(advance, region[here], jnp.where(restart, jnp.max(region) + 1, region[here_next]))
        parent = parent.at[here_next].set(jnp.where(advance, here, parent[here_next]))
        return (region.at[here_next].set(mine), parent, here_next), None

    region = regions.region[1::2, 1::2].reshape(-1)
    first = jnp.argmax(jnp.where(region == 0, order, 0.0))
    any_left = region[first] == 0
    region = region.at[first].set(jnp.where(any_left, jnp.max(region) + 1, region[first]))
    (region, parent, _), _ = jax.lax.scan(walk, (region, jnp.full(nodes * nodes, -1), first), turns)

    at = jnp.arange(nodes * nodes)
    y, x, parent_y, parent_x = at // nodes, at % nodes, parent // nodes, parent % nodes
    between_y, between_x = 1 + y + jnp.where(parent < 0, y, parent_y), 1 + x + jnp.where(parent < 0, x, parent_x)
    grid = regions.region.at[1 + 2 * y, 1 + 2 * x].set(region).at[between_y, between_x].set(region)
    return regions._replace(region=grid, floor=grid > 0)


def _node_neighbours(nodes: int) -> np.ndarray:
    """`[nodes^2, 4]` index of the node on each side, -1 outside."""
    y, x = np.divmod(np.arange(nodes * nodes), nodes)
    sides = [(y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)]
    inside = [(j >= 0) & (j < nodes) & (i >= 0) & (i < nodes) for j, i in sides]
    return np.stack([np.where(ok, j * nodes + i, -1) for (j, i), ok in zip(sides, inside, strict=True)], axis=1)


def choose_connectors(uniform: jax.Array, regions: Regions) -> jax.Array:
    """For each pair of regions that touch, the wall cell between two nodes with the highest number: `[H, W]` bool."""
    size = regions.region.shape[0]
    ys, xs, steps = _between_nodes(size)
    ends = regions.region[ys - steps[:, 0], xs - steps[:, 1]], regions.region[ys + steps[:, 0], xs + steps[:, 1]]
    low, high = jnp.minimum(*ends), jnp.maximum(*ends)
    candidate = low != high
    same_pair = (low[:, None] == low) & (high[:, None] == high) & candidate
    chosen = candidate & (uniform >= jnp.max(jnp.where(same_pair, uniform, 0.0), axis=1))
    return jnp.zeros((size, size), bool).at[ys, xs].set(chosen)


def _between_nodes(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cells between two nodes: their y, their x, and the (y, x) step to one of the two nodes."""
    y, x = np.mgrid[1 : size - 1, 1 : size - 1].reshape(2, -1)
    inner = (y + x) % 2 == 1
    y, x = y[inner], x[inner]
    return y, x, np.stack([(y + 1) % 2, (x + 1) % 2], axis=1)


def simplify(floor: jax.Array, room: jax.Array, connector: jax.Array) -> jax.Array:
    """Delete dead ends outside rooms, then cut the horseshoe bends of corridors short until none is left."""
    floor = _until_still(lambda grid: _without_dead_ends(grid, room), floor)
    return _until_still(lambda grid: _without_a_bend(grid, room, connector), floor)


def _until_still(change, grid: jax.Array) -> jax.Array:  # type: ignore[no-untyped-def]
    def step(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        changed = change(carry[0])
        return changed, jnp.any(changed != carry[0])

    return jax.lax.while_loop(lambda carry: carry[1], step, (grid, jnp.asarray(True)))[0]


def _without_dead_ends(floor: jax.Array, room: jax.Array) -> jax.Array:
    """Wall up every floor cell outside rooms that has at most one way out."""
    ways = sum(side.astype(jnp.int32) for side in neighbours(floor, False))
    return floor & (room | (ways > 1))


def _without_a_bend(floor: jax.Array, room: jax.Array, connector: jax.Array) -> jax.Array:
    """Cut one horseshoe bend short, if there is one.

    A bend leaves a node, goes on to the next node, one to the side and back; nothing branches off it. Its two ends are
    joined directly instead.
    """
    ways = sum(side.astype(jnp.int32) for side in neighbours(floor, False))
    plain = floor & ~room & ~connector
    layers = jnp.stack([floor, plain, plain & (ways == 2)])
    found = jax.vmap(_bends)(jnp.stack([jnp.rot90(layers, quarter, axes=(1, 2)) for quarter in range(4)]))
    turn, y, x = jnp.unravel_index(jnp.argmax(found), found.shape)
    turned = jnp.stack([jnp.rot90(floor, quarter) for quarter in range(4)])[turn]
    cut = _shortened(turned, y, x)
    back = jnp.stack([jnp.rot90(cut, -quarter) for quarter in range(4)])[turn]
    return jnp.where(jnp.any(found), back, floor)


# A bend to the right: from a node two cells right, two up and two back, in steps (up, right).
_BEND = np.array([(0, 1), (0, 2), (1, 2), (2, 2), (2, 1)])


def _bends(layers: jax.Array) -> jax.Array:
    """`[H, W]` bool: a bend to the right has its lower end here.

    Args:
        layers: `[3, H, W]` floor; the part of it where a corridor may be removed; of that, where two ways meet.
    """
    size = layers.shape[1]

    def at(layer: int, up: int, right: int) -> jax.Array:
        return layers[layer, 1 + up : size - 3 + up, 1 + right : size - 3 + right]

    legs = at(1, *_BEND[0]) & at(2, *_BEND[1]) & at(1, *_BEND[2]) & at(2, *_BEND[3]) & at(1, *_BEND[4])
    ends = at(0, 0, 0) & ~at(0, 1, 0) & at(0, 2, 0)
    return jnp.pad(legs & ends, ((1, 3), (1, 3))) & _nodes((size, size))


def _shortened(floor: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """The grid with the bend whose lower end is at `(y, x)` walled up and its ends joined."""
    return floor.at[y + _BEND[:, 0], x + _BEND[:, 1]].set(False, mode="drop").at[y + 1, x].set(True, mode="drop")


def _nodes(shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y % 2 == 1) & (x % 2 == 1)


def place_markers(uniform: jax.Array, regions: Regions) -> tuple[jax.Array, jax.Array]:
    """Spawn and goal cells, `[H, W]` bool each: in every room the five lowest numbers for spawns, others for goals."""
    rank = ranks(uniform)
    offset_y, offset_x = np.divmod(np.arange(ROOM * ROOM), ROOM)
    there = regions.origins[:, :1] >= 0
    y, x = 1 + 2 * regions.origins[:, :1] + offset_y, 1 + 2 * regions.origins[:, 1:] + offset_x
    outside = jnp.where(there, y, -1)  # the corner of the border takes what is not there, and is cleared
    nothing = jnp.zeros(regions.floor.shape, bool)
    spawn = nothing.at[outside, x].max(there & (rank < SPAWNS_PER_ROOM))
    goal = nothing.at[outside, x].max(there & (rank >= SPAWNS_PER_ROOM))
    return spawn, goal
