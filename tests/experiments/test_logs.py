"""The goals and times of a run: written, read, edited by hand."""

from pathlib import Path

import numpy as np
import pytest

from experiments.logs import GOALS, TIMING, GoalLog, WallClock, read_go_steps, read_goals, read_wall_seconds
from peg_jax.run.files import RunError


def test_goals_and_phases_come_back(tmp_path: Path) -> None:
    log = GoalLog(tmp_path, None)
    goals = np.array([[[1.0, 2.0], [np.nan, np.nan]], [[3.0, 4.0], [5.0, 6.0]]])
    log.write(np.array([10, 20]), goals, np.array([[7, 0], [8, 9]]))
    steps, read = read_goals(tmp_path / GOALS)
    np.testing.assert_array_equal(steps, [10, 20, 20])
    np.testing.assert_array_equal(read, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(read_go_steps(tmp_path / GOALS, 5, num_envs=2), [7, 0, 8, 9])
    np.testing.assert_array_equal(read_go_steps(tmp_path / GOALS, 1, num_envs=2), [8, 9])


def test_lines_of_older_versions_have_no_phases(tmp_path: Path) -> None:
    (tmp_path / GOALS).write_text('{"step": 1, "goals": [[0, 0]]}\n{"step": 2, "goals": [], "go_steps": [4]}\n')
    assert read_go_steps(tmp_path / GOALS, 9, num_envs=1).tolist() == [4]


@pytest.mark.parametrize("line", ['{"step": 1}', '{"step": 1, "goals": "x"}', '{"step": 1, "goals": [[1], [1, 2]]}'])
def test_goals_edited_by_hand_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / GOALS).write_text(line + "\n")
    with pytest.raises(RunError, match=r"goals\.jsonl has lines without goals"):
        read_goals(tmp_path / GOALS)


def test_the_clock_goes_on_where_it_stopped(tmp_path: Path) -> None:
    WallClock(tmp_path, None).write(10, 1.0, 2.0)
    (tmp_path / TIMING).write_text('{"step": 10, "wall_seconds": 100.0}\n{"step": 20, "wall_seconds": 200.0}\n')
    WallClock(tmp_path, 10).write(20, 1.0, 2.0, evaluation_seconds=3.0)
    assert '"evaluation_seconds": 3.0' in (tmp_path / TIMING).read_text()
    seconds = read_wall_seconds(tmp_path / TIMING)
    assert seconds[10] == 100.0 and 100.0 <= seconds[20] < 150.0
    (tmp_path / TIMING).write_text('{"step": 10, "wall_seconds": "long"}\n')
    with pytest.raises(RunError, match=r"timing\.jsonl has lines without seconds"):
        WallClock(tmp_path, 10)
