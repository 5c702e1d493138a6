"""Sweeps: which runs they consist of, what a second start leaves alone, and real runs started in three ways."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from experiments import sweep, sweep_runs, workers
from experiments.config import RunConfig
from experiments.costs import measured_speeds
from experiments.ranges import parse_range
from experiments.sweep_runs import Run, SweepConfig
from peg_jax.core.config import ConfigError
from peg_jax.run.config_json import encode, flatten
from peg_jax.run.lock import RunLock
from peg_jax.run.signals import StoppedError
from tests.experiments.pages import ROOT
from tests.experiments.processes import ENVIRONMENT
from tests.experiments.written import write_explorer, write_run


def test_a_grid_is_every_combination() -> None:
    assert sweep_runs.expand(SweepConfig(grid=("method=peg,mega", "planner.discount=0.9,0.99"))) == [
        ("method=peg", "planner.discount=0.9"),
        ("method=peg", "planner.discount=0.99"),
        ("method=mega", "planner.discount=0.9"),
        ("method=mega", "planner.discount=0.99"),
    ]
    assert sweep_runs.expand(SweepConfig()) == [()]


def test_points_are_taken_as_they_are() -> None:
    points = ("method=peg steps=9000", "method=lexa")
    assert sweep_runs.expand(SweepConfig(points=points)) == [("method=peg", "steps=9000"), ("method=lexa",)]


def test_a_run_is_named_after_what_sets_it_apart(tmp_path: Path) -> None:
    options = SweepConfig(fixed="--preset=smoke --steps=700", output=str(tmp_path))
    run = sweep_runs.make_run(options, ("method=lexa",), 3)
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
        (["--search", "planner.discount=0.9:0.99:exp"], "option=low:high:log"),
        (["--search", "planner.discount=0.9:0.1"], "the lower end comes first"),
        (["--search", "planner.discount=0:1:log"], "begins above 0"),
        (["--search", "planner.discount=0.9:1.5"], "--planner.discount=1.5"),  # neither end can be left to a late trial
        (["--search", "planner.candidates=10.5:20"], "planner.candidates takes whole numbers"),
        (["--search", "method=peg,pag"], "known methods"),
        (["--search", "planner.discount=0.9:0.99", "--dry-run"], "--dry-run"),
        (["--dry-run", "--measured", "nowhere"], "--measured=nowhere"),
        (["--program=episodic_curiosity", "--grid", "method=peg"], "known methods: ppo"),
        (["--grid", "seed=1,2"], "--grid=seed=1,2 cannot work: name seeds by --seeds"),
        (["--points", "logdir=runs/x"], "name the folder of all runs by --output"),
        (["--search", "seed=0:3"], "name seeds by --seeds"),
        (["--grid", "method=peg", "method=mega"], "method is there already"),
        (["--grid", "method=peg,peg"], "it would be run twice"),
        (["--grid", "num-seeds=2", "--seeds", "0", "1"], "seeds 0 and 1 are in one run with --num-seeds=2"),
        (["--seeds", "0", "0"], "name each seed once"),
        (["--points", "method='peg"], "no closing quotation"),
        (["--search", "planner.discount=0.9:0.99", "--trials=0"], "--trials=0"),
        (["--slurm=timeout_min=5"], "it wants --launcher=slurm"),
        (["--launcher=slurm"], "there is no sbatch here"),
        (["--launcher=local", "--slurm=foo"], "an entry is parameter=value"),
        (["--launcher=local", "--slurm=foo=1"], "--slurm=foo=1 cannot work"),
    ],
)
def test_mistakes_are_named_before_anything_runs(arguments: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        sweep.run([*arguments, f"--output={tmp_path}", "--fixed=--preset=smoke"])
    assert not list(tmp_path.glob("*/config.json"))


@pytest.mark.parametrize(
    ("fixed", "said"),
    [("--seed=3", "name seeds by --seeds"), ("preset=smoke", "options have dashes"), ("--preset='smoke", "quotation")],
)
def test_what_all_runs_share_has_dashes_and_no_seed(fixed: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        sweep.run([f"--output={tmp_path}", f"--fixed={fixed}"])


def test_options_of_several_numbers_flags_and_long_names(tmp_path: Path) -> None:
    options = SweepConfig(fixed="--preset=smoke", output=str(tmp_path))
    several = sweep_runs.make_run(options, ("planner.init-mean=1 2", "planner.evaluate-only=false"), 0)
    assert isinstance(several.config, RunConfig) and several.config.planner.init_mean == (1.0, 2.0)
    assert not several.config.planner.evaluate_only
    assert several.name == "planner.init-mean=1+2_planner.evaluate-only=false_seed=0"
    long = [f"agent.{part}.optimizer.learning-rate=0.001" for part in ("world-model", "distance", "disagreement")]
    long += ["agent.achiever.critic.learning-rate=0.001", "agent.explorer.critic.learning-rate=0.001"]
    names = {sweep_runs.make_run(options, long, seed).name for seed in (0, 1)}
    assert len(names) == 2 and max(map(len, names)) == 200


SLOW_TO_SAVE = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), pathlib.Path(sys.argv[1]).write_text("saved"), sys.exit(75)))
pathlib.Path(sys.argv[1]).write_text("began")
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_lets_its_runs_save_and_starts_no_more(number: int, tmp_path: Path) -> None:
    class Slow(Run):
        def start(self) -> subprocess.Popen:
            return subprocess.Popen([sys.executable, "-c", SLOW_TO_SAVE, str(self.logdir)])

    runs = [Slow(str(i), tmp_path / str(i), (), RunConfig()) for i in range(3)]
    ended: list[tuple[str, int]] = []

    def stop() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and not all(
            (tmp_path / str(i)).exists() and (tmp_path / str(i)).read_text() for i in range(2)
        ):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(StoppedError, match="1 run not begun; the same command goes on") as stopped:
        workers.run_here(runs, 2, lambda run, code: ended.append((run.name, code)))
    assert sorted(ended) == [("0", 75), ("1", 75)]
    assert [(tmp_path / str(i)).read_text() for i in range(2)] == ["saved", "saved"]
    assert not (tmp_path / "2").exists()
    assert stopped.value.exit_code == (130 if number == signal.SIGINT else 75)


def test_a_dry_run_tells_hours_and_memory_and_starts_nothing(tmp_path: Path) -> None:
    """Speeds come from the most alike: a run of the method for EC, which trained its R-network for 360 s before, and a
    file of measurements for PPO. A run of PEG says nothing.
    """
    study, measured = tmp_path / "study", tmp_path / "measured"
    write_explorer(measured / "ec", "ppo_plus_ec", "noreward", 0, np.zeros(3), preset_name="smoke")
    (measured / "ec" / "r_network").mkdir()
    (measured / "ec" / "r_network" / "timing.jsonl").write_text('{"step": 8, "wall_seconds": 360}\n')
    write_run(measured / "peg", "peg", 0, np.zeros((3, 11)))
    file = tmp_path / "bench.json"
    options = {"preset": "smoke", "method": "ppo", "scenario": "noreward"}
    file.write_text(json.dumps({"options": options, "results": [{"train": {"frames_per_second": 50}}]}))
    code, said = start(
        *("--program=episodic_curiosity", "--grid", "scenario=noreward", "method=ppo,ppo_plus_ec", "--dry-run"),
        *("--seeds", "0", "1", "--fixed=--preset=smoke --steps=360000", f"--output={study}"),
        *("--measured", str(measured), str(file)),
    )
    assert code == 0 and not study.exists()
    rows = {line.split("│")[1].strip(): line.split("│")[2:] for line in said.splitlines() if "seed=" in line}
    assert len(rows) == 4
    ppo, ec = (rows[f"scenario=noreward_method={method}_seed=1"] for method in ("ppo", "ppo_plus_ec"))
    assert [cell.strip() for cell in (ppo[0], ppo[2], ppo[3])] == ["360,000", "2.00", "50"]
    assert [cell.strip() for cell in (ec[2], ec[3])] == ["1.10", "100"]  # 360,000 / 100 + 360 seconds
    assert "iB" in ppo[1] and "iB" in ec[1] and ppo[1] != ec[1]
    assert "4 runs, 6.2 device-hours" in said
    assert "1 at a time" in said
    _, said = start("--program=episodic_curiosity", "--fixed=--preset=smoke", f"--output={study}", "--dry-run")
    assert "0.0 device-hours, without 1 run of unknown speed" in said


def test_a_warning_that_time_ends_reaches_the_run_which_may_save() -> None:
    saves = "import signal, sys, time; signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75)); print(flush=True)"
    process = subprocess.Popen([sys.executable, "-c", f"{saves}; time.sleep(60)"], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    before = signal.getsignal(signal.SIGUSR2)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2)).start()
    assert workers.wait(process) == 75
    assert signal.getsignal(signal.SIGUSR2) == before


class Trial:
    """A trial that takes the last of everything."""

    def suggest_categorical(self, name: str, choices: tuple[str, ...]) -> str:
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, log: bool) -> int:
        assert isinstance(low, int) and log
        return high

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        assert not log
        return high


@pytest.mark.parametrize(
    ("entry", "taken"),
    [
        ("planner.kind=cem,mppi", "planner.kind=mppi"),
        ("planner.candidates=50:500:log", "planner.candidates=500"),
        ("agent.world-model.deter=64:128:log", "agent.world-model.deter=128"),
        ("planner.discount=0.9:0.99", "planner.discount=0.99"),
        ("planner.evaluate-only=True,False", "planner.evaluate-only=False"),
    ],
)
def test_a_search_chooses_numbers_whole_numbers_and_words(entry: str, taken: str, tmp_path: Path) -> None:
    chosen = parse_range(entry, flatten(encode(RunConfig())))
    assert chosen.entry(chosen.suggest(Trial())) == taken
    fixed = "--preset=smoke --planner.seed-replay=0"
    run = sweep_runs.make_run(SweepConfig(fixed=fixed, output=str(tmp_path)), (taken,), 0)
    assert isinstance(run.config, RunConfig)


FIXED = "--preset=smoke --steps=400 --eval-every=200 --media-every=0"  # the program of the commands that are shown


def start(*arguments: str) -> tuple[int, str]:
    """The exit code of a sweep, and what it printed."""
    with redirect_stdout(StringIO()) as said, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "250")
        return sweep.run(arguments), said.getvalue()


@pytest.fixture
def optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that a sweep starts are set as those of the other tests."""
    monkeypatch.setenv("XLA_FLAGS", ENVIRONMENT["XLA_FLAGS"])


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_a_failed_run_is_named_and_made_again_and_finished_ones_are_left_alone_or_extended(tmp_path: Path) -> None:
    busy, fine = tmp_path / "seed=0", tmp_path / "seed=1"
    arguments = ["--seeds", "0", "1", f"--output={tmp_path}"]
    busy.mkdir()
    lock = RunLock(busy)
    lock.acquire()
    code, said = start(*arguments, f"--fixed={FIXED}", "--workers=2")
    assert code == 1 and "seed=0: exit code 2" in said and "seed=1: done" in said
    assert "is in use by process" in (tmp_path / "seed=0.log").read_text()
    lock.release()

    first, written = (fine / "metrics.jsonl").read_text(), (fine / "config.json").stat().st_mtime_ns
    code, said = start(*arguments, f"--fixed={FIXED}", "--launcher=local")  # as an array of submitit's jobs
    assert code == 0 and "2 runs, 1 of them finished before" in said
    assert (fine / "config.json").stat().st_mtime_ns == written
    run = sweep_runs.make_run(SweepConfig(fixed=FIXED, output=str(tmp_path)), (), 0)
    assert run.finished and 0.0 <= sweep.score(run) <= 1.0

    assert sweep.run(["--seeds", "1", f"--output={tmp_path}", f"--fixed={FIXED} --steps=600"]) == 0
    longer = (fine / "metrics.jsonl").read_text()
    assert longer.startswith(first)
    assert len(longer) > len(first)


