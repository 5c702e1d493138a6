"""Many runs with one command: `python -m experiments.sweep --grid method=peg,mega --seeds 0 1 2 --output=runs/study`.

A sweep is the product of its grid (or its listed points) and its seeds. Every run has its own directory, named after
what sets it apart, so the same command skips finished runs and resumes interrupted ones. `--program` names what is run,
and `--dry-run` tells what it would take.
"""

import dataclasses
import itertools
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.cli import main, parse
from experiments.costs import Speed, measured_speeds, most_alike, parse_measured, seconds_left
from experiments.extras import load
from experiments.labels import counted
from experiments.options import RunOptions, made_with
from experiments.programs import PROGRAMS, ProgramName, final_score
from peg_jax.core.config import ConfigError, require
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.memory import available_bytes
from peg_jax.run.progress import format_bytes


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """Run a grid, a list or a search of options, each over several seeds."""

    program: ProgramName = "peg"  # what is run: a module of `experiments`
    grid: tuple[str, ...] = ()  # options with their values, such as method=peg,mega; all combinations are run
    points: tuple[str, ...] = ()  # instead of a grid: each a quoted list of options, such as "method=peg steps=9000"
    seeds: tuple[int, ...] = (0,)  # of every combination
    fixed: str = ""  # options that all runs share, quoted: "--preset=smoke --steps=2000"
    output: str = "runs/sweep"  # folder of the run directories
    workers: int = 1  # runs at a time
    launcher: Literal["here", "slurm", "local"] = "here"  # here: processes of this machine; the others: submitit
    slurm: str = ""  # submitit parameters, such as "slurm_partition=gpu timeout_min=600 gpus_per_node=1"
    search: tuple[str, ...] = ()  # Optuna instead of a grid: ranges such as planner.discount=0.9:0.999[:log]
    trials: int = 20  # of the search; each is scored by its mean final success, coverage or reward over the seeds
    dry_run: bool = False  # tell runs, device-hours and memory, and start nothing
    measured: tuple[str, ...] = ()  # of a dry run: runs, folders or files of curiosity_bench that tell speeds


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep."""

    name: str  # of its directory
    logdir: Path
    arguments: tuple[str, ...]
    config: RunOptions
    program: ProgramName = "peg"

    @property
    def steps(self) -> int:
        """Environment steps of the whole run."""
        return self.config.steps

    @property
    def done(self) -> int:
        """Environment steps after which it was last saved."""
        return CheckpointStore(self.logdir / "checkpoints").latest() or 0

    @property
    def finished(self) -> bool:
        """Whether its last checkpoint is the end of the run."""
        return self.done >= self.steps

    def start(self) -> int:
        """Run it in a process of its own, what it says going to `<name>.log`; returns the exit code."""
        command = [sys.executable, "-m", f"experiments.{self.program}", *self.arguments]
        with self.logdir.with_name(f"{self.name}.log").open("a") as log:
            return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode


def expand(options: SweepConfig) -> list[tuple[str, ...]]:
    """The sweep's combinations, each a tuple of `option=value`.

    Raises:
        ConfigError: an entry without `=`, or grid and points together.
    """
    require(not (options.grid and options.points), "points", options.points, "name either --grid or --points")
    points = [tuple(shlex.split(point)) for point in options.points]
    for option, entries in (("grid", options.grid), ("points", itertools.chain(*points))):
        for entry in entries:
            require("=" in entry.strip("-"), option, entry, "an entry is option=value, such as method=peg,mega")
    if points:
        return points
    pairs = [entry.partition("=") for entry in options.grid]
    return list(itertools.product(*([f"{name}={value}" for value in values.split(",")] for name, _, values in pairs)))


def make_run(options: SweepConfig, combination: Sequence[str], seed: int) -> Run:
    """The run of a combination and a seed, validated.

    Raises:
        ConfigError, RunError: as the run itself would.
    """
    parts = [entry.lstrip("-") for entry in combination]
    name = "_".join([*parts, f"seed={seed}"]).replace("/", "-").replace(" ", "")
    logdir = Path(options.output) / name
    arguments = [*shlex.split(options.fixed), *(f"--{part}" for part in parts), f"--seed={seed}", f"--logdir={logdir}"]
    config = PROGRAMS[options.program].parse(arguments)
    return Run(name, logdir, tuple(arguments), config, options.program)


def execute(runs: Sequence[Run], options: SweepConfig, console: Console) -> dict[str, int]:
    """Run what is not finished; exit codes by name, 0 for what was."""
    Path(options.output).mkdir(parents=True, exist_ok=True)
    waiting = [run for run in runs if not run.finished]
    console.print(f"{counted(len(runs), 'run')}, {len(runs) - len(waiting)} of them finished before")
    codes = {run.name: 0 for run in runs}
    for run, code in _launch_here(waiting, options) if options.launcher == "here" else _submit(waiting, options):
        codes[run.name] = code
        console.print(f"{run.name}: {'done' if code == 0 else f'exit code {code}'}", soft_wrap=True, markup=False)
    return codes


def _launch_here(runs: Sequence[Run], options: SweepConfig) -> Iterator[tuple[Run, int]]:
    with ThreadPoolExecutor(options.workers) as pool:
        futures = {pool.submit(run.start): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _submit(runs: Sequence[Run], options: SweepConfig) -> Iterator[tuple[Run, int]]:
    """The runs as one job array."""
    executor = load("submitit").AutoExecutor(Path(options.output) / "submitit", cluster=options.launcher)
    parameters: dict[str, Any] = {"timeout_min": 24 * 60}
    if options.launcher == "slurm":
        parameters["slurm_array_parallelism"] = options.workers
    for entry in shlex.split(options.slurm):
        name, _, value = entry.partition("=")
        parameters[name] = int(value) if value.isdigit() else value
    executor.update_parameters(**parameters)
    for run, job in zip(runs, executor.map_array(Run.start, runs) if runs else [], strict=True):
        yield run, job.result()


def score(run: Run) -> float:
    """What is maximised, at the last evaluation, averaged over the run's seeds; NaN before the first."""
    return final_score(PROGRAMS[run.program].score(run.config)[1], RunDirectory(run.logdir))


