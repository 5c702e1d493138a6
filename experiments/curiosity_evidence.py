"""What curious runs know and pay for, measured: `python -m experiments.curiosity_evidence --runs runs/ec runs/icm`.

A run `name`, or `name_<seed>`, is put into `<name>.json` in the folder beside its other seeds; page and curves are made
from all such files, so they can be made again from committed data alone (no `--runs`). Everything is measured in the
stream of test mazes, from which nothing learns; runs of one seed are measured in the same mazes.

* Reward and coverage of first episodes, of the policy and of a random walk.
* Pairs of a random walk, as the R-network is trained on: accuracy, and by path distance in cells; also of a network
  that was not trained.
* The bonus of a random walk where it enters a maze cell for the first time, and in cells where it was before.
* The bonus of the second half of a random walk by a memory of the first, by path distance to what was visited.
* The bonus of standing at a wall and firing, which only makes noise, and of the random walk.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from envs.maze3d.paths import distances
from envs.splits import SPLITS
from experiments.cli import main, parse
from experiments.compare_curiosity import label
from experiments.compilation import enable_compilation_cache
from experiments.curiosity_config import ANT, CURIOUS, CuriosityRunConfig, run_task, validate_names
from experiments.curiosity_evidence_page import DISTANCES, write_page
from experiments.curiosity_places import cell_of, chance_of_more, judged_by_the_first_half, paid_by_distance
from experiments.curiosity_program import begun, split_params
from experiments.evidence import add, portable
from experiments.logs import TIMING, read_wall_seconds
from experiments.options import read_options
from experiments.r_network_stage import FOLDER, abstract_stage, stage_store
from experiments.restored import CURIOSITY, CuriousRun, Restored, restore_as
from experiments.seeds import seed_keys
from experiments.visualize_curiosity import EARLY, Seen, action_names, one_seed, see
from peg_jax.core import rng
from peg_jax.core.config import require
from peg_jax.core.types import Key, Params
from peg_jax.curiosity import acting, evaluation, r_training
from peg_jax.curiosity.acting import Act
from peg_jax.curiosity.history import History, take_pairs
from peg_jax.curiosity.r_network import RNetwork, Variables, compare, init_variables
from peg_jax.curiosity.training import SeedState, build_network
from peg_jax.curiosity.watching import Episodes
from peg_jax.run.directory import RunDirectory
from peg_jax.run.metrics import read_metrics
from peg_jax.run.progress import print_line

SPLIT = "test"
Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class CuriosityEvidenceConfig:
    """Measure runs, and write the page."""

    runs: tuple[str, ...] = ()  # run directories to measure, each <name> or <name>_<seed>
    output: str = "runs/maze_evidence"  # folder of the evidence
    episodes: int = 16  # of each kind
    steps: int = 600  # of each random walk
    shots: int = 200  # steps of each episode of firing
    pairs: int = 4096  # of the R-network, at most


def read_run(path: str, console: Console) -> CuriousRun:
    """A run as its newest checkpoint has it, or one of EC without any as it begins: with the R-network of its stage.

    Raises:
        ConfigError: there is no run.
        RunError: it is of another kind, or no checkpoint can be used.
    """
    directory = RunDirectory(path)
    if not directory.exists() or list(directory.checkpoints.glob("*")):
        return restore_as(CURIOSITY, path, -1, console)
    config = read_options(directory, CuriosityRunConfig)
    validate_names(config)
    task = run_task(config)
    store = stage_store(config, directory, partial(print_line, console))
    networks = store.restore(abstract_stage(config, task))[0].seed.network
    state = jax.jit(lambda keys, networks: begun(config, task, keys, networks))(seed_keys(config), networks)
    return Restored(directory, config, task, state, 0)


def measure(run: CuriousRun, options: CuriosityEvidenceConfig) -> Figures:
    """Everything about the run's seeds, in the order of the page."""
    seeds, took = [], training(run)
    for index in range(run.config.num_seeds):
        number = run.config.seed + index
        found = measure_seed(run, one_seed(run, number), seed_keys(run.config)[index], options)
        seeds.append({"seed": number} | took | curve(run, index) | found)
    return {"seeds": seeds}


