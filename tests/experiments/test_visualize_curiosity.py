"""Videos of an episode: what is on them, told from pixels, and mistakes."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from experiments.curiosity_config import run_task
from experiments.curiosity_pictures import BAR_HEIGHT, CHART_HEIGHT, PAID, UNPAID, Watched, draw_watched
from experiments.visualize_curiosity import act_as, run
from peg_jax.core.config import ConfigError
from peg_jax.run.media import CAPTION_HEIGHT
from tests.experiments.test_curiosity_cli import parse

VIEW, MAP = 120, 130  # both are enlarged twice


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Three of ten steps; the first half pays. View and map are of one colour each."""
    path = tmp_path_factory.mktemp("watched") / "episode"
    watched = Watched(
        title="policy",
        bonus=np.repeat([0.4, -0.4], 5),
        similarity=np.repeat([0.1, 0.9], 5),
        cells=np.arange(10),
        remembered=np.arange(10),
        times=np.array([0, 4, 9]),
        view=np.full((3, VIEW, VIEW, 3), (10, 20, 200), np.uint8),
        map=np.full((3, MAP, MAP, 3), (200, 20, 10), np.uint8),
    )
    files = draw_watched(path, watched)
    assert [file.suffix for file in files][:2] == [".png", ".gif"]
    assert iio.imread(files[0]).std() > 5
    return iio.imread(files[1])[..., :3].astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(pixels - np.array(colour)).max(axis=-1) < 40


def test_the_view_and_the_map_lie_beside_each_other(frames: np.ndarray) -> None:
    panels = frames[:, CAPTION_HEIGHT:-CHART_HEIGHT]
    left, right = np.array_split(panels, 2, axis=2)
    assert near(left, (10, 20, 200)).sum() == pytest.approx(3 * (2 * VIEW) ** 2, rel=0.02)
    assert near(right, (200, 20, 10)).sum() == pytest.approx(3 * (2 * MAP) ** 2, rel=0.02)


def test_the_bar_is_green_where_a_step_pays(frames: np.ndarray) -> None:
    panels = frames[:, CAPTION_HEIGHT:-CHART_HEIGHT, : 2 * VIEW]
    bars = [[near(frame, colour).sum() for colour in (PAID, UNPAID)] for frame in panels]
    full = BAR_HEIGHT * 2 * VIEW
    assert [green > 0.9 * full for green, _ in bars] == [True, True, False]
    assert [red > 0.9 * full for _, red in bars] == [False, False, True]


def test_the_curves_are_drawn_and_a_line_moves_over_them(frames: np.ndarray) -> None:
    charts = frames[:, -CHART_HEIGHT:]
    for colour in ((31, 119, 180), (255, 127, 14)):  # bonus and similarity
        assert all(near(chart, colour).sum() > 100 for chart in charts)
    line = [np.flatnonzero(near(chart, (20, 20, 20)).mean(axis=0) > 0.9) for chart in charts]
    assert all(len(columns) == 1 for columns in line)
    first, second, third = (int(columns[0]) for columns in line)
    assert (second - first) / (third - first) == pytest.approx(4 / 9, abs=0.02)
    assert near(frames[:, :CAPTION_HEIGHT], (0, 0, 0)).sum() > 100


def test_a_maze_has_an_action_for_standing_still_and_one_for_firing() -> None:
    config, _ = parse("--preset=smoke", "--scenario=noreward")
    still, _ = act_as(config, run_task(config), "nothing", None)  # type: ignore[arg-type]
    assert still.actions == 10 and still.env.actions[9] == "idle"  # type: ignore[attr-defined]
    task, act = act_as(config, run_task(config), "fire", None)  # type: ignore[arg-type]
    assert act(np.zeros((4, 2)), None).tolist() == [task.env.actions.index("fire")] * 4  # type: ignore[arg-type, attr-defined]


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name the directory of a run"):
        run([])
    with pytest.raises(ConfigError, match="there is no run"):
        run([f"--logdir={tmp_path}"])
    with pytest.raises(ConfigError, match="--steps=-1"):
        run([f"--logdir={tmp_path}", "--steps=-1"])
    config, _ = parse("--preset=smoke", "--scenario=norewardnofire")
    with pytest.raises(ConfigError, match="norewardnofire has no action fire"):
        act_as(config, run_task(config), "fire", None)  # type: ignore[arg-type]
