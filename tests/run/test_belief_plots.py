"""Figures of what an agent has seen and believes: what is there to see in the pixels."""

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from peg_jax.run.belief_plots import occupancy_map, open_loop_sheet


def occupancy(path: Path, **changes: Any) -> np.ndarray:
    x = y = np.linspace(0.0, 10.0, 12)
    steps = np.abs(x[None] - 8.0) + np.abs(y[:, None] - 8.0)
    states = np.random.default_rng(0).uniform(1.0, 4.0, (200, 2))
    parts: dict[str, Any] = {
        "visited": states,
        "exploring": np.arange(200) >= 100,
        "goals": np.array([[9.0, 9.0]]),
        "value": states.sum(axis=1),
    }
    rest = {"distance": (x, y, steps), "distance_goal": np.array([8.0, 8.0])}
    return occupancy_map(path, "title", **(parts | changes), **rest, background=None, extent=(0, 10, 0, 10))


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - colour).sum(axis=-1) < 40).sum())


def test_phases_goals_distance_and_value_are_all_there(tmp_path: Path) -> None:
    picture = occupancy(tmp_path / "a.png")
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.png"), picture)
    red, green = (214, 39, 40), (44, 160, 44)
    without = occupancy(tmp_path / "b.png", goals=np.zeros((0, 2)))
    assert count(picture, red) > count(without, red) > 50  # the star of the second panel and the legend stay
    no_explore = occupancy(tmp_path / "c.png", exploring=np.zeros(200, bool))
    assert not np.array_equal(picture, no_explore) and green
    flat = occupancy(tmp_path / "d.png", value=np.zeros(200))
    third = slice(int(picture.shape[1] * 0.67), None)
    assert not np.array_equal(flat[:, third], picture[:, third])
    assert np.array_equal(flat[:, : third.start], picture[:, : third.start])


def test_truth_model_and_error_stand_below_each_other(tmp_path: Path) -> None:
    truth = np.zeros((2, 3, 20, 20, 3), np.uint8)
    model = np.full((2, 3, 20, 20, 3), 200, np.uint8)
    error = np.linspace(0.0, 1.0, 12).reshape(1, 12).repeat(4, axis=0)
    picture = open_loop_sheet(tmp_path / "a.png", "title", np.array([4, 6, 11]), truth, model, error, context=5)
    height, width = picture.shape[:2]
    column = picture[:, int(width * 0.3), 0].astype(int)
    black, grey, light = (np.flatnonzero(np.abs(column - level) <= 2) for level in (0, 228, 200))
    assert min(len(black), len(grey), len(light)) > height // 40
    first = [rows[rows > 0.08 * height][0] for rows in (black, light, grey)]
    assert first == sorted(first)  # error: half of the difference around middle grey


def test_without_an_error_the_difference_is_plain_grey(tmp_path: Path) -> None:
    same = np.random.default_rng(0).integers(0, 255, (1, 2, 16, 16, 3)).astype(np.uint8)
    picture = open_loop_sheet(tmp_path / "a.png", "t", np.array([4, 5]), same, same, np.zeros((1, 6)), context=5)
    assert count(picture, (128, 128, 128)) > 0.05 * picture[..., 0].size