def measure_seed(run: CuriousRun, seed: SeedState, key: Key, options: CuriosityEvidenceConfig) -> Figures:
    """Everything about one seed."""
    key, config, task = rng.named(key, "evidence"), run.config, run.task
    scored = {"episodes": scores(run, seed, options, rng.named(key, "episodes"))}
    if seed.bonus is None:
        return scored

    def seen(seed: SeedState, key: Key, behaviour: Any, steps: int) -> Seen:
        return see(config, task, behaviour, seed, SPLIT, options.episodes, steps, key)

    walk = jax.jit(partial(seen, behaviour="random", steps=options.steps))(seed, rng.named(key, "walk"))
    figures = scored | {"places": places(walk)}
    if "fire" in action_names(task):
        shots = jax.jit(partial(seen, behaviour="fire", steps=options.shots))(seed, rng.named(key, "shots"))
        figures["fire"] = firing(shots, walk)
    if config.method in CURIOUS:
        net = RNetwork(config.reachability.network)
        judge = jax.jit(partial(judged_pairs, net, config, options.pairs))
        untrained = init_variables(net, rng.named(key, "untrained"), task.frame_shape)
        for name, variables in (("pairs", seed.bonus.network.variables), ("untrained_pairs", untrained)):
            figures[name] = by_distance(*map(np.asarray, judge(variables, walk.episodes, key)))
        halves = jax.jit(partial(judged_by_the_first_half, config.reachability))
        for name, variables in (("away", seed.bonus.network.variables), ("untrained_away", untrained)):
            figures[name] = paid_by_distance(*map(np.asarray, halves(variables, walk.episodes, key)))
    return figures


def scores(run: CuriousRun, seed: SeedState, options: CuriosityEvidenceConfig, key: Key) -> Figures:
    """Mean and standard error of reward and coverage over whole episodes, for the policy and for a random walk."""
    task, params = run.task, split_params(run.task, SPLITS.index(SPLIT))
    steps = int(task.params.max_steps_in_episode)

    def play(actor: Callable[[Params], Act]) -> Figures:
        evaluate = jax.jit(lambda p, k: evaluation.evaluate(task, actor(p), params, options.episodes, steps, k)[0])
        found = evaluate(seed.learner.params, key)
        figures: Figures = {}
        for name, values in (("reward", found.reward), ("cells", found.cells), ("share", found.share)):
            figures[name] = _mean(np.asarray(values))
            figures[f"{name}_error"] = round(float(np.std(values) / np.sqrt(options.episodes)), 4)
        return figures

    policy = partial(acting.by_policy, build_network(task, run.config.algorithm()))
    return {"policy": play(policy), "random_walk": play(lambda _: acting.at_random(task))}


def places(walk: Seen) -> Figures:
    """The bonus where a maze cell is entered for the first time, and in cells seen before and left since."""
    at, bonus, alive = (
        np.asarray(cell_of(walk.episodes.position)),
        np.asarray(walk.appraisal.bonus),
        np.asarray(walk.episodes.alive),
    )
    new, again = np.zeros_like(alive), np.zeros_like(alive)
    for env in range(at.shape[1]):
        before, *after = map(tuple, at[:, env].tolist())
        known = {before}
        for time, cell in enumerate(after):
            new[time, env], again[time, env] = cell not in known, cell in known and cell != before
            known.add(cell)
            before = cell
    unseen, seen = bonus[new & alive], bonus[again & alive]
    return {
        "unseen": _mean(unseen),
        "seen": _mean(seen),
        "unseen_steps": int(unseen.size),
        "seen_steps": int(seen.size),
        "unseen_is_higher": round(chance_of_more(unseen, seen), 4),  # of a step of each kind; 0.5 if they are alike
    }


def firing(shots: Seen, walk: Seen) -> Figures:
    """The bonus of firing in the first steps and later, against that of the random walk."""
    fired, walked = np.asarray(shots.appraisal.bonus), np.asarray(walk.appraisal.bonus)
    later = fired[EARLY:].mean(axis=0)
    return {
        "first_steps": _mean(fired[:EARLY]),
        "later": _mean(later),
        "later_deviation_over_episodes": round(float(later.std()), 4),
        "later_median": round(float(np.median(fired[EARLY:])), 4),
        "random_walk": _mean(walked),
        "random_walk_median": round(float(np.median(walked)), 4),
    }


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 4)


