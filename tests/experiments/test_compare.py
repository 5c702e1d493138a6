"""Comparing methods: run directories with known results go in, figures that can be checked by hand come out."""

import json
from io import StringIO
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from rich.console import Console

from experiments import compare, evidence, intervals
from experiments.compare import CompareConfig
from experiments.programs import final_score
from experiments.success import SUCCESS_SERIES
from peg_jax.core.config import ConfigError
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError
from tests.experiments.written import GOALS, write_explorer, write_run

CONTROL = "reachability.control"


def constant(*levels: float) -> np.ndarray:
    return np.broadcast_to(np.array(levels)[:, None], (3, GOALS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEG: 0.2, 0.5, then 0.9 and 1.0 in its two seeds; random goals 0.1 and 0.3 throughout; P2E nothing."""
    root = tmp_path_factory.mktemp("study")
    write_run(root / "peg0", "peg", 0, constant(0.2, 0.5, 0.9))
    write_run(root / "peg1", "peg", 1, constant(0.2, 0.5, 1.0))
    write_run(root / "random0", "random_goals", 0, constant(0.1, 0.1, 0.1))
    write_run(root / "random1", "random_goals", 1, constant(0.3, 0.3, 0.3))
    write_run(root / "p2e0", "p2e", 0, constant(0.0, 0.0, 0.0))
    (root / "foreign").mkdir()
    (root / "foreign" / "thesis.txt").write_text("not a run")
    (root / "half").mkdir()
    (root / "half" / "config.json").write_text((root / "peg0" / "config.json").read_text())
    return root


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict:
    scores = compare.gather(compare.find_runs([str(folder)], Console(file=StringIO())), "auto")
    assert list(scores) == ["point_maze"]
    return compare.summarise(scores["point_maze"], CompareConfig(resamples=200))


def test_what_is_no_finished_run_is_named_and_skipped(folder: Path) -> None:
    said = StringIO()
    runs = compare.find_runs([str(folder)], Console(file=said, width=400))
    assert [run.directory.path.name for run in runs] == ["p2e0", "peg0", "peg1", "random0", "random1"]
    assert sorted(Path(line.split(":")[0].split()[1]).name for line in said.getvalue().splitlines()) == [
        "foreign",
        "half",
    ]


def test_figures_of_a_method(summary: dict) -> None:
    peg = summary["methods"]["peg"]
    assert peg["seeds"] == 2
    assert peg["final"] == pytest.approx(0.95)
    assert peg["final_interval"] == pytest.approx([0.9, 1.0])  # of two seeds, each with all its goals
    assert peg["area_under_curve"] == pytest.approx((0.2 + 0.5 + 0.95) / 3)
    assert peg["per_goal"] == [0.95] * GOALS
    assert peg["steps_to_solve_far_goal"] == 3000
    assert summary["methods"]["random_goals"]["steps_to_solve_far_goal"] is None


def test_what_cannot_be_compared_or_would_count_twice_is_named(folder: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "a", "peg", 0, constant(0, 0, 1), steps=5000)
    write_run(tmp_path / "b", "peg", 0, constant(1, 1, 1))
    write_run(tmp_path / "e", "peg", 1, constant(1, 1, 1))  # takes the place of c and d
    for name, lost in (("c", "goals"), ("d", "timing")):
        write_run(tmp_path / name, "peg", 1, constant(1, 1, 1))
        (tmp_path / name / f"{lost}.jsonl").write_text("")
    (tmp_path / "c" / "goals.jsonl").unlink()
    said = StringIO()
    runs = compare.find_runs([str(tmp_path)], Console(file=said, width=400))
    assert [run.directory.path.name for run in runs] == ["a", "e"]
    first, *skipped = said.getvalue().splitlines()
    assert first.endswith("a ends at 3,000 of 5,000 steps, and so does its method")
    assert ["seed 0 of peg was in a run before" in line for line in skipped] == [True, False, False]
    assert "goals.jsonl" in skipped[1] and "no evaluation of which the time is known" in skipped[2]


def test_an_environment_without_cells_is_compared_by_its_success(tmp_path: Path) -> None:
    success = np.array([[0.0, 0.5, 0.5, 0.0], [0.5] * 4, [1.0, 0.5, 0.5, 1.0]])
    write_run(tmp_path / "walks", "peg", 0, success, env="walker")
    runs = compare.find_runs([str(tmp_path)], Console(file=StringIO()))
    summary = compare.summarise(compare.gather(runs, "auto")["walker"], CompareConfig(resamples=20))
    assert (summary["metric"], summary["methods"]["peg"]["per_goal"]) == ("success", [1.0, 0.5, 0.5, 1.0])
    assert final_score(SUCCESS_SERIES, RunDirectory(tmp_path / "walks")) == 0.75
    assert evidence.run(["--runs", str(tmp_path / "walks"), f"--output={tmp_path / 'page'}"]) == 0
    page = (tmp_path / "page" / "README.md").read_text()
    assert "| 0 | 3,000 | 300 | 0.5 | 0.75 | 0.75 | never | 1.0 | 0.5 | 0.5 | 1.0 |" in page
    with pytest.raises(RunError, match=r"--metric=success_cell cannot work: .*walks has only success"):
        compare.gather(runs, "success_cell")


def test_probability_that_the_reference_is_better(summary: dict) -> None:
    assert "reference_is_better" not in summary["methods"]["peg"]
    assert summary["methods"]["random_goals"]["reference_is_better"] == 1.0
    chance, _ = intervals.probability_of_improvement(np.array([[0.2], [0.4]]), np.array([[0.2], [0.3]]), 10)
    assert chance == pytest.approx((0.5 + 0.0 + 1.0 + 1.0) / 4)  # a tie is half a win


def test_the_reference_is_found_by_its_name_alone_if_that_is_clear() -> None:
    assert compare.reference_among(["mega", "peg"], "") == "peg"
    assert compare.reference_among(["mega", "peg --preset=smoke"], "") == "peg --preset=smoke"
    assert compare.reference_among(["mega", "lexa"], "") is None
    assert compare.reference_among(["mega --planner.candidates=5", "peg"], "mega") == "mega --planner.candidates=5"
    several = ["peg --seed-mega=0", "peg --seed-mega=1"]
    assert compare.reference_among(several, "") is None
    for wanted, methods in (("pegg", ["mega", "peg"]), ("peg", several)):
        with pytest.raises(ConfigError, match=r"--reference=pegg? cannot work: name one of these: (mega, )?peg"):
            compare.reference_among(methods, wanted)


def test_iqm_leaves_the_outer_quarters_out() -> None:
    values = np.array([0.0, 0.4, 0.6, 1.0]).reshape(4, 1, 1)
    assert intervals.aggregate("iqm", values) == pytest.approx(0.5)
    skewed = np.array([0.0, 0.4, 0.4, 1.0]).reshape(4, 1, 1)
    assert intervals.aggregate("iqm", skewed) == pytest.approx(0.4)
    assert intervals.aggregate("mean", skewed) == pytest.approx(0.45)


def test_other_options_make_another_method(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "peg", 0, constant(0, 0, 0))
    write_run(tmp_path / "b", "peg", 1, constant(1, 1, 1), **{"loop.random_explore": 1.0, "steps": 5})
    runs = compare.find_runs([str(tmp_path)], Console(file=StringIO()))
    assert set(compare.gather(runs, "success")["point_maze"]) == {"peg", "peg --loop.random-explore=1.0"}


def test_the_command_writes_pictures_a_page_and_a_table(folder: Path, tmp_path: Path) -> None:
    assert compare.run(["--runs", str(folder), f"--output={tmp_path}", "--resamples=50"]) == 0
    out = tmp_path / "point_maze"
    for name in ("curves", "final", "goals", "chosen", "improvement"):
        assert iio.imread(out / f"{name}.png").std() > 5, name
        assert (out / f"{name}.svg").read_text().rstrip().endswith("</svg>")
    page = (out / "README.md").read_text()
    assert "| peg | 2 | 0.95 " in page
    assert json.loads((out / "comparison.json").read_text())["env_steps"] == 3000


def test_runs_of_curiosity_make_a_table_of_methods_by_scenarios(tmp_path: Path) -> None:
    """Coverage where nothing is paid, else reward; multiples of PPO in the same mazes; seeds of a method together."""
    runs = tmp_path / "runs"
    for seed in (0, 1):
        write_explorer(runs / f"ppo{seed}", "ppo", "noreward", seed, np.array([9, 10, 19 + 2 * seed]))
        write_explorer(runs / f"eco{seed}", "ppo_plus_eco", "noreward", seed, np.array([9, 20, 29 + 2 * seed]))
    write_explorer(runs / "control", "ppo_plus_eco", "noreward", 0, np.array([9, 9, 22]), **{CONTROL: "untrained"})
    for seed, theirs in ((0, "runs/ec"), (1, "runs/ec_1")):
        borrowed = {"r_network": theirs}
        write_explorer(runs / f"ec{seed}", "ppo_plus_ec", "noreward", seed, np.array([9, 9, 30 + seed]), **borrowed)
    widths = {"reachability.network.widths": (8, 8, 8)}
    write_explorer(runs / "narrow", "ppo_plus_eco", "noreward", 0, np.array([9, 9, 24]), **widths)
    write_explorer(runs / "small", "ppo_plus_eco", "sparse", 0, np.array([0, 5, 8]), **{"maze.size": 9})
    write_run(runs / "peg0", "peg", 0, constant(0.2, 0.5, 0.9))
    out = tmp_path / "out"
    assert compare.run(["--runs", str(runs), f"--output={out}", "--resamples=50"]) == 0
    figures = json.loads((out / "curiosity.json").read_text())
    methods = figures["noreward (coverage)"]["methods"]
    assert methods["ppo"]["scores"] == [19, 21] and methods["ppo_plus_eco"]["scores"] == [29, 31]
    assert methods["ppo_plus_eco"]["times_reference"] == pytest.approx(1.5)
    assert methods["ppo_plus_eco --reachability.control=untrained"]["times_reference"] == pytest.approx(1.1)
    assert methods["ppo_plus_ec --r-network=runs/ec"]["scores"] == [30, 31]
    assert methods["ppo_plus_eco --reachability.network.widths=8,8,8"]["times_reference"] == pytest.approx(1.2)
    assert "times_reference" not in figures["sparse (reward)"]["methods"]["ppo_plus_eco --maze.size=9"]
    page = (out / "curiosity.md").read_text()
    assert "| method | noreward (coverage) | sparse (reward) |" in page
    assert "| ppo_plus_eco | 30.0, 29.0 to 31.0 (x1.50, n=2) |  |" in page
    assert iio.imread(out / "curiosity.png").std() > 5
    assert (out / "point_maze" / "README.md").exists()


def test_goal_maps_show_the_dimensions_that_the_environment_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "walks", "peg", 0, np.zeros((3, 4)), env="walker")
    goals = [[0.1 * i for i in range(9)]] * 2
    (tmp_path / "walks" / "goals.jsonl").write_text(json.dumps({"step": 10, "goals": goals}) + "\n")
    drawn: dict[str, np.ndarray] = {}
    monkeypatch.setattr(compare.compare_plots, "goal_maps", lambda path, chosen, task: drawn.update(peg=chosen["peg"]))
    assert compare.run(["--runs", str(tmp_path), f"--output={tmp_path / 'out'}", "--resamples=5"]) == 0
    np.testing.assert_allclose(drawn["peg"][0], [[0.1, 0.0]] * 2)  # along the way, height


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no runs given: name run directories"):
        compare.run([])
    with pytest.raises(ConfigError, match="no such directory"):
        compare.run(["--runs", str(tmp_path / "nowhere")])
    with pytest.raises(RunError, match="no run with an evaluation"):
        compare.run(["--runs", str(tmp_path)])
    write_run(tmp_path / "peg0", "peg", 0, constant(0.2, 0.5, 0.9))
    with pytest.raises(ConfigError, match="--far-goal=11 cannot work: point_maze has evaluation goals 0 to 10"):
        compare.run(["--runs", str(tmp_path), f"--output={tmp_path / 'out'}", "--far-goal=11"])
