"""Many runs with one command: `python -m experiments.sweep --grid method=peg,mega --seeds 0 1 2 --output=runs/study`.

A sweep is the product of its grid (or its listed points) and its seeds. Every run has its own directory, named after
what sets it apart, so the same command skips finished runs and resumes interrupted ones. `--program` names what is run,
and `--dry-run` tells what it would take.
"""

import itertools
import shlex
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.cli import main, parse
from experiments.costs import Speed, measured_speeds, most_alike, parse_measured, seconds_left
from experiments.extras import load
from experiments.labels import counted
from experiments.options import made_with
from experiments.programs import PROGRAMS, final_score
from experiments.ranges import parse_range
from experiments.sweep_runs import Run, SweepConfig, check_entries, make_run, make_runs, validate_sweep, words
from experiments.workers import run_here, start_and_wait
from peg_jax.core.config import ConfigError, require
from peg_jax.run.config_json import encode, flatten
from peg_jax.run.directory import RunDirectory
from peg_jax.run.memory import available_bytes
from peg_jax.run.progress import format_bytes, print_line
from peg_jax.run.signals import StoppedError

LOST = 1  # exit code of a job whose own is not known


def execute(runs: Sequence[Run], options: SweepConfig, console: Console) -> dict[str, int]:
    """Run what is not finished; exit codes by name, 0 for what was.

    Raises:
        StoppedError: a signal came; what ran has saved.
    """
    Path(options.output).mkdir(parents=True, exist_ok=True)
    waiting = [run for run in runs if not run.finished]
    console.print(f"{counted(len(runs), 'run')}, {len(runs) - len(waiting)} of them finished before")
    codes = {run.name: 0 for run in runs}

    def told(run: Run, code: int) -> None:
        codes[run.name] = code
        console.print(f"{run.name}: {'done' if code == 0 else f'exit code {code}'}", soft_wrap=True, markup=False)

    if options.launcher == "here":
        run_here(waiting, options.workers, told)
        return codes
    for run, code in _submit(waiting, options, console):
        told(run, code)
    return codes


def _submit(runs: Sequence[Run], options: SweepConfig, console: Console) -> Iterator[tuple[Run, int]]:
    """The runs as one job array, of which SLURM bounds how many run at a time; local ones are as large as that."""
    submitit, executor = load("submitit"), _executor(options)
    at_once = options.workers if options.launcher == "local" else max(1, len(runs))
    for some in (runs[first : first + at_once] for first in range(0, len(runs), at_once)):
        for run, job in zip(some, executor.map_array(start_and_wait, some), strict=True):
            try:
                yield run, job.result()
            except submitit.core.utils.UncompletedJobError as error:  # out of time or memory, or cancelled
                console.print(f"{run.name}: {error}", soft_wrap=True, markup=False)
                yield run, LOST


def _executor(options: SweepConfig) -> Any:
    """submitit's, with its parameters.

    Raises:
        ConfigError: there is no SLURM, or it knows no such parameter.
    """
    parameters: dict[str, Any] = {"timeout_min": 24 * 60}
    if options.launcher == "slurm":
        there = shutil.which("sbatch") is not None
        require(there, "launcher", "slurm", "there is no sbatch here; start it where SLURM is, or take another")
        parameters["slurm_array_parallelism"] = options.workers
    for entry in words("slurm", options.slurm):
        name, equals, value = entry.partition("=")
        require(bool(equals), "slurm", entry, "an entry is parameter=value, such as slurm_partition=gpu")
        parameters[name] = int(value) if value.isdigit() else value
    executor = load("submitit").AutoExecutor(Path(options.output) / "submitit", cluster=options.launcher)
    try:
        executor.update_parameters(**parameters)
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"--slurm={options.slurm} cannot work: {str(error).splitlines()[0]}") from error
    return executor


def score(run: Run) -> float:
    """What is maximised, at the last evaluation, averaged over the run's seeds; NaN before the first."""
    return final_score(PROGRAMS[run.program].score(run.config)[1], RunDirectory(run.logdir))


def plan(runs: Sequence[Run], options: SweepConfig, console: Console) -> None:
    """Print what the runs would take: memory of the state, and hours by the speed of the runs that are most alike."""
    folder = [options.output] if Path(options.output).is_dir() else []
    named = measured_speeds(options.measured, options.program, partial(print_line, console)) if options.measured else []
    speeds = [*named, *measured_speeds(folder, options.program, lambda _: None)]
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


