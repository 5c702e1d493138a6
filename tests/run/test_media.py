"""Pictures and plots: readable again, and not blank."""

import importlib.util
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from peg_jax.run import media, plots
from peg_jax.run.files import RunError

EXTENT = (0.0, 10.0, 0.0, 10.0)


def moving_square(frames: int = 12, size: int = 40) -> np.ndarray:
    pixels = np.full((frames, size, size, 3), 240, np.uint8)
    for t in range(frames):
        pixels[t, 10:20, 2 * t : 2 * t + 8] = (200, 30, 30)
    return pixels


def inked(picture: np.ndarray) -> float:
    """Share of pixels which differ from the most common colour."""
    _, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    return float(1 - counts.max() / counts.sum())


def test_a_video_is_an_mp4_as_well_where_ffmpeg_is_at_hand(tmp_path: Path) -> None:
    frames = moving_square(size=41)
    files = media.write_video(tmp_path / "episode", frames, fps=20)
    found = importlib.util.find_spec("imageio_ffmpeg") is not None
    assert [file.name for file in files] == ["episode.gif", "episode.mp4"][: 1 + found]
    if found:
        read = iio.imread(files[1], plugin="FFMPEG")
        assert read.shape == (len(frames), 42, 42, 3)
        assert np.abs(read[:, :41, :41].astype(int) - frames).mean() < 10


def test_animation_plays_every_frame_in_a_loop(tmp_path: Path) -> None:
    frames = moving_square()
    path = media.write_animation(tmp_path / "media" / "eval_gc_policy-000100", frames, fps=20)
    assert path.name == "eval_gc_policy-000100.gif" and [p.name for p in path.parent.iterdir()] == [path.name]
    read = iio.imread(path)
    assert read.shape == frames.shape
    assert np.abs(read[..., :3].astype(int) - frames).max() < 8
    with Image.open(path) as picture:
        assert picture.info["duration"] == 50 and picture.info["loop"] == 0
    assert path.stat().st_size < 20_000


def test_fast_animations_stay_within_what_viewers_play(tmp_path: Path) -> None:
    path = media.write_animation(tmp_path / "fast", moving_square(), fps=1000)
    with Image.open(path) as picture:
        assert picture.info["duration"] == 20


def test_image_round_trip_and_failed_write(tmp_path: Path) -> None:
    picture = moving_square()[0]
    media.write_image(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.png"), picture)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        media.write_image(tmp_path / "file" / "a.png", picture)


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_wrong_pixels_are_refused(tmp_path: Path, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        media.write_image(tmp_path / "a.png", bad)


def test_tile_lays_out_rows_and_centres_small_pictures() -> None:
    black, small = np.zeros((4, 6, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    sheet = media.tile([black, black, small], columns=2, padding=1)
    assert sheet.shape == (2 * 5 + 1, 2 * 7 + 1, 3)
    assert (sheet == 0).sum() == 3 * (24 + 24 + 4)
    assert (sheet[7:9, 3:5] == 0).all()
    clips = media.tile([moving_square(3), moving_square(3)], columns=1, padding=0)
    assert clips.shape == (3, 80, 40, 3)


def test_learning_curves_show_every_label(tmp_path: Path) -> None:
    steps = np.arange(0, 100_000, 1000)
    noise = np.random.default_rng(0).normal(0, 0.05, (3, steps.size))
    panels = {"success": {"peg": (steps, steps / 1e5 + noise), "mega": (steps, steps / 2e5)}, "empty": {}}
    picture = plots.learning_curves(tmp_path / "curves.png", panels, {"success": "success rate"})
    np.testing.assert_array_equal(iio.imread(tmp_path / "curves.png"), picture)
    for red, green, blue in ((31, 119, 180), (255, 127, 14)):
        assert (picture == (red, green, blue)).all(axis=-1).sum() > 100
    assert inked(picture) > 0.03


def test_curves_survive_holes_and_nothing(tmp_path: Path) -> None:
    values = np.array([np.nan, 1.0, np.inf, 2.0])
    plots.learning_curves(
        tmp_path / "a.png", {"loss": {"": (np.arange(4), values)}, "nan": {"": (np.ones(1), np.full(1, np.nan))}}
    )
    plots.learning_curves(tmp_path / "b.png", {})
    assert (tmp_path / "b.png").exists()


def test_goal_map_draws_goals_over_the_background(tmp_path: Path) -> None:
    background = np.full((50, 50, 3), (0, 120, 0), np.uint8)
    random = np.random.default_rng(0)
    goals, steps = random.uniform(0, 11, (60, 2)), np.arange(60) * 1000
    with_goals = plots.goal_map(tmp_path / "a.png", goals, steps, background, EXTENT)
    without = plots.goal_map(tmp_path / "b.png", goals[:0], steps[:0], background, EXTENT)
    green = (without[..., 1] > without[..., 0].astype(int) + 20).mean()
    assert green > 0.3  # the background fills the map
    assert (with_goals[:, :500] != without[:, :500]).any(axis=-1).mean() > 0.01


def test_rollout_map_draws_stars_and_paths(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rollouts = np.cumsum(random.normal(0.1, 0.1, (10, 30, 2)), axis=1) + 2
    picture = plots.rollout_map(tmp_path / "cem.png", rollouts, rollouts[:, -1], np.arange(10.0), None, EXTENT)
    assert inked(picture) > 0.04 and picture.dtype == np.uint8