def plan(runs: Sequence[Run], options: SweepConfig, console: Console) -> None:
    """Print what the runs would take: memory of the state, and hours by the speed of the runs that are most alike."""
    folder = [options.output] if Path(options.output).is_dir() else []
    speeds = measured_speeds([*options.measured, *folder], options.program, lambda _: None)
    table = _runs_table("steps left", "memory", "hours", "steps/s", "measured in", title="nothing is started")
    sizes: dict[str, int] = {}
    hours, unknown = 0.0, 0
    for run in runs:
        key = str(sorted((name, str(value)) for name, value in made_with(run.config, ("seed",)).items()))
        if key not in sizes:
            sizes[key] = PROGRAMS[run.program].state_bytes(run.config)
        left, speed = max(0, run.steps - run.done), most_alike(run.config, run.program, speeds)
        cells, needed = _cost(run, left, speed)
        hours, unknown = hours + (needed or 0.0), unknown + (needed is None)
        table.add_row(run.name, f"{left:,}", format_bytes(sizes[key]), *cells)
    console.print(table)
    largest, (available, device) = max(sizes.values(), default=0), available_bytes()
    at_once = min(options.workers, len(runs))
    has = "" if available is None else f"; {device} has {format_bytes(available)} left"
    without = f", without {counted(unknown, 'run')} of unknown speed: name a like one by --measured" if unknown else ""
    console.print(f"{counted(len(runs), 'run')}, {hours:.1f} device-hours{without}", soft_wrap=True)
    console.print(f"memory      at most {format_bytes(at_once * largest)} of state, {at_once} at a time{has}")


def _cost(run: Run, left: int, speed: Speed | None) -> tuple[tuple[str, str, str], float | None]:
    """Cells of the table, and the hours that are left; None where nobody knows."""
    if not left or speed is None:
        return ("0.0" if not left else "?", "", ""), None if left else 0.0
    hours = seconds_left(run.steps, run.done, speed) / 3600
    return (f"{hours:.2f}", f"{speed.steps_per_second:.0f}", speed.source), hours


def _runs_table(*heads: str, title: str) -> Table:
    """A table whose rows begin with a run's name, all of which is shown however narrow the terminal is."""
    table = Table(title=title)
    for head in ("run", *heads):
        table.add_column(head, overflow="fold")
    return table


def search(options: SweepConfig, console: Console) -> dict[str, int]:
    """Optuna's search over ranges; its study lies in `<output>/optuna.db`, so that it goes on where it stopped."""
    optuna = load("optuna")
    codes: dict[str, int] = {}
    ranges = [_range(entry) for entry in options.search]
    Path(options.output).mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{Path(options.output).resolve() / 'optuna.db'}"
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        chosen = [f"{name}={trial.suggest_float(name, low, high, log=log):.6g}" for name, low, high, log in ranges]
        runs = [make_run(options, chosen, seed) for seed in options.seeds]
        codes.update(execute(runs, options, console))
        return float(np.mean([score(run) for run in runs]))

    study = optuna.create_study(study_name="sweep", storage=storage, direction="maximize", load_if_exists=True)
    done = len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))
    study.sampler = optuna.samplers.TPESampler(seed=options.seeds[0] + done)  # or a resume would draw the same again
    study.optimize(objective, n_trials=max(0, options.trials - done))
    console.print(f"best {study.best_value:.3f} with {study.best_params}", soft_wrap=True)
    return codes


def _range(entry: str) -> tuple[str, float, float, bool]:
    name, _, bounds = entry.lstrip("-").partition("=")
    parts = bounds.split(":")
    try:
        low, high = float(parts[0]), float(parts[1])
    except (ValueError, IndexError):
        raise ConfigError(f"--search={entry} cannot work: a range is option=low:high or option=low:high:log") from None
    require(low < high, "search", entry, "the lower end comes first")
    return name, low, high, parts[2:] == ["log"]


def run(arguments: Sequence[str]) -> int:
    """Sweep as the command line says; 0 if all runs finished, else 1."""
    options, console = parse(SweepConfig, arguments, SweepConfig()), Console()
    require(options.workers >= 1, "workers", options.workers, "it must be at least 1")
    require(len(options.seeds) > 0, "seeds", options.seeds, "name at least one seed")
    parse_measured(options.measured)
    require(not (options.dry_run and options.search), "dry_run", True, "a search decides on its runs as it goes")
    if options.search:
        require(
            not (options.grid or options.points), "search", options.search, "it takes the place of a grid or points"
        )
        return int(any(search(options, console).values()))
    runs = [make_run(options, combination, seed) for combination in expand(options) for seed in options.seeds]
    if options.dry_run:
        plan(runs, options, console)
        return 0
    codes = execute(runs, options, console)
    table = _runs_table("score", "value", "exit code", title="sweep")
    for one in runs:
        name = PROGRAMS[one.program].score(one.config)[0]
        table.add_row(one.name, name, f"{score(one):.2f}", str(codes[one.name]))
    console.print(table)
    console.print(f"compare them: python -m experiments.compare --runs {shlex.quote(options.output)}", soft_wrap=True)
    return int(any(codes.values()))


if __name__ == "__main__":
    main(run)
