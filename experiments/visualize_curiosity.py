"""Watch an exploring agent and what it is paid for: `python -m experiments.visualize_curiosity --logdir=runs/maze`."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from envs.splits import SPLITS
from experiments.cli import main, parse
from experiments.compilation import enable_compilation_cache
from experiments.curiosity_config import ANT, ICM, CuriosityRunConfig, run_task
from experiments.curiosity_pictures import Watched, draw_watched
from experiments.curiosity_program import split_params
from experiments.restored import CURIOSITY, CuriousRun, restore_as
from experiments.seeds import seed_keys
from peg_jax.core import rng
from peg_jax.core.config import require
from peg_jax.core.types import Key
from peg_jax.curiosity import acting, training, watching
from peg_jax.curiosity.acting import Act
from peg_jax.curiosity.intrinsic import Appraisal
from peg_jax.curiosity.task import Task
from peg_jax.curiosity.training import SeedState
from peg_jax.curiosity.watching import Episodes

EARLY = 20  # steps after which firing at a wall should bring nothing
MOST_FRAMES = 300  # of a video; of a longer episode steps are left out

Behaviour = Literal["policy", "nothing", "random", "fire"]


@dataclasses.dataclass(frozen=True)
class VisualizeConfig:
    """Draw an episode: the view, the map with what was visited and remembered, bonus and similarity."""

    logdir: str = ""  # run directory
    behaviour: Behaviour = "policy"  # what is done: the trained policy, standing still, a random walk, or firing
    step: int = -1  # checkpoint to read, in environment steps; -1 is the newest intact one
    seed: int = -1  # which of the run's seeds; -1 is the first
    split: Literal["r_training", "policy_training", "validation", "test"] = "test"  # stream of episodes
    episode: int = 0  # number of the episode in it
    steps: int = 0  # at most; 0: the episode's own length


class Seen(NamedTuple):
    """Episodes and what the run's bonus makes of them."""

    episodes: Episodes
    appraisal: Appraisal


def action_names(task: Task) -> tuple[str, ...]:
    """Names of a maze's actions, by index; the ant's have none."""
    return getattr(task.env, "actions", ())


def act_as(config: CuriosityRunConfig, task: Task, behaviour: Behaviour, seed: SeedState) -> tuple[Task, Act]:
    """The task in which a behaviour is played, which has an action for it, and its actions.

    Raises:
        ConfigError: the scenario has no such action.
    """
    if behaviour == "policy":
        return task, acting.by_policy(training.build_network(task, config.algorithm()), seed.learner.params)
    if behaviour == "random":
        return task, acting.at_random(task)
    if behaviour == "nothing" and config.scenario == ANT:
        return task, acting.always(jnp.zeros(task.actions))
    if behaviour == "nothing":
        unknown = f"the model of {ICM} knows the run's own actions only; use policy, random or fire"
        require(config.method != ICM, "behaviour", behaviour, unknown)
        task = run_task(config, action_set="default_with_idle")
    actions = action_names(task)
    named = "idle" if behaviour == "nothing" else "fire"
    others = f"{config.scenario} has no action {named}; use policy, nothing or random"
    require(named in actions, "behaviour", behaviour, others)
    return task, acting.always(jnp.asarray(actions.index(named)))


def see(
    config: CuriosityRunConfig,
    task: Task,
    behaviour: Behaviour,
    seed: SeedState,
    split: str,
    num_envs: int,
    steps: int,
    key: Key,
) -> Seen:
    """Play episodes and appraise them by the bonus of a seed's state, which learns nothing from them.

    Raises:
        ConfigError: the scenario has no action for the behaviour.
    """
    played_in, act = act_as(config, task, behaviour, seed)
    params = split_params(played_in, SPLITS.index(split))
    episodes = watching.play(played_in, act, params, num_envs, steps, rng.named(key, "play"))
    bonus = training.make_bonus(task, config.algorithm(), config.method)
    return Seen(episodes, bonus.appraise(seed.bonus, episodes.taken, episodes.frames, rng.named(key, "appraise")))


def one_seed(run: CuriousRun, seed: int) -> SeedState:
    """The state of one of the run's seeds.

    Raises:
        ConfigError: it has no such seed.
    """
    first = run.config.seed
    seeds = range(first, first + run.config.num_seeds)
    index = 0 if seed < 0 else seed - first
    require(0 <= index < len(seeds), "seed", seed, f"the run has {', '.join(map(str, seeds))}")
    state: SeedState = jax.tree.map(lambda x: x[index], run.state.seed)
    return state


def watched(options: VisualizeConfig, run: CuriousRun) -> Watched:
    """An episode as the command line asks for it.

    Raises:
        ConfigError: an option cannot work.
    """
    config, task, seed = run.config, run.task, one_seed(run, options.seed)
    longest = int(task.params.max_steps_in_episode)
    steps = min(options.steps or longest, longest)
    key = jax.random.fold_in(rng.named(seed_keys(config)[0], "visualize"), options.episode)

    def play(seed: SeedState, key: Key) -> Seen:
        return see(config, task, options.behaviour, seed, options.split, 1, steps, key)

    seen = jax.jit(play)(seed, key)
    # The step that ends an episode pays nothing, and empties the memory.
    length = max(1, int((seen.episodes.alive & ~seen.episodes.taken.done).sum()))
    times = np.linspace(0, length - 1, min(length, MOST_FRAMES)).astype(int)
    held = seen.appraisal.remembered
    maps = jax.jit(lambda seen, times: watching.draw_maps(task, seen.episodes, 0, times, seen.appraisal.remembered))
    similarity = seen.appraisal.similarity
    return Watched(
        title=f"{options.behaviour}, {config.method} after {run.step:,} steps",
        bonus=np.asarray(seen.appraisal.bonus)[:length, 0],
        similarity=None if similarity is None else np.asarray(similarity)[:length, 0],
        cells=np.cumsum(np.asarray(seen.episodes.taken.new_cell)[:length, 0]),
        remembered=None if held is None else np.asarray(held >= -1).sum(axis=-1)[:length, 0],
        times=times,
        view=np.asarray(seen.episodes.frames)[1 + times, 0],
        map=np.asarray(maps(seen, times)),
    )


def summary(shown: Watched) -> Table:
    """The episode in numbers."""
    table = Table("steps", "mean bonus", f"first {EARLY}", "later", "cells", "remembered", title=shown.title)
    early, later = shown.bonus[:EARLY], shown.bonus[EARLY:]
    held = "-" if shown.remembered is None else str(shown.remembered[-1])
    means = [f"{part.mean():+.3f}" if part.size else "-" for part in (shown.bonus, early, later)]
    table.add_row(str(len(shown.bonus)), *means, str(shown.cells[-1]), held)
    return table


def run(arguments: Sequence[str]) -> int:
    """Draw as the command line says; returns the exit code."""
    options, console = parse(VisualizeConfig, arguments, VisualizeConfig()), Console()
    require(options.steps >= 0, "steps", options.steps, "it cannot be negative")
    require(options.episode >= 0, "episode", options.episode, "it cannot be negative")
    enable_compilation_cache()
    restored = restore_as(CURIOSITY, options.logdir, options.step, console)
    shown = watched(options, restored)
    console.print(summary(shown))
    name = f"curiosity_{options.behaviour}_{restored.step}"
    for path in draw_watched(restored.directory.path / "media" / name, shown):
        console.print(f"{path.suffix[1:]:<11} {path}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
