"""Sweeps: which runs they consist of, what a second start leaves alone, and real runs started in three ways."""

import shlex
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from experiments import sweep
from experiments.cli import parse_run
from experiments.config import RunConfig
from experiments.sweep import SweepConfig
from peg_jax.core.config import ConfigError
from peg_jax.run.directory import RunDirectory

QUIET = Console(file=StringIO())


def test_a_grid_is_every_combination() -> None:
    assert sweep.expand(SweepConfig(grid=("method=peg,mega", "planner.discount=0.9,0.99"))) == [
        ("method=peg", "planner.discount=0.9"),
        ("method=peg", "planner.discount=0.99"),
        ("method=mega", "planner.discount=0.9"),
        ("method=mega", "planner.discount=0.99"),
    ]
    assert sweep.expand(SweepConfig()) == [()]


def test_points_are_taken_as_they_are() -> None:
    points = ("method=peg steps=9000", "method=lexa")
    assert sweep.expand(SweepConfig(points=points)) == [("method=peg", "steps=9000"), ("method=lexa",)]


def test_a_run_is_named_after_what_sets_it_apart(tmp_path: Path) -> None:
    options = SweepConfig(fixed="--preset=smoke --steps=700", output=str(tmp_path))
    run = sweep.make_run(options, ("method=lexa",), 3)
    assert run.name == "method=lexa_seed=3"
    assert run.steps == 700
    assert not run.finished
    assert "--seed=3" in run.arguments and "--method=lexa" in run.arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grid", "method"], "option=value"),
        (["--grid", "method=peg", "--points", "method=peg"], "either --grid or --points"),
        (["--points", "method"], "--points=method"),
        (["--search", "planner.discount=0.9:0.99", "--grid", "method=peg"], "takes the place of a grid"),
        (["--grid", "method=pag"], "known methods"),
        (["--grid", "steps=-1"], "--steps=-1"),
        (["--workers=0"], "--workers=0"),
        (["--search", "planner.discount=0.9"], "option=low:high"),
        (["--search", "planner.discount=0.9:0.1"], "the lower end comes first"),
    ],
)
def test_mistakes_are_named_before_anything_runs(arguments: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        sweep.run([*arguments, f"--output={tmp_path}", "--fixed=--preset=smoke"])
    assert not list(tmp_path.glob("*/config.json"))


FIXED = "--preset=smoke --steps=400 --eval-every=200 --method=random_goals"


def test_a_second_start_skips_what_is_finished_and_extends_what_is_not(tmp_path: Path) -> None:
    arguments = [f"--output={tmp_path}"]
    assert sweep.run([*arguments, f"--fixed={FIXED}"]) == 0
    first = (tmp_path / "seed=0" / "metrics.jsonl").read_text()
    written = (tmp_path / "seed=0" / "config.json").stat().st_mtime_ns
    assert sweep.run([*arguments, f"--fixed={FIXED}"]) == 0
    assert (tmp_path / "seed=0" / "config.json").stat().st_mtime_ns == written
    assert sweep.run([*arguments, f"--fixed={FIXED} --steps=600"]) == 0
    longer = (tmp_path / "seed=0" / "metrics.jsonl").read_text()
    assert longer.startswith(first)
    assert len(longer) > len(first)


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config, _ = parse_run(RunConfig, [*shlex.split(FIXED), f"--logdir={tmp_path / 'seed=0'}"])
    RunDirectory(config.logdir).write_config(config)
    (tmp_path / "seed=0" / "metrics.jsonl").mkdir()  # where the run wants to write a file,
    (tmp_path / "seed=0" / "metrics.discarded.jsonl" / "full").mkdir(parents=True)  # and cannot set it aside
    assert sweep.run(["--seeds", "0", "1", f"--output={tmp_path}", f"--fixed={FIXED}", "--workers=2"]) == 1
    said = capsys.readouterr().out
    assert "seed=0: exit code 74" in said and "seed=1: done" in said
    assert "metrics.jsonl" in (tmp_path / "seed=0.log").read_text()


@pytest.mark.slow
def test_submitit_runs_the_same_sweep_as_a_job_array(tmp_path: Path) -> None:
    options = SweepConfig(fixed=FIXED, output=str(tmp_path), launcher="local", seeds=(0,))
    run = sweep.make_run(options, (), 0)
    assert sweep.execute([run], options, QUIET) == {"seed=0": 0}
    assert run.finished
    assert 0.0 <= sweep.final_success(run) <= 1.0


@pytest.mark.slow
def test_a_search_scores_its_trials_by_their_success_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    arguments = ["--search", "agent.imagination.discount=0.9:0.99", f"--output={tmp_path}", f"--fixed={FIXED}"]
    assert sweep.run([*arguments, "--trials=1"]) == 0
    assert len(list(tmp_path.glob("*/config.json"))) == 1
    assert sweep.run([*arguments, "--trials=1"]) == 0
    assert len(list(tmp_path.glob("*/config.json"))) == 1
    assert sweep.run([*arguments, "--trials=2"]) == 0
    assert len(list(tmp_path.glob("*/config.json"))) == 2
