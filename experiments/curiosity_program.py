"""The compiled programs of an Episodic Curiosity run, for one seed or many."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.splits import SPLITS
from experiments.compilation import at_first_call, compiler_options, lower
from experiments.curiosity_config import BEFORE, BESIDE, CURIOUS, MAY_CHANGE, CuriosityRunConfig
from experiments.env_devices import EVERYWHERE, lying, shardings
from experiments.options import HOST_ONLY, made_with, without
from experiments.seeds import over_seeds, placed, seed_keys
from experiments.traces import Lowered
from peg_jax.core import rng
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.curiosity import acting, evaluation, offline, ppo, reachability, training, watching
from peg_jax.curiosity.config import CuriosityConfig
from peg_jax.curiosity.evaluation import Evaluation
from peg_jax.curiosity.history import History
from peg_jax.curiosity.r_network import RNetwork, RNetworkState, Variables
from peg_jax.curiosity.task import EnvParams, Task
from peg_jax.curiosity.training import SEED_AXES, TrainState
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.progress import compiling

EVALUATED = ("validation", "test")
"""Splits that are evaluated, in the order of the results."""
WATCHED = 4
"""Environments of an evaluation, at most, on whose frames the R-network is judged."""


EvaluateFn = Callable[[Params, Variables | None, Key], tuple[Evaluation, Metrics]]
"""Of all seeds, [seeds, splits, environments], and of their R-networks in unseen mazes, [seeds]."""


class Program(NamedTuple):
    """Ahead-of-time compiled functions; a call with other shapes raises instead of recompiling."""

    init: Callable[[Key], TrainState] | None
    epoch: Callable[[CuriosityConfig, TrainState], tuple[TrainState, Metrics]]
    evaluate: EvaluateFn
    install: Callable[[TrainState, RNetworkState], TrainState] | None  # an R-network into a run that begins


class Pictures(NamedTuple):
    """An episode for people, `[T, ...]`."""

    view: Array  # [T, height, width, 3]
    map: Array  # [T, H, W, 3]
    alive: Array  # [T] bool


def abstract_state(config: CuriosityRunConfig, task: Task) -> TrainState:
    """Shapes of the run's state, all seeds together, and where they lie; nothing is computed."""
    state = placed(jax.eval_shape(_init(config, task), seed_keys(config)), config.num_seeds, SEED_AXES)
    return state if config.env_devices == 1 else lying(state, env_axes(config, state), config.env_devices)