SLURM = {
    "sbatch": """
cp "$1" {folder}/submitted.sh
for task in 0 1; do
  SLURM_JOB_ID=7$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task sh "$1"
done > {folder}/log 2>&1 &
echo Submitted batch job 7
""",
    "srun": 'until [ "$1" = {python} ]; do shift; done; "$@"',
    "sacct": "echo 'JobID|State|NodeList'; echo '7_0|RUNNING|here'; echo '7_1|RUNNING|here'",
    "scontrol": "echo here",
}


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_slurm_gets_one_array_of_bounded_jobs_that_may_save_before_their_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against programs that stand in for SLURM's; the runs cannot have their directories."""
    programs, runs = tmp_path / "bin", tmp_path / "runs"
    programs.mkdir()
    for name, script in SLURM.items():
        (programs / name).write_text("#!/bin/sh\n" + script.format(folder=tmp_path, python=sys.executable))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    locks = []
    for seed in (0, 1):
        (runs / f"seed={seed}").mkdir(parents=True)
        locks.append(RunLock(runs / f"seed={seed}"))
        locks[-1].acquire()
    wanted = "--slurm=slurm_partition=gpu timeout_min=600 gpus_per_node=1"
    code, said = start(
        *("--seeds", "0", "1", "--launcher=slurm", "--workers=1", wanted), f"--output={runs}", f"--fixed={FIXED}"
    )
    assert code == 1 and "seed=0: exit code 2" in said and "seed=1: exit code 2" in said
    flags = [line.removeprefix("#SBATCH --") for line in (tmp_path / "submitted.sh").read_text().splitlines()]
    assert {"array=0-1%1", "partition=gpu", "time=600", "gpus-per-node=1", "signal=USR2@90"} <= set(flags)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_a_search_scores_its_trials_by_their_success_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    arguments = ["--search", "agent.imagination.discount=0.9:0.99", f"--output={tmp_path}", f"--fixed={FIXED}"]
    assert sweep.run([*arguments, "--trials=1"]) == 0
    assert len(list(tmp_path.glob("*/config.json"))) == 1
    assert sweep.run([*arguments, "--trials=1"]) == 0
    assert len(list(tmp_path.glob("*/config.json"))) == 1
    code, said = start(*arguments, "--trials=2")
    assert code == 0
    with pytest.raises(
        ConfigError, match=r"holds a search of agent.imagination.discount=0.9:0.99; take another --output"
    ):
        sweep.run(["--search", "agent.imagination.discount=0.9:0.98", *arguments[2:]])
    assert said.count("seed=0 │ success") == 2 and "best " in said  # the trial of the first command, too
    assert len(list(tmp_path.glob("*/config.json"))) == 2


def test_committed_measurements_tell_speeds() -> None:
    (speed,) = measured_speeds([str(ROOT / "benchmarks" / "mazes_fast_ppo.json")], "episodic_curiosity", print)
    assert speed.options["method"] == "ppo" and speed.steps_per_second > 100
