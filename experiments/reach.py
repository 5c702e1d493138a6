"""How far episodes got, and how far their goals lay: `python -m experiments.reach --runs runs/a runs/b`.

Success counts what an agent can do; this counts what it has seen. The episodes of a run's replay are taken in order,
and how far they went from their start is the environment's `remoteness`: in mazes, the way along the corridors. The
figures are kept in `reach.json`, from which the picture can be made again without runs.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments.cli import main, parse
from experiments.export import stored_episodes
from experiments.find import read_runs
from experiments.restored import GoalRun, restore
from peg_jax.core.config import require
from peg_jax.core.environment import Task
from peg_jax.core.replay import Episode
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError, read_json, write_json
from peg_jax.run.plots import Curve, learning_curves
from peg_jax.run.progress import print_line

Figures = dict[str, Any]
FAR = 0.8  # of the way to the evaluation goal that is farthest from the start
PANELS = {
    "visited": "farthest point of an episode, mean",
    "goals": "commanded goals, mean",
    "far": "episodes that got far, share",
}


@dataclasses.dataclass(frozen=True)
class ReachConfig:
    """Measure what runs explored, and draw it."""

    runs: tuple[str, ...] = ()  # run directories, or folders of them, to add
    output: str = "runs/evidence"  # folder for reach.json and reach.png


def far_from(task: Task, start: jax.Array) -> float:
    """The remoteness that counts as far."""
    return FAR * float(task.env.remoteness(task.env.eval_goals(task.params), start).max())


def explored(task: Task, episodes: Episode, group: int, last_step: int) -> Figures:
    """Per group of successive episodes, what they saw.

    Args:
        task: where the episodes come from.
        episodes: `[N, T+1, ...]`, oldest first.
        group: episodes of one figure; the first N mod `group` belong to none.
        last_step: environment steps of the run at the end of the last episode.
    """
    achieved, steps = task.env.achieved_goal(episodes.obs), episodes.obs.shape[1] - 1
    start = achieved[:, 0]
    farthest = np.asarray(task.env.remoteness(achieved, start[:, None])).max(axis=1)
    goals = np.asarray(task.env.remoteness(episodes.goal[:, 1], start))
    count = len(farthest) // group
    ends = last_step - steps * group * np.arange(count)[::-1]

    def grouped(values: np.ndarray) -> list[float]:
        means = values[len(values) - count * group :].reshape(count, group).mean(axis=1)
        return [round(float(mean), 4) for mean in means]

    far = farthest >= far_from(task, start[0])
    measured = {"visited": farthest, "goals": goals, "far": far.astype(float)}
    return {"env_steps": ends.tolist()} | {name: grouped(values) for name, values in measured.items()}


def measure(run: GoalRun) -> dict[str, Figures]:
    """Figures of a run's seeds, by preset, method and seed."""
    config, start = run.config, run.directory.read_starts()[-1]
    group = max(1, config.eval_every // run.task.episode_steps)
    own = run.step // run.task.episode_steps  # episodes; with `replay_from` those of the prefill are another's
    facts = {"env": config.env, "method": f"{config.preset}_{config.method}", "revision": start["git_revision"]}
    found = {}
    for index in range(config.num_seeds):
        episodes = jax.tree.map(lambda x: x[-own:], stored_episodes(run.state, index))
        name = f"{facts['method']}_{config.seed + index}"
        found[name] = facts | explored(run.task, episodes, group, run.step)
    return found


def draw(path: Path, runs: dict[str, Figures]) -> None:
    """One panel per figure, one curve per method, over the steps that all its seeds have."""
    methods: dict[str, list[Figures]] = defaultdict(list)
    for figures in runs.values():
        methods[figures["method"]].append(figures)
    panels: dict[str, dict[str, Curve]] = defaultdict(dict)
    for method, seeds in sorted(methods.items()):
        length = min(len(seed["env_steps"]) for seed in seeds)
        for name, title in PANELS.items():
            values = np.array([seed[name][:length] for seed in seeds])
            panels[title][method] = (np.array(seeds[0]["env_steps"][:length]), values)
    learning_curves(path, panels, ranges={PANELS["far"]: (-0.02, 1.02)})


def _measured(directory: RunDirectory, console: Console) -> dict[str, Figures]:
    return measure(restore(str(directory.path), -1, console))


def run(arguments: Sequence[str]) -> int:
    """Measure and draw as the command line says; returns the exit code."""
    options, console = parse(ReachConfig, arguments, ReachConfig()), Console()
    folder = Path(options.output)
    kept = folder / "reach.json"
    runs: dict[str, Figures] = read_json(kept) if kept.exists() else {}
    require(bool(options.runs or runs), "runs", "", f"name run directories; {kept} holds no figures yet")
    if options.runs:
        measured = read_runs(options.runs, partial(_measured, console=console), partial(print_line, console))
        if not measured:
            raise RunError(f"no run of experiments.peg in {', '.join(options.runs)}")
        for found in measured:
            runs |= found
    if len({figures["env"] for figures in runs.values()}) > 1:
        raise RunError(f"{kept} would hold runs of several environments; choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(kept, dict(sorted(runs.items())))
    draw(folder / "reach.png", runs)
    print_line(console, f"reach     {folder / 'reach.png'}")
    return 0


if __name__ == "__main__":
    main(run)
