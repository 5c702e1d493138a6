"""The reachability network of `ppo_plus_ec`: trained before the policy, in the run's directory, or another run's.

Layout, as of a run: `r_network/checkpoints/`, `r_network/timing.jsonl`, and `r_network/metrics.jsonl` with gradient
updates as steps, in `r_network/seed_<seed>/` where there are several seeds.
"""

import dataclasses
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d import SPLITS
from experiments.compilation import compiler_options
from experiments.curiosity_config import BEFORE, CuriosityRunConfig
from experiments.logs import WallClock
from experiments.memory import Growing, require_memory
from experiments.options import made_with
from experiments.seeds import over_seeds, seed_keys
from peg_jax.core import rng
from peg_jax.core.config import ConfigError, require
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.curiosity import offline
from peg_jax.curiosity.config import CuriosityConfig
from peg_jax.curiosity.history import History, append, init_history, rows_for
from peg_jax.curiosity.offline import OFFLINE_AXES, OfflineState, Walking
from peg_jax.curiosity.r_network import RNetworkState
from peg_jax.curiosity.task import Task
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import NumbersError, RunError
from peg_jax.run.metrics import MetricsWriter
from peg_jax.run.progress import ProgressBar, compiling
from peg_jax.run.session import Session

FOLDER = "r_network"
SAVES = 20  # checkpoints of a stage, at most
WALKED = ("r_training", "validation")  # streams of mazes: to learn from, and to be judged on
PART_ROWS = 2048  # vector steps that are walked in one call, at most
DECIDING = ("seed", "num_seeds", "scenario", "maze", "ppo.num_envs", "reachability")
"""Options that the network depends on; those of a part stand for all in it."""


class Stage(NamedTuple):
    """Compiled functions."""

    init: Callable[[Key], OfflineState]
    begin: Callable[[Key, Array], Walking]  # a walk through a stream of mazes
    walk: Callable[[Walking, Key, Array], tuple[Walking, History]]  # a part of it
    add: Callable[[History, History], History]  # such a part to what was walked before
    epoch: Callable[[CuriosityConfig, History, History, OfflineState], tuple[OfflineState, Metrics]]


def trains_r_network(config: CuriosityRunConfig) -> bool:
    """Whether a run has this stage."""
    return config.method == BEFORE and not config.r_network and config.reachability.control != "untrained"


def abstract_stage(config: CuriosityRunConfig, task: Task) -> OfflineState:
    """Shapes of the stage's state, all seeds together."""
    return jax.eval_shape(_init(config, task), stage_keys(config))


def stage_keys(config: CuriosityRunConfig) -> Key:
    """One key per seed."""
    return jax.vmap(lambda key: rng.named(key, "r_network"))(seed_keys(config))


def stage_store(config: CuriosityRunConfig, directory: RunDirectory, warn: Callable[[str], None]) -> CheckpointStore:
    """The checkpoints of a run's stage."""
    options = {
        name: value
        for name, value in made_with(config, ()).items()
        if any(name == part or name.startswith(f"{part}.") for part in DECIDING)
    }
    return CheckpointStore(directory.path / FOLDER / "checkpoints", made_with=options, warn=warn)


def total_updates(config: CuriosityRunConfig) -> int:
    """Gradient steps of the whole stage."""
    return config.reachability.offline.epochs * config.reachability.offline.updates


def train_r_networks(config: CuriosityRunConfig, task: Task, session: Session) -> RNetworkState:
    """Train the networks of all seeds, from where an earlier start left off; leaves `[num_seeds, ...]`.

    Raises:
        StoppedError: the run was asked to stop, and the stage is saved.
        NumbersError: no seed is left whose numbers are finite.
        RunError: no checkpoint fits, or the disk refuses.
    """
    store = stage_store(config, session.directory, session.say)
    template = abstract_stage(config, task)
    resumed_at: int | None = None
    if store.latest() is not None:
        state, resumed_at = store.restore(template)
        if resumed_at >= total_updates(config):
            return state.seed.network
        session.say(f"R-network resumed at {resumed_at:,} of {total_updates(config):,} updates")
    stage = compile_stage(config, task, template)
    state = stage.init(stage_keys(config)) if resumed_at is None else state
    session.say("R-network: walking at random through mazes to learn from, and through others to be judged on")
    training, validation = (collect(config, task, stage, split) for split in WALKED)
    return _train(config, session, store, stage, state, training, validation, resumed_at)


