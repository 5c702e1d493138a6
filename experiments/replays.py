"""Beginning with what another run has seen: `--replay-from`."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from experiments.config import RunConfig
from experiments.options import made_with, read_options
from experiments.program import abstract_state, checkpoint_store, run_task
from peg_jax.core.config import ConfigError, require
from peg_jax.core.replay import ReplayState
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError

LAYOUT = ("env", "loop.num_envs", "replay.capacity")  # options on which a replay's shape and meaning depend


def load_replays(config: RunConfig, warn: Callable[[str], None]) -> ReplayState:
    """The replays at the end of the run in `config.replay_from`, with a leading axis of seeds.

    Seed i gets that of the other run's seed i, and the first after the last.

    Raises:
        ConfigError: there is no such run, it is of another program, its replay has another layout, or none of its
          checkpoints can be used.
    """
    path = config.replay_from
    there = (Path(path).expanduser() / "config.json").is_file()
    require(there, "replay_from", path, "there is no run; name the --logdir of one")
    try:
        other = read_options(RunDirectory(path), RunConfig)
        _require_layout(config, other)
        store = checkpoint_store(other, RunDirectory(path), warn)
        state = store.restore(abstract_state(other, run_task(other)))[0]
    except RunError as error:
        raise ConfigError(f"--replay-from={path} cannot work: {error}") from error
    lanes = np.arange(config.num_seeds) % other.num_seeds
    replays: ReplayState = jax.tree.map(lambda x: x[lanes], state.seed.replay)
    return replays


def _require_layout(config: RunConfig, other: RunConfig) -> None:
    mine, theirs = made_with(config, ()), made_with(other, ())
    for name in LAYOUT:
        theirs_is, mine_is = theirs[name], mine[name]
        same = f"it has {name} = {theirs_is}, here it is {mine_is}; give --{name.replace('_', '-')}={theirs_is}"
        require(mine_is == theirs_is, "replay_from", config.replay_from, same)
