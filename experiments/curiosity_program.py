"""The compiled programs of an Episodic Curiosity run, for one seed or many."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from envs.maze3d import SPLITS
from experiments.compilation import compiler_options
from experiments.curiosity_config import MAY_CHANGE, CuriosityRunConfig
from experiments.options import made_with
from experiments.seeds import over_seeds, placed, seed_keys
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.curiosity import evaluation, ppo, training
from peg_jax.curiosity.config import CuriosityConfig
from peg_jax.curiosity.evaluation import Evaluation
from peg_jax.curiosity.task import EnvParams, Task
from peg_jax.curiosity.training import SEED_AXES, TrainState
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.progress import compiling

EVALUATED = ("validation", "test")
"""Splits that are evaluated, in the order of the results."""


class Program(NamedTuple):
    """Ahead-of-time compiled functions; a call with other shapes raises instead of recompiling."""

    init: Callable[[Key], TrainState] | None
    epoch: Callable[[CuriosityConfig, TrainState], tuple[TrainState, Metrics]]
    evaluate: Callable[[Params, Key], Evaluation]  # [seeds, splits, environments]


class Pictures(NamedTuple):
    """An episode for people, `[T, ...]`."""

    view: Array  # [T, height, width, 3]
    map: Array  # [T, H, W, 3]
    alive: Array  # [T] bool


def abstract_state(config: CuriosityRunConfig, task: Task) -> TrainState:
    """Shapes of the run's state, all seeds together, and where they lie; nothing is computed."""
    return placed(jax.eval_shape(_init(config, task), seed_keys(config)), config.num_seeds, SEED_AXES)


def checkpoint_store(
    config: CuriosityRunConfig, directory: RunDirectory, warn: Callable[[str], None]
) -> CheckpointStore:
    """The checkpoints of a run; `warn` is told of those that cannot be used."""
    return CheckpointStore(directory.checkpoints, made_with=made_with(config, MAY_CHANGE), warn=warn)


def compile_program(config: CuriosityRunConfig, task: Task, state: TrainState, fresh: bool) -> Program:
    """Compile what a run needs, saying so on the way.

    Args:
        config: the run's options.
        task: its task.
        state: its state, which may be abstract.
        fresh: whether the run begins, so that `Program.init` is needed.
    """
    updates = max(1, config.log_every // (config.ppo.num_envs * config.ppo.rollout))
    total = ppo.num_updates(config.ppo, config.schedule_steps or config.steps)

    def run_epoch(algorithm: CuriosityConfig, state: TrainState) -> tuple[TrainState, Metrics]:
        def epoch(state: TrainState) -> tuple[TrainState, Metrics]:
            return training.epoch(task, algorithm, config.method, total, state, updates)

        return over_seeds(epoch, config.num_seeds, (SEED_AXES,), (SEED_AXES, 0))(state)

    def run_evaluate(params: Params, key: Key) -> Evaluation:
        return over_seeds(partial(_evaluate, config, task), config.num_seeds, (0, 0), 0)(params, key)

    with compiling("training and evaluation"), ThreadPoolExecutor() as pool:
        options = compiler_options(config)
        start = jax.jit(_init(config, task)).lower(seed_keys(config)) if fresh else None
        init = pool.submit(start.compile, options) if start else None
        epoch = pool.submit(jax.jit(run_epoch, donate_argnums=1).lower(config.algorithm(), state).compile, options)
        lowered = jax.jit(run_evaluate).lower(state.seed.learner.params, seed_keys(config))
        evaluate = pool.submit(lowered.compile, options)
    return Program(init.result() if init else None, epoch.result(), evaluate.result())


def _init(config: CuriosityRunConfig, task: Task) -> Callable[[Key], TrainState]:
    algorithm = config.algorithm()
    return over_seeds(lambda key: training.init(task, algorithm, key), config.num_seeds, (0,), SEED_AXES)


def _split_params(task: Task, split: int | Array) -> EnvParams:
    return dataclasses.replace(task.params, split=split)


def _evaluate(config: CuriosityRunConfig, task: Task, params: Params, key: Key) -> Evaluation:
    """Both splits of one seed, `[splits, environments]`."""
    apply, steps = training.build_network(task, config.algorithm()), int(task.params.max_steps_in_episode)

    def one(split: Array, key: Key) -> Evaluation:
        return evaluation.evaluate(task, apply, params, _split_params(task, split), config.eval_envs, steps, key)

    splits = jnp.array([SPLITS.index(name) for name in EVALUATED])
    return jax.vmap(one)(splits, jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, splits))


def make_recorder(config: CuriosityRunConfig, task: Task) -> Callable[[Params, Key], Pictures]:
    """A compiled function that plays a test episode and draws it: the view, and the map beside it."""
    apply, steps = training.build_network(task, config.algorithm()), int(task.params.max_steps_in_episode)
    params_of_test = _split_params(task, SPLITS.index("test"))

    def record(params: Params, key: Key) -> Pictures:
        recording = evaluation.record(task, apply, params, params_of_test, steps, key)
        return Pictures(recording.obs, recording.map, recording.alive)

    return jax.jit(record)