def env_axes(config: CuriosityRunConfig, state: TrainState) -> TrainState:
    """Where each leaf has its environments: after the seeds, and in a history after the steps as well."""
    axes = jax.tree.map(lambda _: EVERYWHERE, state)
    collector, bonus = jax.tree.map(lambda _: 1, state.seed.collector), axes.seed.bonus
    if config.method in CURIOUS:
        history = jax.tree.map(lambda x: 2 if x.ndim > 1 else EVERYWHERE, state.seed.bonus.history)
        memory, views = jax.tree.map(lambda _: 1, (state.seed.bonus.memory, state.seed.bonus.views))
        bonus = dataclasses.replace(bonus, memory=memory, history=history, views=views)
    return dataclasses.replace(axes, seed=dataclasses.replace(axes.seed, collector=collector, bonus=bonus))


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
    config = _compiled_part(config)
    updates = max(1, config.log_every // (config.ppo.num_envs * config.ppo.rollout))
    total = ppo.num_updates(config.ppo, config.schedule_steps)

    def run_epoch(algorithm: CuriosityConfig, state: TrainState) -> tuple[TrainState, Metrics]:
        def epoch(state: TrainState) -> tuple[TrainState, Metrics]:
            return training.epoch(task, algorithm, config.method, total, state, updates)

        return over_seeds(epoch, config.num_seeds, (SEED_AXES,), (SEED_AXES, 0))(state)

    with compiling("training and evaluation"), ThreadPoolExecutor() as pool:
        options, make = compiler_options(config), partial(lower, config, task.env)
        stays = shardings(state, config.env_devices)
        start = make("init", _init(config, task), seed_keys(config), stay=stays) if fresh else None
        init = pool.submit(start.compile, options) if start else None
        train = make("epoch", run_epoch, config.algorithm(), state, donate=1, stay=stays and (stays, None))
        epoch = pool.submit(train.compile, options)
        evaluate = pool.submit(_lower_evaluation(config, task, state).compile, options)
    install = jax.jit(_install(config, task), donate_argnums=0) if fresh and config.method == BEFORE else None
    return Program(init.result() if init else None, epoch.result(), evaluate.result(), install)


def compile_evaluation(config: CuriosityRunConfig, task: Task, state: TrainState) -> EvaluateFn:
    """The evaluation alone, for a run that is not trained further; `state` may be abstract."""
    config = _compiled_part(config)
    with compiling("evaluation"):
        return _lower_evaluation(config, task, state).compile(compiler_options(config))


def _lower_evaluation(config: CuriosityRunConfig, task: Task, state: TrainState) -> Lowered:
    def run_evaluate(params: Params, variables: Variables | None, key: Key) -> tuple[Evaluation, Metrics]:
        return over_seeds(partial(_evaluate, config, task), config.num_seeds, (0, 0, 0), 0)(params, variables, key)

    shown = state.seed.learner.params, r_variables(config, state), seed_keys(config)
    return lower(config, task.env, "evaluation", run_evaluate, *shown)


def _compiled_part(config: CuriosityRunConfig) -> CuriosityRunConfig:
    """The options without those that no compiled program depends on."""
    config = dataclasses.replace(config, schedule_steps=config.schedule_steps or config.steps)
    return without(config, (*HOST_ONLY, "steps", "r_network"))


def _init(config: CuriosityRunConfig, task: Task) -> Callable[[Key], TrainState]:
    algorithm = config.algorithm()
    return over_seeds(lambda key: training.init(task, algorithm, config.method, key), config.num_seeds, (0,), SEED_AXES)


def split_params(task: Task, split: int | Array) -> EnvParams:
    """The environment's parameters in a stream of episodes, an index into `SPLITS`."""
    return dataclasses.replace(task.params, split=split)


def _evaluate(
    config: CuriosityRunConfig, task: Task, params: Params, variables: Variables | None, key: Key
) -> tuple[Evaluation, Metrics]:
    """Both splits of one seed, `[splits, environments]`, and how its R-network does on what was met in unseen mazes."""
    act = acting.by_policy(training.build_network(task, config.algorithm()), params)
    steps = int(task.params.max_steps_in_episode)
    watched = 0 if variables is None else min(WATCHED, config.eval_envs)

    def one(split: Array, key: Key) -> tuple[Evaluation, History | None]:
        mazes = split_params(task, split)
        return evaluation.evaluate(task, act, mazes, config.eval_envs, steps, key, watched)

    splits = jnp.array([SPLITS.index(name) for name in EVALUATED])
    found, met = jax.vmap(one)(splits, jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, splits))
    if variables is None:
        return found, {}
    numbers = config.reachability
    stage = numbers.online if config.method == BESIDE else numbers.offline
    net, met = RNetwork(numbers.network), jax.tree.map(lambda x: x[EVALUATED.index("validation")], met)
    return found, offline.judge(net, variables, met, stage.pairs, stage.batch, rng.named(key, "judge"))


def r_variables(config: CuriosityRunConfig, state: TrainState) -> Variables | None:
    """What the R-network of a method that has one computes with, all seeds together."""
    return state.seed.bonus.network.variables if config.method in CURIOUS else None


def _install(config: CuriosityRunConfig, task: Task) -> Callable[[TrainState, RNetworkState], TrainState]:
    def install(state: TrainState, network: RNetworkState) -> TrainState:
        seed = state.seed
        bonus = reachability.install(task, config.algorithm(), seed.bonus, network, seed.collector)
        return dataclasses.replace(state, seed=dataclasses.replace(seed, bonus=bonus))

    return over_seeds(install, config.num_seeds, (SEED_AXES, 0), SEED_AXES)


def begun(config: CuriosityRunConfig, task: Task, keys: Key, networks: RNetworkState) -> TrainState:
    """A run before its first update, with R-networks `[num_seeds, ...]` that were trained before."""
    return _install(config, task)(_init(config, task)(keys), networks)


def make_recorder(config: CuriosityRunConfig, task: Task) -> Callable[[Params, Key], Pictures]:
    """A compiled function that plays a test episode and draws it: the view, and the map beside it."""
    apply, steps = training.build_network(task, config.algorithm()), int(task.params.max_steps_in_episode)
    params_of_test = split_params(task, SPLITS.index("test"))

    def record(params: Params, key: Key) -> Pictures:
        played = watching.play(task, acting.by_policy(apply, params), params_of_test, 1, steps, key)
        maps = watching.draw_maps(task, played, 0, np.arange(steps), None)
        return Pictures(played.frames[1:, 0], maps, played.alive[:, 0])

    return at_first_call(_compiled_part(config), task.env, "recording", record)
