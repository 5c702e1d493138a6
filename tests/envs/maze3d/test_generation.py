"""Invariants of the mazes (episodic_curiosity.md sections 4.2 and 9, point 16), over thousands of seeds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.maze3d.draws import uniforms
from envs.maze3d.explore import Explore
from envs.maze3d.generation import (
    ROOM,
    SPAWNS_PER_ROOM,
    Regions,
    carve_corridors,
    choose_connectors,
    generate,
    place_rooms,
    simplify,
)
from envs.maze3d.paths import UNREACHABLE, cheapest, distances, walk_down
from envs.maze3d.types import Maze

SEEDS, BATCH, SIZE = 10_000, 1_000, 17

# Thousands of mazes take longer to compute than to compile.
optimised = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})


def drawn(size: int, count: int, batch: int) -> tuple[Maze, np.ndarray]:
    """Mazes, and whether every floor cell of each is reached from one of its goals."""

    def one(key: jax.Array) -> tuple[Maze, jax.Array]:
        maze = generate(key, size)
        first = jnp.zeros(maze.goal.size, bool).at[jnp.argmax(maze.goal)].set(True).reshape(maze.goal.shape)
        reached = distances(~maze.wall, first) < UNREACHABLE
        return maze, jnp.all(reached == ~maze.wall)

    keys = jax.random.split(jax.random.key(0), count).reshape(-1, batch)
    results = optimised(lambda keys: jax.lax.map(jax.vmap(one), keys))(keys)
    return jax.tree.map(lambda x: np.asarray(x).reshape(count, *x.shape[2:]), results)


@pytest.fixture(scope="module")
def mazes() -> tuple[Maze, np.ndarray]:
    """Ten thousand of the published size."""
    return drawn(SIZE, SEEDS, BATCH)


@pytest.mark.parametrize("size", [5, 11])
def test_smaller_mazes_are_as_sound(size: int) -> None:
    maze, connected = drawn(size, 500, 500)
    floor = ~maze.wall
    assert connected.all() and floor.shape[1:] == (size, size)
    assert not (floor[:, [0, -1]].any() or floor[:, :, [0, -1]].any())
    assert (ways_out(floor)[floor & ~maze.room] >= 2).all()
    assert ((maze.spawn | maze.goal) == maze.room).all() and maze.room.any((1, 2)).all()


def ways_out(floor: np.ndarray) -> np.ndarray:
    return sum(np.roll(floor, shift, axis).astype(int) for shift in (1, -1) for axis in (1, 2))  # type: ignore[return-value]


def test_everything_is_connected(mazes: tuple[Maze, np.ndarray]) -> None:
    assert mazes[1].all()


def test_the_border_is_solid(mazes: tuple[Maze, np.ndarray]) -> None:
    wall = mazes[0].wall
    assert wall[:, 0].all() and wall[:, -1].all() and wall[:, :, 0].all() and wall[:, :, -1].all()


def test_there_are_no_dead_ends_outside_rooms(mazes: tuple[Maze, np.ndarray]) -> None:
    floor = ~mazes[0].wall
    assert (ways_out(floor)[floor & ~mazes[0].room] >= 2).all()


def test_horseshoe_bends_are_cut_short(mazes: tuple[Maze, np.ndarray]) -> None:
    """No corridor goes around a single pillar between two nodes that could be joined."""
    maze, floor = mazes[0], ~mazes[0].wall
    plain, ways = floor & ~maze.room & ~maze.connector, ways_out(~mazes[0].wall)
    corner = plain & (ways == 2)
    found = 0
    for away, side in [((1, 0), (0, 1)), ((-1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, -1), (1, 0))]:

        def at(grid: np.ndarray, a: int, s: int, away: tuple = away, side: tuple = side) -> np.ndarray:
            return np.roll(grid, (-a * away[0] - s * side[0], -a * away[1] - s * side[1]), (1, 2))

        legs = at(plain, 1, 0) & at(corner, 2, 0) & at(plain, 2, 1) & at(corner, 2, 2) & at(plain, 1, 2)
        found += (legs & floor & at(floor, 0, 2) & ~at(floor, 0, 1))[:, 1::2, 1::2].sum()
    assert found == 0


def test_rooms_are_squares_with_five_spawns_and_four_goals(mazes: tuple[Maze, np.ndarray]) -> None:
    maze = mazes[0]
    cells = maze.room.sum((1, 2))
    assert (cells % ROOM**2 == 0).all()
    rooms = cells // ROOM**2
    assert rooms.min() >= 1 and rooms.max() == 9
    assert (maze.spawn.sum((1, 2)) == SPAWNS_PER_ROOM * rooms).all()
    assert (maze.goal.sum((1, 2)) == (ROOM**2 - SPAWNS_PER_ROOM) * rooms).all()
    assert not (maze.spawn & maze.goal).any()
    assert ((maze.spawn | maze.goal) == maze.room).all()


def test_connectors_join_two_sides(mazes: tuple[Maze, np.ndarray]) -> None:
    maze = mazes[0]
    floor = ~maze.wall
    assert (maze.connector <= floor).all()
    assert (ways_out(floor)[maze.connector] == 2).all()
    assert maze.connector.any((1, 2)).mean() > 0.99


def loops(floor: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Independent loops `[N]` of connected mazes `[N, H, W]`, those within rooms left out: edges - cells + 1."""
    edges = (floor[:, 1:] & floor[:, :-1]).sum((1, 2)) + (floor[:, :, 1:] & floor[:, :, :-1]).sum((1, 2))
    rooms = room.sum((1, 2)) // ROOM**2
    return edges - floor.sum((1, 2)) + 1 - (ROOM - 1) ** 2 * rooms