def judged_pairs(
    net: RNetwork, config: Any, most: int, variables: Variables, episodes: Episodes, key: Key
) -> tuple[jax.Array, ...]:
    """Similarity, label and path length in cells of pairs of the walk, `[P]` each, and whether there is such a pair."""
    numbers = config.reachability.offline.pairs
    taken = episodes.taken
    rows = jnp.asarray(taken.done.shape[0], jnp.int32)
    history = History(episodes.frames[1:], taken.done.at[0].set(True), taken.respawned, rows)
    pairs = r_training.history_pairs(rng.named(key, "pairs"), history, numbers)
    order = r_training.shuffle(rng.named(key, "order"), pairs.valid)
    slots = order.slots[: min(most, order.slots.size) // 64 * 64]
    env = slots // pairs.label.shape[1]
    cell = cell_of(episodes.position[1:])
    current, other = (cell[index.reshape(-1)[slots], env] for index in (pairs.current, pairs.other))

    def length(start: jax.Array, end: jax.Array, env: jax.Array) -> jax.Array:
        wall = episodes.states.maze.wall[0, env]
        target = jnp.zeros(wall.shape, bool).at[end[1], end[0]].set(True)
        return distances(~wall, target)[start[1], start[0]]

    similar = jax.lax.map(lambda part: _compare(net, variables, history, pairs, part), slots.reshape(-1, 64))
    label = pairs.label.reshape(-1)[slots]
    return similar.reshape(-1), label, jax.vmap(length)(current, other, env), jnp.arange(slots.size) < order.count


def _compare(net: RNetwork, variables: Variables, history: History, pairs: Any, slots: jax.Array) -> jax.Array:
    batch = take_pairs(history, pairs, slots)
    return compare(net, variables, batch.current, batch.other)


def by_distance(similar: np.ndarray, label: np.ndarray, length: np.ndarray, there: np.ndarray) -> Figures:
    """Accuracy, and by path distance the mean similarity and the accuracy of both kinds of pairs."""
    right = (similar > 0.5) == (label == 1)
    rows = []
    for low, high in DISTANCES:
        inside = there & (length >= low) & (length <= high)
        row: Figures = {"cells": [low, high], "pairs": int(inside.sum())}
        if inside.any():
            row |= {"similarity": _mean(similar[inside]), "accuracy": _mean(right[inside])}
        for kind, name in ((1, "near_in_time"), (0, "far_in_time")):
            some = inside & (label == kind)
            if some.any():
                row[name] = {"pairs": int(some.sum()), "accuracy": _mean(right[some])}
        rows.append(row)
    balanced = 0.5 * (right[there & (label == 1)].mean() + right[there & (label == 0)].mean())
    return {
        "pairs": int(there.sum()),
        "accuracy": _mean(right[there]),
        "balanced_accuracy": round(float(balanced), 4),
        "by_path_distance": rows,
    }


def describe(run: CuriousRun, options: CuriosityEvidenceConfig) -> Figures:
    """The run's command, revision and machine, and what was trained."""
    config, starts = run.config, run.directory.read_starts()
    start = starts[-1]
    return {
        "command": portable(starts[0]["command"]),  # of those that resume it, none says what it is
        "options": label(config, ignored=["r_network"]),  # each seed may use that of another run
        "scenario": config.scenario,
        "metric": config.metric,
        "method": config.method,
        "control": config.reachability.control,
        "revision": start["git_revision"],
        "machine": {name: start[name] for name in ("cpu_count", "backend", "device_kind", "python")}
        | {"jax": start["packages"]["jax"]},
        "measured_on": {name: getattr(options, name) for name in ("episodes", "steps", "shots", "pairs")},
    }


def training(run: CuriousRun) -> Figures:
    """How much the run has trained, and how long that took."""
    stage = stage_store(run.config, run.directory, lambda _: None).latest() or 0
    return {
        "env_steps": run.step,
        "minutes": _minutes(run.directory.path / TIMING),
        "r_network_minutes": _minutes(run.directory.path / FOLDER / TIMING),
        "r_network_pairs": stage * run.config.reachability.offline.batch,
    }


def _minutes(path: Path) -> float | None:
    """Of training, as a `timing.jsonl` says it; None where there is none."""
    return round(max(read_wall_seconds(path).values(), default=0.0) / 60, 1) if path.exists() else None


def curve(run: CuriousRun, index: int) -> Figures:
    """The evaluations in test mazes that one seed of the run made on its way."""
    if not run.step:
        return {}
    name = run.config.metric
    series = read_metrics(run.directory.seed_directories()[index] / "metrics.jsonl")[f"test_{name}"]
    return {"curve": {"env_steps": series.steps.astype(int).tolist(), name: series.values.round(3).tolist()}}


def run(arguments: Sequence[str]) -> int:
    """Measure and write as the command line says; returns the exit code."""
    options, console = parse(CuriosityEvidenceConfig, arguments, CuriosityEvidenceConfig()), Console()
    for option in ("episodes", "steps", "shots", "pairs"):
        require(getattr(options, option) >= 64 or option == "episodes", option, getattr(options, option), "64 or more")
    require(options.episodes >= 1, "episodes", options.episodes, "it must be at least 1")
    enable_compilation_cache()
    folder = Path(options.output)
    for path in options.runs:
        restored = read_run(path, console)
        require(restored.config.scenario != ANT, "runs", path, "the ant has no maze; name runs in mazes")
        folder.mkdir(parents=True, exist_ok=True)
        name = restored.directory.path.name.removesuffix(f"_{restored.config.seed}")
        add(folder, name, describe(restored, options) | measure(restored, options))
        console.print(f"figures   {folder / name}.json", soft_wrap=True)
    console.print(f"page      {write_page(folder)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
