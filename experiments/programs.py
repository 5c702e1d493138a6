"""The programs that train, for commands that start runs of any of them or read what they wrote."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments import curiosity_program, program
from experiments.cli import parse_run
from experiments.config import RunConfig
from experiments.curiosity_config import CuriosityRunConfig, parse_curious, run_task
from experiments.r_network_stage import stage_sizes, trains_r_network
from experiments.success import SUCCESS_SERIES
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError
from peg_jax.run.metrics import read_metrics
from peg_jax.run.progress import state_bytes

ProgramName = Literal["peg", "episodic_curiosity"]


class Training(NamedTuple):
    """What tells one program from another."""

    parse: Callable[[Sequence[str]], Any]  # the options that a command line asks for, validated
    task: str  # option that names the task
    score: Callable[[Any], tuple[str, tuple[str, ...]]]
    """Of a run's options: what is maximised, and its names in the metrics, the first of which that is there counts."""
    state_bytes: Callable[[Any], int]
    """What a run of these options keeps in memory, all seeds together, without what an update needs beside it."""


def _peg_bytes(config: RunConfig) -> int:
    return _bytes(program.abstract_state(config, program.run_task(config)))


def _curious_bytes(config: CuriosityRunConfig) -> int:
    """The walks of an R-network's stage are gone before the policy's training begins, so the larger of both counts."""
    task = run_task(config)
    state = _bytes(curiosity_program.abstract_state(config, task))
    stage = _bytes(stage_sizes(config, task)) if trains_r_network(config) else 0
    return max(state, config.num_seeds * stage)


def _bytes(tree: Any) -> int:
    return sum(state_bytes(tree).values())


PROGRAMS: dict[ProgramName, Training] = {
    "peg": Training(
        lambda arguments: parse_run(RunConfig, arguments)[0], "env", lambda _: ("success", SUCCESS_SERIES), _peg_bytes
    ),
    "episodic_curiosity": Training(
        lambda arguments: parse_curious(arguments)[0],
        "scenario",
        lambda config: (config.metric, (f"test_{config.metric}",)),
        _curious_bytes,
    ),
}
"""By the name of their module in `experiments`."""


def program_of(directory: RunDirectory) -> ProgramName:
    """Which program a run is of.

    Raises:
        RunError: there is no run, or its options cannot be read.
    """
    try:
        return program_named(directory.read_config())
    except KeyError:
        raise RunError(f"{directory.path} is of no known program") from None


def program_named(options: dict[str, Any]) -> ProgramName:
    """Which program has these options; a KeyError if none has."""
    for name, training in PROGRAMS.items():
        if training.task in options:
            return name
    raise KeyError


def final_score(names: Sequence[str], directory: RunDirectory) -> float:
    """The first logged metric of `names` at the last evaluation, averaged over the seeds; NaN before the first."""
    try:
        series = [read_metrics(path / "metrics.jsonl") for path in directory.seed_directories()]
        return float(np.mean([next(one[name] for name in names if name in one).values[-1] for one in series]))
    except (RunError, StopIteration, IndexError):
        return float("nan")