def _train(
    config: CuriosityRunConfig,
    session: Session,
    store: CheckpointStore,
    stage: Stage,
    state: OfflineState,
    training: History,
    validation: History,
    resumed_at: int | None,
) -> RNetworkState:
    total, updates = total_updates(config), resumed_at or 0
    every = max(1, config.reachability.offline.epochs // SAVES) * config.reachability.offline.updates
    place, seeds = session.directory.path / FOLDER, range(config.seed, config.seed + config.num_seeds)
    paths = [place / f"seed_{seed}" for seed in seeds] if config.num_seeds > 1 else [place]
    writers = [MetricsWriter(path, resumed_at) for path in paths]
    clock = WallClock(place, resumed_at)
    with ProgressBar("R-network", total, updates, session.console) as bar, session.training():
        while updates < total:
            before = updates
            state, metrics = stage.epoch(config.algorithm(), training, validation, state)
            updates = int(state.updates)
            table = {name: np.asarray(value) for name, value in metrics.items()}
            for index, writer in enumerate(writers):
                writer.write(updates, {name: values[index] for name, values in table.items()})
            bar.update(updates, updates - (resumed_at or 0))
            clock.write(updates, bar.steps_per_second, bar.updates_per_second)
            session.check()
            stopping = session.stopping
            bad = np.asarray(state.seed.network.bad_updates)
            _require_good(config, bad)
            if stopping or updates >= total or updates // every > before // every:
                store.save(updates, state, good=not bad.any())
            if stopping and updates < total:
                session.leave(updates, "updates of the R-network")
    for writer in writers:
        writer.close()
    return state.seed.network


def _require_good(config: CuriosityRunConfig, bad: np.ndarray) -> None:
    limit = config.ppo.bad_updates
    if limit and (bad >= limit).all():
        raise NumbersError(
            f"the R-networks of all seeds went bad: {limit} updates in a row were not finite. "
            "A run with a smaller --reachability.offline.optimizer.learning-rate may do better"
        )


def require_stage_memory(config: CuriosityRunConfig, task: Task) -> None:
    """Refuse walks that cannot fit into memory.

    Raises:
        ConfigError: names the option that would help and a value that fits.
    """
    growing = Growing("random steps", "reachability.offline.steps", config.reachability.offline.steps)
    require_memory(config.num_seeds, stage_sizes(config, task), growing)


def stage_sizes(config: CuriosityRunConfig, task: Task) -> dict[str, Any]:
    """The parts of one seed's stage, as shapes."""
    template = abstract_stage(config, task)
    network = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), template.seed.network)
    walks = [jax.eval_shape(partial(_empty, config, task, split)) for split in WALKED]
    return {"R-network": network, "random steps": walks}


def compile_stage(config: CuriosityRunConfig, task: Task, state: OfflineState) -> Stage:
    """Compile what the stage needs; `state` may be abstract."""

    def run_epoch(
        algorithm: CuriosityConfig, training: History, validation: History, state: OfflineState
    ) -> tuple[OfflineState, Metrics]:
        def epoch(training: History, validation: History, state: OfflineState) -> tuple[OfflineState, Metrics]:
            return offline.epoch(algorithm.reachability, training, validation, state)

        mapped = over_seeds(epoch, config.num_seeds, (0, 0, OFFLINE_AXES), (OFFLINE_AXES, 0))
        return mapped(training, validation, state)

    options, keys = compiler_options(config), stage_keys(config)
    histories = [_of_all_seeds(config, task, split) for split in WALKED]
    append_part = over_seeds(_append, config.num_seeds, (0, 0), 0)
    with compiling("random walks and the R-network"), ThreadPoolExecutor() as pool:
        init = pool.submit(jax.jit(_init(config, task)).lower(keys).compile, options)
        stream, (begin_walk, walk_on) = jnp.zeros((), jnp.int32), _walk(config, task)
        walking = jax.eval_shape(begin_walk, keys, stream)
        begin = pool.submit(jax.jit(begin_walk).lower(keys, stream).compile, options)
        walk = pool.submit(jax.jit(walk_on, donate_argnums=0).lower(walking, keys, stream).compile, options)
        epoch = jax.jit(run_epoch, donate_argnums=3).lower(config.algorithm(), *histories, state).compile(options)
        add = jax.jit(append_part, donate_argnums=0)
        return Stage(init.result(), begin.result(), walk.result(), add, epoch)


def collect(config: CuriosityRunConfig, task: Task, stage: Stage, split: str) -> History:
    """Walk through one of the `WALKED` streams, all seeds; it follows from the keys alone."""
    history = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), _of_all_seeds(config, task, split))
    stream = jnp.asarray(SPLITS.index(split), jnp.int32)
    keys = jax.vmap(lambda key: rng.named(key, split))(stage_keys(config))
    walking = stage.begin(jax.vmap(lambda key: rng.named(key, "begin"))(keys), stream)
    for index in range(math.ceil(history.done.shape[1] / part_rows(config))):
        part_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)
        walking, part = stage.walk(walking, part_keys, stream)
        history = stage.add(history, part)
    return history


