"""A run as a checkpoint has it, for commands that do not train."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from rich.console import Console

from experiments import curiosity_config, curiosity_program
from experiments.config import RunConfig, validate_names
from experiments.curiosity_config import CuriosityRunConfig
from experiments.options import read_options
from experiments.program import abstract_state, checkpoint_store, run_task
from peg_jax.core.config import ConfigError, require
from peg_jax.core.environment import Task
from peg_jax.curiosity import task as curious
from peg_jax.curiosity import training as curious_training
from peg_jax.peg.training import TrainState
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.progress import print_line

C = TypeVar("C")
T = TypeVar("T")
S = TypeVar("S")


class Kind(NamedTuple, Generic[C, T, S]):
    """What tells one kind of run from another."""

    config: type[C]
    validate: Callable[[C], None]
    run_task: Callable[[C], T]
    abstract_state: Callable[[C, T], S]
    checkpoint_store: Callable[[C, RunDirectory, Callable[[str], None]], CheckpointStore]


PEG = Kind(RunConfig, validate_names, run_task, abstract_state, checkpoint_store)
CURIOSITY = Kind(
    CuriosityRunConfig,
    curiosity_config.validate_names,
    curiosity_config.run_task,
    curiosity_program.abstract_state,
    curiosity_program.checkpoint_store,
)


class Restored(NamedTuple, Generic[C, T, S]):
    """A run read back."""

    directory: RunDirectory
    config: C
    task: T
    state: S
    step: int  # environment steps after which it was saved


GoalRun = Restored[RunConfig, Task, TrainState]
CuriousRun = Restored[CuriosityRunConfig, curious.Task, curious_training.TrainState]


def existing(logdir: str) -> RunDirectory:
    """The directory of a run.

    Raises:
        ConfigError: none is named, or there is no run in it.
    """
    require(bool(logdir), "logdir", logdir, "name the directory of a run")
    folder = Path(logdir).expanduser()
    runs = [] if (folder / "config.json").is_file() else sorted(file.parent for file in folder.glob("*/config.json"))
    require(not runs, "logdir", logdir, f"it holds runs; name one, such as {runs[0] if runs else ''}")
    directory = RunDirectory(logdir)
    if not directory.exists():
        raise ConfigError(f"--logdir={logdir} cannot work: there is no run; it should hold a config.json")
    return directory


def restore(logdir: str, step: int, console: Console) -> GoalRun:
    """`restore_as` for a run of PEG or one of its baselines."""
    return restore_as(PEG, logdir, step, console)


def restore_as(kind: Kind[C, T, S], logdir: str, step: int, console: Console) -> Restored[C, T, S]:
    """Read the run in `logdir` as it was after `step` environment steps; -1 is its newest intact checkpoint.

    Raises:
        ConfigError: no run is named or there is none.
        RunError: it is of another kind, or no checkpoint can be used.
    """
    directory = existing(logdir)
    config = read_options(directory, kind.config)
    kind.validate(config)
    task = kind.run_task(config)
    store = kind.checkpoint_store(config, directory, partial(print_line, console))
    template: Any = kind.abstract_state(config, task)
    state, found = store.restore(template, None if step < 0 else step)
    return Restored(directory, config, task, state, found)
