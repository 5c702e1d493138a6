"""Methods side by side: what is averaged over what, and when there is nothing to compare."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.evidence_page import write_page
from experiments.evidence_summary import explored, side_by_side
from experiments.intervals import interval
from peg_jax.run.files import RunError


def seed(number: int, steps: list[int], far: list[float], near: float) -> dict[str, Any]:
    table = np.column_stack([far, np.full(len(far), near)])
    return {"seed": number, "env_steps": steps, "success": table.tolist()}


def test_methods_are_compared_over_the_evaluations_that_all_seeds_have() -> None:
    steps = [10, 20, 30, 40, 50]
    groups = {
        "quick": {"seeds": [seed(i, [*steps, 60], [0.0, 0.5, 1.0, 1.0, 1.0, 0.0], 1.0) for i in (0, 1)]},
        "slow": {"seeds": [seed(0, steps, [0.0, 0.0, 0.0, 0.0, 0.4], 0.8)]},
    }
    lines = side_by_side(groups)
    # (0 + 0.5 + 3) / 5 = 0.7 toward goal 0, 3.5 / 4 of it late, with the near goal 0.85; equal seeds leave no doubt.
    assert "| quick | 2 | 0.85 (0.85, 0.85) | 0.70 (0.70, 0.70) | 0.88 (0.88, 0.88) | 1.00, 30 |  |" in lines
    assert "| slow | 1 | 0.44 | 0.08 | 0.10 | 0.00 |  |" in lines
    assert any("50 steps" in line for line in lines)


def test_intervals_are_over_seeds() -> None:
    groups = {
        "apart": {"seeds": [seed(i, [10], [float(i)], 0.5) for i in (0, 1)]},
        "other": {"seeds": [seed(0, [10], [0.0], 0.5)]},
    }
    assert "| apart | 2 | 0.50 (0.25, 0.75) | 0.50 (0.00, 1.00) | 0.50 (0.00, 1.00) | 0.50, 10 |  |" in side_by_side(
        groups
    )


def test_a_goal_counts_as_reached_when_half_of_the_seeds_have_reached_it() -> None:
    steps = [10, 20, 30]
    far = ([0.0, 0.9, 1.0], [1.0, 0.0, 0.0], [0.0, 0.8, 0.9], [0.0, 0.0, 0.0])
    seeds = [seed(i, steps, row, 0.0) for i, row in enumerate(far)]
    some, few = side_by_side({"some": {"seeds": seeds}, "few": {"seeds": [seeds[3], seeds[3], seeds[0]]}})[-3:-1]
    assert "| 0.75, 20 |" in some  # after 10, 20 and 30 steps, and never
    assert "| 0.33 |" in few


def test_distances_and_a_control_stand_beside_them() -> None:
    steps = [10, 20, 30, 40, 50]
    near = seed(0, steps, [0.0] * 5, 0.5) | {"closest": [[9.0, 9.0], [4.0, 2.0], [4.0, 2.0], [4.0, 2.0], [4.0, 0.0]]}
    control = {"env": "point_maze", "episodes": 32, "success": [0.0, 0.25], "closest": [8.0, 3.0]}
    lines = side_by_side({"a": {"seeds": [near]}, "b": {"seeds": [seed(0, steps, [0.0] * 5, 0.0)]}}, control)
    assert "| a | 1 | 0.25 | 0.00 | 0.00 | 0.00 | 2.75 |" in lines  # the last four evaluations
    assert "| b | 1 | 0.00 | 0.00 | 0.00 | 0.00 |  |" in lines
    assert "| random_policy |  | 0.12 | 0.00 | 0.00 |  | 5.50 |" in lines


def test_kinds_of_goals_and_an_environments_own_metrics_have_a_table() -> None:
    named = {"lift": [0], "two": [1, 2], "three": [3]}
    success, high = [[1.0, 0.5, 0.7, 0.2]] * 2, [[1.0, 0.0, 0.0, 0.0]] * 2
    one = {"seed": 0, "env_steps": [10, 20], "success": success, "high": high}
    groups = {name: {"goal_groups": named, "seeds": [one]} for name in ("a", "b")}
    control = {"success": [0.0, 0.0, 0.0, 0.4], "high": [0.0] * 4, "closest": [9.0] * 4, "env": "block_stack"}
    lines = side_by_side(groups, control)
    assert "| method | seeds | all goals | three | three, late | three at 0.9 | nearest, late |" in lines
    assert "| a | 1 | 0.60 | 0.20 | 0.20 | 0.00 |  |" in lines
    assert "| random_policy |  | 0.10 | 0.40 | 0.40 |  | 9.00 |" in lines
    assert "| method | lift | two | three | high |" in lines
    assert "| a | 1.00 | 0.60 | 0.20 | 0.25 |" in lines
    assert "| random_policy | 0.00 | 0.00 | 0.40 | 0.00 |" in lines


def test_what_was_explored_is_tabulated_by_method() -> None:
    def one(method: str, far: list[float]) -> dict[str, Any]:
        return {"method": method, "visited": [4.0, 6.0], "goals": [10.0, 12.0], "far": far}

    lines = explored(
        {"a_0": one("a", [0.0, 0.2, 0.4, 0.4, 0.4]), "a_1": one("a", [0.0] * 5), "b_0": one("b", [1.0] * 5)}
    )
    assert "| a | 2 | 5.00 (5.00, 5.00) | 11.00 (11.00, 11.00) | 0.14 (0.00, 0.28) | 0.17 (0.00, 0.35) |" in lines
    assert "| b | 1 | 5.00 | 11.00 | 1.00 | 1.00 |" in lines


def test_a_single_method_or_other_steps_leave_nothing_to_compare() -> None:
    one = {"a": {"seeds": [seed(0, [10], [1.0], 1.0)]}}
    assert side_by_side(one) == []
    assert side_by_side(one | {"b": {"seeds": [seed(0, [20], [1.0], 1.0)]}}) == []


def test_intervals_are_the_same_each_time() -> None:
    scores = np.random.default_rng(0).uniform(size=(5, 1, 1))
    drawn, bounds = [], []
    for start in (1, 2):
        np.random.seed(start)
        bounds.append(interval(scores, "mean", 100)[1])
        drawn.append(np.random.uniform())
    np.testing.assert_array_equal(*bounds)
    assert drawn[0] != drawn[1]  # numpy's global numbers go on as they would have


def test_a_control_of_another_environment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fast_peg.json").write_text(json.dumps({"env": "walker", "seeds": [seed(0, [10], [1.0], 1.0)]}))
    (tmp_path / "random_policy.json").write_text(json.dumps({"env": "point_maze"}))
    with pytest.raises(RunError, match="has runs of walker beside a control in another environment"):
        write_page(tmp_path)


def test_one_folder_is_of_one_environment_and_of_goals(tmp_path: Path) -> None:
    walks, reaches = ({"env": name, "seeds": [seed(0, [10], [1.0], 1.0)]} for name in ("walker", "point_maze"))
    for name, content in (("a", walks), ("b", reaches)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="holds evidence of point_maze, walker; choose another --output"):
        write_page(tmp_path)
    mazes = tmp_path / "mazes"
    mazes.mkdir()
    (mazes / "ec.json").write_text(json.dumps({"scenario": "noreward", "seeds": [{"seed": 0}]}))
    with pytest.raises(RunError, match="holds no evidence"):
        write_page(mazes)