def part_rows(config: CuriosityRunConfig) -> int:
    """Vector steps of a part of a walk; the next part goes on where it ended."""
    return min(PART_ROWS, *(_rows(config, split) for split in WALKED))


def _rows(config: CuriosityRunConfig, split: str) -> int:
    numbers = config.reachability.offline
    return rows_for(numbers.steps if split == WALKED[0] else numbers.validation_steps, config.ppo.num_envs)


def _empty(config: CuriosityRunConfig, task: Task, split: str) -> History:
    return init_history(_rows(config, split), config.ppo.num_envs, task.frame_shape)


def _of_all_seeds(config: CuriosityRunConfig, task: Task, split: str) -> History:
    """Shapes of all seeds' walks."""
    one = jax.eval_shape(partial(_empty, config, task, split))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((config.num_seeds, *x.shape), x.dtype), one)


def _append(history: History, part: History) -> History:
    return append(history, part.frames, part.done, part.respawned)


def _init(config: CuriosityRunConfig, task: Task) -> Callable[[Key], OfflineState]:
    reachability = config.algorithm().reachability
    return over_seeds(lambda key: offline.init(task, reachability, key), config.num_seeds, (0,), OFFLINE_AXES)


def _walk(config: CuriosityRunConfig, task: Task) -> tuple[Callable[..., Walking], Callable[..., Any]]:
    """Of all seeds: how a walk begins, and a part of it."""

    def begin(key: Key, split: Array) -> Walking:
        return offline.begin_walk(task, dataclasses.replace(task.params, split=split), config.ppo.num_envs, key)

    def walk(walking: Walking, key: Key, split: Array) -> tuple[Walking, History]:
        return offline.random_walk(task, dataclasses.replace(task.params, split=split), walking, part_rows(config), key)

    return over_seeds(begin, config.num_seeds, (0, None), 0), over_seeds(walk, config.num_seeds, (0, 0, None), 0)


def load_r_networks(config: CuriosityRunConfig, task: Task, warn: Callable[[str], None]) -> RNetworkState:
    """The networks of the run in `config.r_network`, seed i taking that of its seed i, and the first after the last.

    Raises:
        ConfigError: there is none, or it is of another kind.
    """
    other = _run_with_network(config)
    store = stage_store(other, RunDirectory(config.r_network), warn)
    done, total = store.latest() or 0, total_updates(other)
    complete = f"its R-network has made {done} of {total} updates; finish that run first"
    require(done >= total, "r_network", config.r_network, complete)
    try:
        networks = store.restore(abstract_stage(other, task))[0].seed.network
    except RunError as error:
        raise ConfigError(f"--r-network={config.r_network} cannot work: {error}") from error
    lanes = np.arange(config.num_seeds) % other.num_seeds
    return jax.tree.map(lambda x: x[lanes], networks)


def _run_with_network(config: CuriosityRunConfig) -> CuriosityRunConfig:
    """The options of the run in `config.r_network`, which must fit."""
    path = config.r_network
    name = f"name the --logdir of a run of {BEFORE}"
    require((Path(path).expanduser() / "config.json").is_file(), "r_network", path, f"there is no run; {name}")
    try:
        other = RunDirectory(path).read_config_as(CuriosityRunConfig)
    except RunError as error:
        raise ConfigError(f"--r-network={path} cannot work: it is no run of Episodic Curiosity; {name}") from error
    require(other.method == BEFORE, "r_network", path, f"it is a run of {other.method}; {name}")
    borrowed = f"it has none of its own; use --r-network={other.r_network}"
    require(not other.r_network, "r_network", path, borrowed)
    require(other.reachability.control != "untrained", "r_network", path, f"its R-network is untrained; {name}")
    mine, theirs = ({n: v for n, v in made_with(c, ()).items() if n in _shape_options(c)} for c in (config, other))
    for option, value in theirs.items():
        same = f"it has {option} = {value}, here it is {mine[option]}; give --{option.replace('_', '-')}={value}"
        require(mine[option] == value, "r_network", path, same)
    return other


def _shape_options(config: CuriosityRunConfig) -> set[str]:
    """Options that say what a network looks like and at what."""
    parts = ("reachability.network.", "maze.height", "maze.width")
    return {name for name in made_with(config, ()) if name.startswith(parts)}
