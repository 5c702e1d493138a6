"""A user's mistakes are answered before anything is compiled, in a line, with exit code 2."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import pytest
from rich.console import Console

from experiments import curiosity_config
from experiments.cli import main, parse_run
from experiments.config import RunConfig, validate_run
from experiments.curiosity_config import idle_parts
from experiments.host import open_run
from experiments.labels import unused_options
from experiments.options import override
from experiments.presets import PRESETS, preset
from experiments.restored import restore
from peg_jax.core.config import ConfigError
from peg_jax.peg.methods import METHODS
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError

MISTAKES = [
    ("--planner.elite-ratio=2", ["--planner.elite-ratio=2", "at most 1"]),
    ("--planner.kind=mppi", ["--planner.kind=mppi", "cem", "--planner.no-evaluate-only"]),
    ("--agent.achiever.gradient=both", ["--agent.achiever.gradient=both", "--agent.reaching.no-enabled"]),
    ("--planner.candidates=20002", ["--planner.seed-mega=0.5", "10000"]),
    ("--steps=3000000000", ["--steps=3000000000", "at most 2000000000"]),
    ("--planner.elit-ratio=0.1", ["--planner.elit-ratio", "--planner.elite-ratio"]),
    ("--planner.kind=foo", ["'foo'", "--planner.kind", "'cem', 'mppi'"]),
    ("--planner.candidates=many", ["--planner.candidates", "'many'"]),
    ("--agent.imagination.horizon=51", ["--agent.imagination.horizon=51", "50 steps"]),
    ("--num-seeds=0", ["--num-seeds=0", "at least 1"]),
    ("--env-devices=999", ["--env-devices=999", "local devices"]),
    ("--env=point_mase", ["--env=point_mase", "point_maze"]),
    ("--preset=quick", ["--preset=quick", "paper, fast, smoke"]),
    ("--method=magic", ["--method=magic", "random_goals"]),
    ("--steps=10", ["--steps=10", "prefill"]),
    ("--physics=mjx", ["--physics=mjx", "point_maze is computed without a physics engine"]),
    ("--physics=bullet", ["'bullet'", "--physics", "'auto', 'mjx', 'mujoco'"]),
    ("--replay.shuffle", ["--replay.shuffle=True", "nothing in point_maze can be exchanged"]),
    ("--seed", ["--seed"]),
    ("--steps=1e5", ["--steps", "a whole number is wanted"]),
    ("--loop.subgoal-threshold=nan", ["--loop.subgoal-threshold=nan", "it must be a number"]),
    ("--planner.init-mean=1,2", ["--planner.init-mean", "with spaces between them"]),
    ("--replay-from=runs/a --coordinator=auto", ["--replay-from=runs/a", "several processes"]),
    ("--env=maze3d_sparse", ["--env=maze3d_sparse", "episodic_curiosity --scenario=sparse"]),
]


@pytest.mark.parametrize(("argument", "words"), MISTAKES, ids=[argument for argument, _ in MISTAKES])
def test_a_mistake_is_one_clear_line(argument: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse_run(RunConfig, argument.split())
    message = str(error.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_a_place_that_cannot_be_used_is_one_line_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    def refused(_: Sequence[str]) -> int:
        return len(Path("/dev/null/x").read_text())

    with pytest.raises(SystemExit) as left:
        main(refused)
    assert left.value.code == 2
    assert capsys.readouterr().err == "error: /dev/null/x cannot be used: Not a directory; name another place\n"


def test_the_command_exits_with_2_and_no_traceback() -> None:
    command = [sys.executable, "-m", "experiments.peg", "--planner.elite-ratio=2"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": "."}, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --planner.elite-ratio=2 ")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_flags_win_over_them(name: str) -> None:
    config, resuming = parse_run(RunConfig, [f"--preset={name}", "--agent.world-model.deter=24", "--seed=7"])
    assert not resuming
    assert (config.preset, config.agent.world_model.deter, config.seed) == (name, 24, 7)
    assert config.planner.horizon == 25


def test_paper_is_the_published_configuration() -> None:
    config = preset(RunConfig, "paper", "point_maze")
    model, loop = config.agent.world_model, config.loop
    assert (model.deter, model.stoch, model.hidden, model.units, model.encoder_layers) == (200, 50, 200, 400, 3)
    assert (model.kl_free, model.kl_balance, model.decoder_std, model.octaves, model.sine_scale) == (1.0, 0.8, 1, 0, 0)
    assert (config.agent.imagination.horizon, config.agent.imagination.discount) == (15, 0.99)
    assert (config.agent.imagination.starts, config.agent.imagination.hindsight) == (0, 0.0)
    assert (config.agent.disagreement.members, config.agent.distance.negative_factor) == (10, 0.0)
    assert (config.replay.batch, config.replay.length, config.replay.capacity) == (45, 50, 2_000_000)
    assert (loop.num_envs, loop.prefill, loop.pretrain, loop.train_every, loop.updates_per_burst) == (1, 50, 101, 5, 2)
    assert (loop.goal_update_every, loop.go_fraction, loop.subgoal_threshold) == (50, 0.5, 5.0)
    assert (config.planner.kind, config.planner.candidates, config.planner.iterations) == ("cem", 500, 5)
    assert (config.planner.init_mean, config.planner.std_scale, config.planner.final_steps) == ((0.0, 0.0), 4.0, 0)
    rates = [config.agent.world_model.optimizer, config.agent.achiever.actor, config.agent.explorer.critic]
    assert [rate.learning_rate for rate in rates] == [3e-4, 8e-5, 8e-5]


# Per environment: what the published table has where it differs, by the names of the options (peg.md section 9.2).
PUBLISHED = {
    "walker": {
        **{"loop.prefill": 33, "loop.go_fraction": 0.5, "loop.subgoal_threshold": 2.0, "steps": 1_000_000},
        **{"agent.imagination.discount": 0.99, "planner.discount": 0.996, "planner.horizon": 75},
        **{"planner.candidates": 500, "planner.temperature": 2.0, "planner.std_scale": 5.0, "planner.init_mean": ()},
        **{"replay.capacity": 2_000_000, "replay.shuffle": False, "eval_every": 66 * 150},
    },
    "ant_maze": {
        **{"loop.prefill": 5, "loop.go_fraction": 0.3, "loop.subgoal_threshold": 2.0, "steps": 1_000_000},
        **{"agent.imagination.discount": 0.996, "planner.discount": 0.996, "planner.horizon": 150},
        **{"planner.candidates": 500, "planner.temperature": 2.0, "planner.std_scale": 10.0},
        **{"replay.capacity": 2_000_000, "replay.shuffle": False, "eval_every": 40 * 500},
    },
    "block_stack": {
        **{"loop.prefill": 25, "loop.go_fraction": 0.5, "loop.subgoal_threshold": 1.0, "steps": 1_100_000},
        **{"agent.imagination.discount": 0.99, "planner.discount": 0.99, "planner.horizon": 50},
        **{"planner.candidates": 2000, "planner.temperature": 10.0, "planner.std_scale": 0.5, "planner.init_mean": ()},
        **{"replay.capacity": 10_000_000, "replay.shuffle": True, "eval_every": 133 * 150},
    },
}
BODIES = {
    **{"planner.kind": "mppi", "planner.final_steps": 10, "planner.iterations": 5, "eval_repeats": 10},
    **{"agent.achiever.entropy": 1e-5, "agent.explorer.entropy": 1e-5, "agent.distance.negative_factor": 0.1},
    **{"loop.num_envs": 1, "loop.train_every": 5, "loop.updates_per_burst": 2, "loop.goal_update_every": 50},
    **{"replay.batch": 45, "replay.length": 50, "agent.imagination.horizon": 15, "agent.disagreement.members": 10},
}


@pytest.mark.parametrize("env", PUBLISHED)
def test_paper_has_the_published_values_of_every_task(env: str) -> None:
    config, _ = parse_run(RunConfig, [f"--env={env}", "--preset=paper"])
    expected = BODIES | PUBLISHED[env]
    assert {name: attrgetter(name)(config) for name in expected} == expected
    if env == "ant_maze":
        assert len(config.planner.init_mean) == 29 and config.planner.init_mean[:4] == (0.0, 0.0, 0.8199, 0.9951)


@pytest.mark.parametrize("env", PUBLISHED)
@pytest.mark.parametrize("name", PRESETS)
def test_every_task_has_every_method_and_preset(env: str, name: str) -> None:
    for method in METHODS:
        config = preset(RunConfig, name, env, method)
        validate_run(config)
        assert (config.env, config.preset, config.method) == (env, name, method)


@pytest.fixture
def existing(tmp_path: Path) -> Path:
    directory = RunDirectory(tmp_path / "run")
    directory.write_config(
        override(preset(RunConfig, "smoke", "point_maze"), {"seed": 3, "logdir": str(tmp_path / "run")})
    )
    return tmp_path / "run"


def test_an_existing_run_keeps_its_options(existing: Path) -> None:
    config, resuming = parse_run(RunConfig, [f"--logdir={existing}", "--steps=5000"])
    assert resuming
    assert (config.preset, config.seed, config.steps) == ("smoke", 3, 5000)


def test_an_existing_run_refuses_to_change_its_numbers(existing: Path) -> None:
    with pytest.raises(ConfigError, match=r"--agent\.achiever\.actor\.learning-rate=0\.1 cannot change the run"):
        parse_run(RunConfig, [f"--logdir={existing}", "--agent.achiever.actor.learning-rate=0.1"])


def test_a_run_that_goes_on_elsewhere_says_so(existing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, file = RunDirectory(existing).read_config_as(RunConfig), existing / "config.json"
    for began, said in (("cpu", False), ("gpu", True)):
        content = json.loads(file.read_text())
        content["starts"][-1]["backend"] = began
        file.write_text(json.dumps(content))
        with open_run("experiments.peg", config, resuming=True):
            pass
        assert ("the run was on gpu and goes on on cpu" in capsys.readouterr().out) == said


def test_options_for_which_a_method_has_no_use_are_named(existing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = {"planner.candidates": 20, "loop.num_envs": 3}
    for method, unused in (("mega", ["--planner.candidates=20"]), ("peg", []), ("peg_kde", [])):
        usual = preset(RunConfig, "smoke", "point_maze", method)
        found = unused_options(override(usual, changed), usual, METHODS[method].idle)
        assert found == unused
        with open_run("experiments.peg", override(usual, {"logdir": str(existing)}), resuming=False, unused=found):
            pass
        said = capsys.readouterr().out
        assert ("note: mega has no use for --planner.candidates=20" in said) == bool(unused)
    usual = curiosity_config.preset("fast", "sparse", "ppo")
    config = override(usual, {"reachability.offline.epochs": 3, "ppo.num_envs": 8})
    assert unused_options(config, usual, idle_parts("ppo")) == ["--reachability.offline.epochs=3"]


def test_runs_of_another_program_or_of_a_lost_method_are_named(existing: Path) -> None:
    file = existing / "config.json"
    content = json.loads(file.read_text())
    for name, value, said in (
        ("method", "corner", r"--method=corner cannot work: known methods: .* has to be registered"),
        (
            "env",
            "pendulum",
            r"--env=pendulum cannot work: known environments: ant_maze, .*, walker",
        ),
        ("env", "maze3d_sparse", r"episodic_curiosity --scenario=sparse explores it"),
    ):
        file.write_text(json.dumps(content | {"config": content["config"] | {name: value}}))
        with pytest.raises(ConfigError, match=said):
            restore(str(existing), -1, Console())
    with pytest.raises(ConfigError, match=f"it holds runs; name one, such as {existing}"):
        restore(str(existing.parent), -1, Console())
    file.write_text(json.dumps(content | {"config": {"scenario": "sparse", "method": "ppo"}}))
    with pytest.raises(RunError, match=r"is a run of experiments\.episodic_curiosity, which this"):
        parse_run(RunConfig, [f"--logdir={existing}"])


def test_a_damaged_config_is_refused_by_name(existing: Path) -> None:
    content = json.loads((existing / "config.json").read_text())
    content["config"]["planner"]["candidates"] = "lots"
    (existing / "config.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"planner\.candidates"):
        parse_run(RunConfig, [f"--logdir={existing}"])


def test_every_option_has_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["peg", "--help"])
    with pytest.raises(SystemExit) as left:
        parse_run(RunConfig, ["--help"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    lines = [line.strip(" │|") for line in shown.splitlines()]
    options = [i for i, line in enumerate(lines) if re.match(r"--\w", line)]
    assert len(options) > 80
    without = [lines[i] for i in options if "(default" not in lines[i] and not lines[i + 1][:1].isalpha()]
    assert without == []
    assert RunConfig.__doc__ is not None and RunConfig.__doc__.split(".")[0] in shown
