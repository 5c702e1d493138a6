"""A run's replay as a dataset for offline learning: `python -m experiments.export --logdir=runs/try --output=data`.

The format, NumPy's `.npz` with Minari's names, is described in docs/how-to/export.md.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.cli import main, parse
from experiments.restored import restore
from peg_jax.core.config import require
from peg_jax.core.environment import Task
from peg_jax.core.replay import Episode, latest
from peg_jax.peg.training import TrainState
from peg_jax.run.files import replacing
from peg_jax.run.progress import print_line

FORMAT = 1  # of the files


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Write the episodes that a run's replay holds, one file per seed."""

    logdir: str = ""  # run directory
    output: str = ""  # folder for seed_<k>.npz
    step: int = -1  # checkpoint to read, in environment steps; -1 is the newest intact one


def stored_episodes(state: TrainState, index: int) -> Episode:
    """All episodes in the replay of one of a run's seeds, oldest first, `[N, T+1, ...]`."""
    replay = jax.tree.map(lambda x: x[index], state.seed.replay)
    slots = jax.tree.leaves(replay.experience)[0].shape[1]
    return latest(replay, slots if bool(replay.is_full) else int(replay.current_index))


def dataset(task: Task, episodes: Episode) -> dict[str, np.ndarray]:
    """The arrays of a file.

    Args:
        task: where the episodes come from.
        episodes: `[N, T+1, ...]`.

    Returns:
        `observations [N, T+1, O]`, `actions [N, T, ...]` as the environment takes them, `achieved_goals [N, T+1, D]`,
        `desired_goals [N, T+1, D]`, `rewards [N, T]`, 0 where the new observation meets the goal by the first of the
        environment's metrics and -1 elsewhere, `success_<metric> [N, T]` bool, `terminations [N, T]`, which are all
        False, and `truncations [N, T]`, True at the last step.
    """
    achieved = task.env.achieved_goal(episodes.obs)
    met = task.env.success(achieved[:, 1:], episodes.goal[:, 1:])
    first = next(iter(met.values()))
    last = jnp.zeros(first.shape, bool).at[:, -1].set(True)
    arrays = {
        "observations": episodes.obs,
        "actions": task.env_action(episodes.action[:, 1:]),
        "achieved_goals": achieved,
        "desired_goals": episodes.goal,
        "rewards": first.astype(jnp.float32) - 1.0,
        "terminations": jnp.zeros_like(last),
        "truncations": last,
    }
    return {name: np.asarray(x) for name, x in (arrays | {f"success_{name}": x for name, x in met.items()}).items()}


def run(arguments: Sequence[str]) -> int:
    """Export as the command line says; returns the exit code."""
    options, console = parse(ExportConfig, arguments, ExportConfig()), Console()
    require(bool(options.output), "output", options.output, "name a folder for the files")
    directory, config, task, state, step = restore(options.logdir, options.step, console)
    start = directory.read_starts()[-1]
    for index in range(config.num_seeds):
        arrays = dataset(task, stored_episodes(state, index))
        facts = {"format": FORMAT, "env": config.env, "method": config.method, "preset": config.preset}
        facts |= {"seed": config.seed + index, "env_steps": step, "revision": start["git_revision"]}
        path = Path(options.output) / f"seed_{config.seed + index}.npz"
        with replacing(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, metadata=np.array(json.dumps(facts)), **arrays)
        episodes, steps = arrays["rewards"].shape
        print_line(console, f"dataset   {path}: {episodes:,} episodes of {steps} steps")
    return 0


if __name__ == "__main__":
    main(run)
