"""Which runs a sweep consists of, each with a directory named after what sets it apart."""

import dataclasses
import hashlib
import itertools
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from experiments.options import RunOptions
from experiments.processes import option
from experiments.programs import PROGRAMS, ProgramName
from peg_jax.core.config import ConfigError, require
from peg_jax.run.checkpoint import CheckpointStore

LONGEST = 200  # letters of a run's name; file systems take 255
OF_THE_SWEEP = {"seed": "name seeds by --seeds", "logdir": "name the folder of all runs by --output"}


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
    search: tuple[str, ...] = ()  # Optuna instead of a grid: planner.discount=0.9:0.999[:log] planner.kind=cem,mppi
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

    def start(self) -> "subprocess.Popen[Any]":
        """Start it in a process of its own, what it says going to `<name>.log`."""
        command = [sys.executable, "-m", f"experiments.{self.program}", *self.arguments]
        with self.logdir.with_name(f"{self.name}.log").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def validate_sweep(options: SweepConfig) -> None:
    """Refuse what cannot work whichever runs it is about.

    Raises:
        ConfigError: names the option, its value and what would work.
    """
    require(options.workers >= 1, "workers", options.workers, "it must be at least 1")
    require(len(options.seeds) > 0, "seeds", options.seeds, "name at least one seed")
    require(len(set(options.seeds)) == len(options.seeds), "seeds", options.seeds, "name each seed once")
    require(options.trials >= 1, "trials", options.trials, "it must be at least 1")
    folder = Path(options.output)
    require(folder.is_dir() or not folder.exists(), "output", options.output, "it is a file; name a folder")
    require(not options.slurm or options.launcher != "here", "slurm", options.slurm, "it wants --launcher=slurm")
    fixed = words("fixed", options.fixed)
    require(not fixed or fixed[0].startswith("-"), "fixed", options.fixed, "options have dashes, as --preset=smoke has")
    for name, remedy in OF_THE_SWEEP.items():
        require(option(fixed, name) is None, "fixed", options.fixed, remedy)


def words(option: str, text: str) -> list[str]:
    """The words of a quoted option.

    Raises:
        ConfigError: its quotation marks do not pair.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--{option}={text} cannot work: {str(error).lower()}") from None


def expand(options: SweepConfig) -> list[tuple[str, ...]]:
    """The sweep's combinations, each a tuple of `option=value`.

    Raises:
        ConfigError: grid and points together, or as `check_entries`.
    """
    require(not (options.grid and options.points), "points", options.points, "name either --grid or --points")
    if options.points:
        points = [tuple(words("points", point)) for point in options.points]
        for point in points:
            check_entries("points", point)
        return points
    check_entries("grid", options.grid)
    pairs = [entry.partition("=") for entry in options.grid]
    return list(itertools.product(*([f"{name}={value}" for value in values.split(",")] for name, _, values in pairs)))


def check_entries(option: str, entries: Sequence[str]) -> None:
    """Refuse entries of `--<option>` that do not each give another option of a run.

    Raises:
        ConfigError: names the entry.
    """
    names: set[str] = set()
    for entry in entries:
        name = entry.lstrip("-").partition("=")[0].replace("_", "-")
        require("=" in entry.strip("-"), option, entry, "an entry is option=value, such as method=peg,mega")
        require(name not in OF_THE_SWEEP, option, entry, OF_THE_SWEEP.get(name, ""))
        require(name not in names, option, entry, f"{name} is there already; give all its values at once")
        names.add(name)


def make_runs(options: SweepConfig) -> list[Run]:
    """All runs of a grid or of points, validated.

    Raises:
        ConfigError, RunError: as the runs themselves would; or two of them would be the same.
    """
    runs = [make_run(options, combination, seed) for combination in expand(options) for seed in options.seeds]
    named: set[str] = set()
    for run in runs:
        require(run.name not in named, "points" if options.points else "grid", run.name, "it would be run twice")
        named.add(run.name)
    return runs


def make_run(options: SweepConfig, combination: Sequence[str], seed: int) -> Run:
    """The run of a combination and a seed, validated.

    Raises:
        ConfigError, RunError: as the run itself would.
    """
    parts = [entry.lstrip("-") for entry in combination]
    name = "_".join([*parts, f"seed={seed}"]).replace("/", "-").replace(" ", "+")
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    logdir = Path(options.output) / name
    typed = [word for part in parts for word in _typed(part)]
    arguments = [*words("fixed", options.fixed), *typed, f"--seed={seed}", f"--logdir={logdir}"]
    config = PROGRAMS[options.program].parse(arguments)
    near = [other for other in options.seeds if 0 < other - seed < config.num_seeds]
    overlap = f"seeds {seed} and {near[0]} are in one run with --num-seeds={config.num_seeds}" if near else ""
    require(not near, "seeds", options.seeds, f"{overlap}; take seeds that far apart")
    return Run(name, logdir, tuple(arguments), config, options.program)


def _typed(entry: str) -> tuple[str, ...]:
    """An `option=value` as a command line has it: true or false is a flag, several numbers are several words."""
    name, _, value = entry.partition("=")
    part, dot, last = name.rpartition(".")
    if value.lower() in ("true", "false"):
        return (f"--{name}" if value.lower() == "true" else f"--{part}{dot}no-{last}",)
    several = value.split()
    if len(several) > 1 and all(_is_number(word) for word in several):
        return (f"--{name}", *several)
    return (f"--{entry}",)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