def test_nearly_all_mazes_have_loops(mazes: tuple[Maze, np.ndarray]) -> None:
    """Nothing promises them, but where three regions touch each other there is a way around."""
    found = loops(~mazes[0].wall, mazes[0].room)
    assert (found > 0).mean() > 0.999 and np.median(found) > 5


def test_regions_that_touch_are_joined_once_and_no_loop_is_lost() -> None:
    """Points 3 and 4 of section 4.2, on regions as they are before dead ends and bends go."""
    edge = (SIZE - 1) // 2

    def one(key: jax.Array) -> tuple[Regions, jax.Array, jax.Array]:
        places, order, turns, joints = uniforms(key, (36, 2), (edge**2,), (2 * edge**2, 4), (2 * edge * (edge - 1),))
        regions = carve_corridors(order, turns, place_rooms(places, SIZE))
        connector = choose_connectors(joints, regions)
        return regions, connector, simplify(regions.floor | connector, regions.room, connector)

    regions, connector, floor = jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 200)))
    before = loops(regions.floor | connector, regions.room)
    np.testing.assert_array_equal(before, connector.sum((1, 2)) - regions.region.max((1, 2)) + 1)
    np.testing.assert_array_equal(loops(floor, regions.room), before)
    for region, chosen in zip(regions.region, connector, strict=True):
        touching, joined = set(), []
        for ids, doors in ((region, chosen), (region.T, chosen.T)):
            nodes, between = ids[1::2, 1::2], doors[2:-1:2, 1::2]
            pairs = np.sort(np.stack([nodes[:-1], nodes[1:]], axis=-1), axis=-1)
            touching |= {(a, b) for a, b in pairs.reshape(-1, 2).tolist() if a != b}
            joined += [(a, b) for a, b in pairs[between].tolist()]
        assert sorted(joined) == sorted(touching)


def test_mazes_are_all_different(mazes: tuple[Maze, np.ndarray]) -> None:
    assert len(np.unique(mazes[0].wall.reshape(SEEDS, -1), axis=0)) == SEEDS


@pytest.fixture(scope="module")
def lives() -> dict[str, np.ndarray]:
    """Two thousand episodes with doors, with ten lives each; every life at least ten cells from the goal."""
    rules = Explore(SIZE, min_distance=10, doors=True)

    def life(key: jax.Array, maze: Maze, goal_distance: jax.Array) -> dict[str, jax.Array]:
        body, door = rules.new_life(key, maze, goal_distance)
        x, y = body.pos.astype(int)
        goal = goal_distance == 0
        # The path whose doors are opened, from the numbers that this life drew.
        _, _, detour, _ = uniforms(key, (), (), maze.wall.shape, maze.wall.shape)
        cost = 1.0 + 30.0 * detour
        to_goal = cheapest(cost, ~maze.wall, goal)
        path = walk_down(to_goal, jnp.stack([y, x]))
        return {
            "distance": goal_distance[y, x],
            "on_spawn": maze.spawn[y, x],
            "leads_to_goal": distances(path & ~maze.wall, goal)[y, x] < UNREACHABLE,
            "path_cost": jnp.sum(jnp.where(path & ~goal, cost, 0.0)),
            "cheapest": to_goal[y, x],
            "on_path": jnp.sum(path & maze.connector),
            "off_path": jnp.sum(maze.connector & ~path),
            "closed_off_path": jnp.sum((door > 0) & maze.connector & ~path),
            "closed": jnp.sum(door > 0),
            "door": door,
        }

    def episode(key: jax.Array) -> dict[str, jax.Array]:
        begin = rules.begin(key)
        keys = jax.random.split(jax.random.fold_in(key, 1), 10)
        result = jax.vmap(life, in_axes=(0, None, None))(keys, begin.maze, begin.goal_distance)
        farthest = jnp.max(jnp.where(begin.maze.spawn, begin.goal_distance, 0))
        return result | {"farthest": jnp.broadcast_to(farthest, (10,))}

    results = optimised(jax.vmap(episode))(jax.random.split(jax.random.key(1), 2_000))
    return {name: np.asarray(value) for name, value in results.items()}


def test_every_life_of_very_sparse_is_ten_cells_from_the_goal(lives: dict[str, np.ndarray]) -> None:
    far = lives["farthest"] >= 10
    assert far.mean() > 0.99
    assert (lives["distance"][far] >= 10).all()
    assert (lives["distance"][~far] == lives["farthest"][~far]).all()
    assert lives["on_spawn"].all()


def test_doors_leave_a_path_and_half_of_the_others_open(lives: dict[str, np.ndarray]) -> None:
    """All doors close; those on one path open, and of the others half, rounded down (section 9, point 16)."""
    assert lives["leads_to_goal"].all()
    np.testing.assert_allclose(lives["path_cost"], lives["cheapest"], rtol=1e-5)  # it holds no cell beside the path
    np.testing.assert_array_equal(lives["closed"], lives["closed_off_path"])
    np.testing.assert_array_equal(lives["off_path"] - lives["closed"], lives["off_path"] // 2)
    assert lives["closed"].mean() > 2 and lives["on_path"].mean() > 2


def test_doors_change_from_life_to_life(lives: dict[str, np.ndarray]) -> None:
    doors = lives["door"]
    assert (doors[:, 0] != doors[:, 1]).any((1, 2)).mean() > 0.9
