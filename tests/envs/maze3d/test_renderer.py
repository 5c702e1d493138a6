"""What is to be seen, and what hides it (episodic_curiosity.md section 7, points 1, 2 and 7)."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest

import envs
from envs.maze3d import renderer, sprites, textures
from envs.maze3d.types import Body, EnvState, Look, Maze, Objects, Shot

SIZE, EDGE, EPISODES = 17, 84, 16
GREEN, RED = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)
NO_DOOR = np.zeros((SIZE, SIZE), np.int32)
HALL = np.pad(np.zeros((SIZE - 2, SIZE - 2), bool), 1, constant_values=True)
ROOMS = (np.arange(SIZE) % 4 == 0)[:, None] | (np.arange(SIZE) % 4 == 0)  # sixteen closed rooms of 3 x 3 cells
MIDDLE = (6.5, 6.5)  # of one of them
HERE = (4.5, 8.5)  # looking along a row of cells

SMALL, LARGE = (EDGE, EDGE), (120, 160)  # the policy's view, and what the published R-network sees
SEE = {size: jax.jit(functools.partial(renderer.render, renderer.make_camera(*size))) for size in (SMALL, LARGE)}
CEILING, WALL, FLOOR = slice(0, 8), slice(34, 50), slice(-8, None)
"""Rows of pixels that show nothing else in the middle of a room of `ROOMS`."""


@pytest.fixture(scope="module")
def looks() -> list[Look]:
    """Of some episodes."""
    keys = jax.random.split(jax.random.key(0), EPISODES)
    drawn = jax.device_get(jax.jit(jax.vmap(lambda key: textures.draw_look(key, (SIZE, SIZE))))(keys))
    return [jax.tree.map(lambda x, index=index: x[index], drawn) for index in range(EPISODES)]


def see(
    look: Look,
    wall: np.ndarray = HALL,
    door: np.ndarray = NO_DOOR,
    balls: tuple = (),
    at: tuple[float, float] = HERE,
    yaw: float = 0.0,
    room: bool = True,
    size: tuple[int, int] = SMALL,
) -> np.ndarray:
    """The view, int `[H, W, 3]`, with up to two balls, each (x, y, colour)."""
    given: tuple = (*balls, *(((0.0, 0.0, GREEN),) * (2 - len(balls))))
    unused: Any = None
    state = EnvState(
        time=unused,
        body=Body(pos=np.array(at, np.float32), velocity=unused, yaw=np.float32(yaw)),
        maze=Maze(wall=wall, room=np.full(wall.shape, room), connector=unused, spawn=unused, goal=unused),
        door=door,
        objects=Objects(
            pos=np.array([ball[:2] for ball in given], np.float32),
            kind=np.where(np.arange(2) < len(balls), sprites.BALL + 1, 0),
            color=unused,
            rgb=np.array([ball[2] for ball in given], np.float32),
        ),
        look=look,
        shot=Shot(age=np.int32(1000), pos=np.zeros(2, np.float32), seed=np.uint32(0)),
        screen=unused,
        collected=unused,
        held=unused,
        countdown=unused,
        goal_distance=unused,
        reachable_cells=unused,
    )
    return np.asarray(SEE[size](state)).astype(int)


def cell(x: int, y: int) -> np.ndarray:
    """A grid `[H, W]` bool with one cell set."""
    grid = np.zeros_like(HALL)
    grid[y, x] = True
    return grid


def of_color(picture: np.ndarray, rgb: tuple) -> np.ndarray:
    """Which pixels have a pure colour, however dark."""
    has = np.array(rgb) > 0
    return (picture[..., ~has] == 0).all(-1) & (picture[..., has] > 60).all(-1)


def test_walls_and_closed_doors_hide_what_is_behind_them(looks: list[Look]) -> None:
    before, behind = cell(6, 8), cell(10, 8)
    ball = ((8.5, 8.5, GREEN),)
    shown = of_color(see(looks[0], balls=ball), GREEN)
    assert shown.sum() > 10 and not of_color(see(looks[0]), GREEN).any()
    for place, expected in [(behind, shown), (before, np.zeros_like(shown))]:
        for kind in ({"wall": HALL | place}, {"door": np.int32(1) * place}):
            np.testing.assert_array_equal(of_color(see(looks[0], **kind, balls=ball), GREEN), expected)


def test_a_nearer_object_hides_a_farther_one(looks: list[Look]) -> None:
    near, far = (6.5, 8.4, GREEN), (7.5, 8.6, RED)
    nothing, one, other = (see(looks[0], balls=balls) for balls in ((), (near,), (far,)))
    covers, covered = ((picture != nothing).any(-1) for picture in (one, other))
    assert (covers & covered).sum() > 10 and (covered & ~covers).sum() > 10
    for balls in ((near, far), (far, near)):
        np.testing.assert_array_equal(see(looks[0], balls=balls), np.where(covers[..., None], one, other))


@pytest.mark.parametrize("yaw", [0.0, 2.5])
def test_the_view_is_ninety_degrees_wide(looks: list[Look], yaw: float) -> None:
    def shown(degrees: float) -> np.ndarray:
        """Pixels of a ball at so many degrees to the right of where the agent looks."""
        angle = yaw - np.radians(degrees)
        x, y = 8.5 + 1.5 * np.cos(angle), 8.5 + 1.5 * np.sin(angle)
        return of_color(see(looks[0], balls=((x, y, GREEN),), at=(8.5, 8.5), yaw=yaw), GREEN)

    for degrees in (-35, -20, 0, 20, 35):
        rows, columns = np.nonzero(shown(degrees).any(1))[0], np.nonzero(shown(degrees).any(0))[0]
        assert columns.mean() + 0.5 == pytest.approx(EDGE / 2 * (1 + np.tan(np.radians(degrees))), abs=0.6)
        assert len(rows) == pytest.approx(len(columns), abs=1)  # a ball is as high as it is wide
    for side, column in ((-1, 0), (1, EDGE - 1)):
        assert shown(45 * side).any(0)[column]
        assert not shown(55 * side).any()
    assert not shown(180).any()


def test_a_view_of_another_size_shows_the_same_scene(looks: list[Look]) -> None:
    env, params = envs.make("maze3d_sparse", height=120, width=160)
    assert env.observation_space().shape == jax.eval_shape(env.reset, jax.random.key(0), params)[0].shape == (*LARGE, 3)
    small, large = (np.stack([see(look, ROOMS, at=MIDDLE, size=size) for look in looks]) for size in (SMALL, LARGE))
    slope = (np.arange(EDGE) + 0.5 - EDGE / 2) / (EDGE / 2)
    inside = np.abs(slope) < 120 / 160  # both are 90 degrees wide, and this one less high
    picked = large[:, (60 + 80 * slope[inside]).astype(int)][:, :, (80 + 80 * slope).astype(int)]
    same, others = (np.abs(picked - seen[:, inside]).mean((1, 2, 3)) for seen in (small, np.roll(small, 1, axis=0)))
    assert same.max() < 5 < 25 < others.min()


def apart(pictures: np.ndarray) -> np.ndarray:
    """Mean difference of each two pictures of `[N, H, W, 3]`, one number per pair."""
    one, other = np.triu_indices(len(pictures), 1)
    return np.abs(pictures[one] - pictures[other]).mean((1, 2, 3))


def test_each_episode_has_a_theme_of_its_own(looks: list[Look]) -> None:
    """Its surfaces look different, also under white light."""
    white = np.array([[0, 0, 0.25]] * 3, np.float32)
    pictures = np.stack([see(dataclasses.replace(look, lamp=white), ROOMS, at=MIDDLE) for look in looks])
    for part in (CEILING, WALL, FLOOR):
        assert apart(pictures[:, part]).min() > 10


def test_places_of_one_shape_do_not_look_alike(looks: list[Look]) -> None:
    middles = 4 * np.arange(4) + 2.5
    for look in looks[:4]:
        pictures = np.stack([see(look, ROOMS, at=(x, y)) for x in middles for y in middles])
        assert apart(pictures).min() > 5


def test_rooms_and_corridors_differ_in_their_walls_alone(looks: list[Look]) -> None:
    pairs = np.stack([[see(look, ROOMS, at=MIDDLE, room=room) for room in (True, False)] for look in looks])
    differ = (pairs[:, 0] != pairs[:, 1]).any(-1)
    assert (differ[:, WALL].mean((1, 2)) > 0.5).all()
    assert not differ[:, CEILING].any() and not differ[:, FLOOR].any()


def test_a_poster_hangs_in_the_middle_of_its_face_but_not_on_a_door(looks: list[Look]) -> None:
    block = cell(6, 8)

    def hang(number: int) -> Look:
        """A poster, or -1 for none, on the face that looks to -x, a cell and a half away."""
        poster = np.full((4, SIZE, SIZE), -1, np.int8)
        poster[1, 8, 6] = number
        return dataclasses.replace(looks[0], poster=poster)

    bare = see(hang(-1), HALL | block)
    posters = np.stack([see(hang(number), HALL | block) for number in range(textures.POSTERS)])
    changed = (posters != bare).any(-1)
    slope = np.abs(np.arange(EDGE) + 0.5 - EDGE / 2) / (EDGE / 2)
    middle = np.maximum(slope[:, None], slope) < 0.32 / 1.5  # of a poster 0.64 cells wide
    assert not changed[:, ~middle].any() and (changed[:, middle].mean(1) > 0.9).all()
    assert len(np.unique(posters, axis=0)) == textures.POSTERS
    np.testing.assert_array_equal(*(see(hang(number), door=np.int32(1) * block) for number in (0, -1)))


def test_posters_hang_on_a_tenth_of_the_faces_and_elsewhere_in_each_episode(looks: list[Look]) -> None:
    there = np.stack([look.poster >= 0 for look in looks])
    assert there.mean() == pytest.approx(0.1, abs=0.01)
    assert len(np.unique(there, axis=0)) == EPISODES


def test_a_door_has_the_colour_of_its_key(looks: list[Look]) -> None:
    for number, color in enumerate(textures.DOOR_COLORS):
        for look in looks[:3]:
            ahead = see(look, door=np.int32(number + 1) * cell(6, 8))[32:52, 32:52].mean((0, 1))
            np.testing.assert_allclose(ahead / ahead.sum(), np.array(color) / sum(color), atol=0.02)
