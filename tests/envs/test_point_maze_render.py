"""Pictures of the maze, pixel by pixel where it matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.point_maze import PointMaze, maze
from envs.point_maze.render import AGENT_COLOUR, GOAL_COLOUR, TRAJECTORY_COLOUR, background, to_pixel

ENV = PointMaze()
PARAMS = ENV.default_params

# The maze as published, the top line being y = 9.5.
PICTURE = """
+--+--+--+--+--+--+--+--+--+--+
|  |                    |     |
+  +--+  +--+--+--+--+--+  +  +
|     |  |     |     |     |  |
+--+  +  +  +--+  +--+  +--+--+
|  |     |     |     |  |     |
+  +--+  +  +--+--+  +  +  +--+
|     |  |  |  |  |  |     |  |
+--+  +  +  +  +  +  +  +--+  +
|  |     |     |     |     |  |
+  +  +--+  +--+--+  +  +--+  +
|                 |  |        |
+--+  +--+--+--+  +  +  +--+  +
|  |  |  |  |  |  |     |  |  |
+  +  +  +  +  +--+  +--+  +--+
|        |  |     |           |
+  +  +--+  +  +--+--+  +--+--+
|  |  |           |     |     |
+  +--+  +  +--+  +  +--+  +  +
|        |     |           |  |
+--+--+--+--+--+--+--+--+--+--+
""".strip().splitlines()


def pixel(picture, x, y):
    column, row = to_pixel(np.array([x, y]), picture.shape[0])
    return tuple(int(value) for value in picture[int(row), int(column)])


def draw(agent=(0.0, 0.0), goal=(9.0, 4.0), trajectory=None, env=ENV):
    trajectory = None if trajectory is None else jnp.array(trajectory)
    return np.asarray(jax.jit(env.render)(jnp.array(agent), jnp.array(goal), PARAMS, trajectory))


def test_agent_and_goal_are_where_they_should_be():
    picture = draw(agent=(1.0, 2.0), goal=(9.0, 4.0))
    assert picture.shape == (100, 100, 3) and picture.dtype == np.uint8
    assert pixel(picture, 1, 2) == AGENT_COLOUR and pixel(picture, 9, 4) == GOAL_COLOUR
    assert pixel(picture, 5, 5) == (255, 255, 255)
    # They are as large as a part of a cell, and there is one of each.
    red = np.all(picture == AGENT_COLOUR, axis=-1)
    blue = np.all(picture == GOAL_COLOUR, axis=-1)
    assert 9 <= red.sum() <= 25 and 25 <= blue.sum() <= 49
    rows, columns = np.nonzero(red)
    np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], to_pixel(np.array([1, 2]), 100), atol=0.6)


def test_up_is_up():
    low, high = (np.argwhere(np.all(draw(agent=(0.0, y)) == AGENT_COLOUR, axis=-1)) for y in (0.0, 9.0))
    assert low[:, 0].min() > 85 and high[:, 0].max() < 15


@pytest.mark.parametrize("size", [100, 64, 250])
def test_walls_match_the_published_picture(size):
    picture = background(size)
    assert not np.array_equal(picture[..., 0], picture[::-1, :, 0])
    for row, text in enumerate(PICTURE):
        for column, letter in enumerate(text):
            if column % 3 == 2 or (row % 2 == 0 and column % 3 == 0):
                continue  # the second dash of a wall, and the posts
            x = column // 3 - (0.5 if column % 3 == 0 else 0.0)
            y = 9.5 - row / 2
            assert pixel(picture, x, y) == ((0, 0, 0) if letter != " " else (255, 255, 255)), (x, y)


def test_black_pixels_are_the_walls_alone():
    # Each wall of 9 pixels, plus posts: between a tenth and a fifth of the picture.
    black = np.all(background(100) == 0, axis=-1)
    assert 0.09 < black.mean() < 0.13
    assert not black[:4].any() and not black[:, :5].any() and not black[95:].any() and not black[:, 96:].any()


def test_agent_shows_on_top_of_the_goal():
    picture = draw(agent=(4.0, 4.0), goal=(4.0, 4.0))
    assert pixel(picture, 4, 4) == AGENT_COLOUR
    assert np.any(np.all(picture == GOAL_COLOUR, axis=-1))


def test_trajectory_is_drawn_with_gaps_at_nan():
    nan = float("nan")
    empty = draw()
    path = [(2.0, 5.0), (4.0, 5.0), (nan, nan), (8.0, 2.0)]
    picture = draw(trajectory=path, env=PointMaze(render_size=200))
    for x in (2.1, 3.0, 3.9, 8.0):
        assert pixel(picture, x, 5 if x < 5 else 2) == TRAJECTORY_COLOUR
    assert pixel(picture, 6, 3.6) == (255, 255, 255)  # the straight line across the gap
    np.testing.assert_array_equal(draw(trajectory=[(nan, nan)] * 3), empty)
    assert not np.array_equal(draw(trajectory=path), empty)


def test_pictures_can_be_mapped():
    agents = jnp.array([[0.0, 0.0], [5.0, 5.0], [9.0, 9.0]])
    batch = jax.jit(jax.vmap(ENV.render, (0, None, None)))(agents, jnp.array([9.0, 4.0]), PARAMS)
    assert batch.shape == (3, 100, 100, 3)
    for agent, picture in zip(agents, batch, strict=True):
        np.testing.assert_array_equal(picture, draw(agent=tuple(agent.tolist())))


def test_goal_in_the_observation_is_not_the_agent():
    env = PointMaze(goal_in_observation=True)
    picture = env.render(jnp.array([1.0, 2.0, 9.0, 4.0]), jnp.array([9.0, 4.0]), PARAMS)
    np.testing.assert_array_equal(picture, draw(agent=(1.0, 2.0)))


def test_a_size_too_small_is_refused():
    with pytest.raises(ValueError, match="render_size is 10, too small"):
        PointMaze(render_size=10)
    assert maze.SIZE == 10
