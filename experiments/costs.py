"""What runs will take, told from how fast others were, before anything starts."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.find import read_runs
from experiments.logs import TIMING, read_wall_seconds
from experiments.options import RunOptions
from experiments.programs import PROGRAMS, ProgramName, program_of
from experiments.r_network_stage import FOLDER
from peg_jax.core.config import ConfigError
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError

ALIKE = ("preset", "method", "task", "num_seeds")
"""What a measured run should share with another, the most important first; the first it must."""


class Speed(NamedTuple):
    """How fast training was once."""

    source: str  # a run directory or a file of measurements
    options: dict[str, Any]  # those in `ALIKE`
    steps_per_second: float  # environment steps of each seed, with evaluations, pictures and checkpoints
    seconds_before: float  # of an R-network that was trained first


def measured_speeds(paths: Sequence[str], name: ProgramName, skipped: Callable[[str], None]) -> list[Speed]:
    """Speeds told by run directories, folders of them, and files of `experiments.curiosity_bench`.

    Raises:
        ConfigError: a path is neither.
        RunError: a file is no file of measurements.
    """
    files = [Path(path) for path in paths if Path(path).is_file()]
    folders = [path for path in paths if Path(path) not in files]

    def read(directory: RunDirectory) -> Speed:
        if program_of(directory) != name:
            raise RunError(f"a run of {program_of(directory)}")
        return _of_run(directory, name)

    runs = read_runs(folders, read, skipped) if folders else []
    return [*runs, *(speed for file in files for speed in _of_benchmark(file))]


def _of_run(directory: RunDirectory, name: ProgramName) -> Speed:
    options, seconds = directory.read_config(), read_wall_seconds(directory.path / TIMING)
    if not seconds:
        raise RunError("it has not trained yet")
    stage = read_wall_seconds(directory.path / FOLDER / TIMING) if (directory.path / FOLDER / TIMING).exists() else {}
    last = max(seconds)
    return Speed(
        str(directory.path), _alike(options, name), last / max(seconds[last], 1e-6), max(stage.values(), default=0.0)
    )


def _of_benchmark(path: Path) -> list[Speed]:
    try:
        content = json.loads(path.read_text())
        options = content["options"] | {"num_seeds": 1}
        rates = [result["train"]["frames_per_second"] for result in content["results"] if "train" in result]
        return [Speed(str(path), _alike(options, "episodic_curiosity"), float(rate), 0.0) for rate in rates]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} holds no measurements of experiments.curiosity_bench ({error!r})") from error


def _alike(options: dict[str, Any], name: ProgramName) -> dict[str, Any]:
    return {"task": options[PROGRAMS[name].task]} | {key: options[key] for key in ALIKE if key != "task"}


def most_alike(config: RunOptions, name: ProgramName, speeds: Sequence[Speed]) -> Speed | None:
    """The speed of the run that has most in common with another; None if there is none of its preset."""
    wanted = {key: getattr(config, PROGRAMS[name].task if key == "task" else key) for key in ALIKE}

    def shared(speed: Speed) -> tuple[bool, ...]:
        return tuple(speed.options[key] == wanted[key] for key in ALIKE)

    best = max(speeds, key=shared, default=None)
    return best if best is not None and shared(best)[0] else None


def seconds_left(steps: int, done: int, speed: Speed) -> float:
    """Seconds that a run of `steps` steps takes, of which `done` are behind it."""
    before = 0.0 if done else speed.seconds_before
    return before + max(0, steps - done) / speed.steps_per_second


def parse_measured(paths: Sequence[str]) -> None:
    """Refuse paths that are not there.

    Raises:
        ConfigError: names the path.
    """
    for path in paths:
        if not Path(path).exists():
            raise ConfigError(f"--measured={path} cannot work: there is no such run, folder or file")