def search(options: SweepConfig, console: Console) -> list[tuple[Run, int]]:
    """Optuna's search over ranges; its study lies in `<output>/optuna.db`, so that it goes on where it stopped.

    Returns:
        The runs of all trials that have a score, also of earlier ones, and those that failed now; their exit codes.

    Raises:
        ConfigError: an entry is no range, ends of them cannot work together, or the folder holds another search.
    """
    optuna = load("optuna")
    codes: dict[str, int] = {}
    started: list[Run] = []
    check_entries("search", options.search)
    usual = flatten(encode(PROGRAMS[options.program].parse(words("fixed", options.fixed))))
    ranges = [parse_range(entry, usual) for entry in options.search]
    for corner in itertools.product(*(one.ends() for one in ranges)):
        make_run(options, [one.entry(end) for one, end in zip(ranges, corner, strict=True)], options.seeds[0])
    Path(options.output).mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{Path(options.output).resolve() / 'optuna.db'}"
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        chosen = [one.entry(one.suggest(trial)) for one in ranges]
        runs = [make_run(options, chosen, seed) for seed in options.seeds]
        started.extend(runs)
        try:
            codes.update(execute(runs, options, console))
        except StoppedError as stopped:
            raise _Stopped from stopped
        return float(np.mean([score(run) for run in runs]))

    study = optuna.create_study(study_name="sweep", storage=storage, direction="maximize", load_if_exists=True)
    earlier = study.user_attrs.get("search", [*options.search])
    other = f"{options.output} holds a search of {' '.join(earlier)}; take another --output"
    require(earlier == [*options.search], "search", " ".join(options.search), other)
    study.set_user_attr("search", [*options.search])
    states = optuna.trial.TrialState
    for trial in study.get_trials(states=(states.RUNNING,)):  # was interrupted, and goes on
        study.tell(trial.number, state=states.FAIL)
        study.enqueue_trial(trial.params)
    done = len(study.get_trials(deepcopy=False, states=(states.COMPLETE,)))
    study.sampler = optuna.samplers.TPESampler(seed=options.seeds[0] + done)  # or a resume would draw the same again
    try:
        study.optimize(objective, n_trials=max(0, options.trials - done))
    except _Stopped as stopped:
        assert stopped.__cause__ is not None
        raise stopped.__cause__ from None
    if study.get_trials(deepcopy=False, states=(states.COMPLETE,)):
        console.print(f"best {study.best_value:.3f} with {study.best_params}", soft_wrap=True)
    ended = [trial.params for trial in study.get_trials(states=(states.COMPLETE,))]
    tried = [[one.entry(params[one.option]) for one in ranges] for params in ended]
    runs = {run.name: run for entries in tried for run in (make_run(options, entries, seed) for seed in options.seeds)}
    failed = {run.name: run for run in started if codes.get(run.name)}
    return [(run, codes.get(name, 0)) for name, run in (runs | failed).items()]


class _Stopped(BaseException):
    """Takes a `StoppedError` past Optuna, for which every `Exception` is a failure of the trial, which may go on."""


def run(arguments: Sequence[str]) -> int:
    """Sweep as the command line says; 0 if all runs finished, else 1."""
    options, console = parse(SweepConfig, arguments, SweepConfig()), Console()
    validate_sweep(options)
    parse_measured(options.measured)
    require(not (options.dry_run and options.search), "dry_run", True, "a search decides on its runs as it goes")
    if options.search:
        require(
            not (options.grid or options.points), "search", options.search, "it takes the place of a grid or points"
        )
        return _summarise(search(options, console), options, console)
    runs = make_runs(options)
    if options.dry_run:
        plan(runs, options, console)
        return 0
    codes = execute(runs, options, console)
    return _summarise([(one, codes[one.name]) for one in runs], options, console)


def _summarise(ended: Sequence[tuple[Run, int]], options: SweepConfig, console: Console) -> int:
    """Print what each run came to; returns the sweep's exit code."""
    table = _runs_table("score", "value", "exit code", title="sweep")
    for one, code in ended:
        name = PROGRAMS[one.program].score(one.config)[0]
        table.add_row(one.name, name, f"{score(one):.2f}", str(code))
    console.print(table)
    console.print(f"compare them: python -m experiments.compare --runs {shlex.quote(options.output)}", soft_wrap=True)
    return int(any(code for _, code in ended))


if __name__ == "__main__":
    main(run)
