"""A run as a checkpoint has it, for commands that do not train."""

from functools import partial
from typing import NamedTuple

from rich.console import Console

from experiments.config import RunConfig
from experiments.program import abstract_state, checkpoint_store, run_task
from peg_jax.core.config import ConfigError, require
from peg_jax.core.environment import Task
from peg_jax.peg.training import TrainState
from peg_jax.run.directory import RunDirectory
from peg_jax.run.progress import print_line


class Restored(NamedTuple):
    """A run read back."""

    directory: RunDirectory
    config: RunConfig
    task: Task
    state: TrainState
    step: int  # environment steps after which it was saved


def restore(logdir: str, step: int, console: Console) -> Restored:
    """Read the run in `logdir` as it was after `step` environment steps; -1 is its newest intact checkpoint.

    Raises:
        ConfigError: no run is named or there is none.
        RunError: it is of another kind, or no checkpoint can be used.
    """
    require(bool(logdir), "logdir", logdir, "name the directory of a run")
    directory = RunDirectory(logdir)
    if not directory.exists():
        raise ConfigError(f"--logdir={logdir} cannot work: there is no run; it should hold a config.json")
    config = directory.read_config_as(RunConfig)
    task = run_task(config)
    store = checkpoint_store(config, directory, partial(print_line, console))
    state, found = store.restore(abstract_state(config, task), None if step < 0 else step)
    return Restored(directory, config, task, state, found)
