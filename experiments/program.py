"""The compiled programs of a run: everything that touches the accelerator, for one seed or many."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

import envs
from experiments.compilation import compiler_options, lower
from experiments.config import MAY_CHANGE, RunConfig, make_env
from experiments.env_devices import EVERYWHERE, lying, shardings
from experiments.options import HOST_ONLY, made_with, without, without_values
from experiments.seeds import over_seeds, placed, seed_keys
from experiments.traces import Lowered
from peg_jax.core import rng
from peg_jax.core.environment import Task, make_task
from peg_jax.core.replay import Episode, latest
from peg_jax.core.types import Array, Key
from peg_jax.peg import evaluation, inspection, training, world_model
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.evaluation import Evaluation
from peg_jax.peg.goals import StrategyState
from peg_jax.peg.inspection import Inspection
from peg_jax.peg.networks import make_networks
from peg_jax.peg.rollout import task_spec
from peg_jax.peg.strategies.planned import PlannedGoals, imagine_go_phase, start_latent
from peg_jax.peg.training import SEED_AXES, CycleLog, TrainState
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.progress import compiling

EvaluateFn = Callable[[PEGConfig, AgentState, Key], Evaluation]
ADDED_LEAVES = ("state.seed.bad_updates",)  # since the first format of checkpoints


class Program(NamedTuple):
    """Ahead-of-time compiled functions; a call with other shapes raises instead of recompiling."""

    task: Task
    init: Callable[[Key], TrainState] | None
    epoch: Callable[[PEGConfig, TrainState], tuple[TrainState, CycleLog]]
    evaluate: EvaluateFn
    cycles_per_epoch: int


def run_task(config: RunConfig) -> Task:
    """The task of a run."""
    return make_task(*make_env(config))


def compiled_part(config: RunConfig) -> RunConfig:
    """The options without those that no compiled program depends on."""
    return without(config, (*HOST_ONLY, "steps", "replay_from"))


def abstract_state(config: RunConfig, task: Task) -> TrainState:
    """Shapes of the run's state, all seeds together, and where they lie; nothing is computed."""
    state = placed(jax.eval_shape(_init(config, task), seed_keys(config)), config.num_seeds, SEED_AXES)
    return state if config.env_devices == 1 else lying(state, env_axes(state), config.env_devices)


def env_axes(state: TrainState) -> TrainState:
    """Where each leaf has its environments: axis 1 of what the replay holds, after the seeds'."""
    axes = jax.tree.map(lambda _: EVERYWHERE, state)
    stored = jax.tree.map(lambda _: 1, state.seed.replay.experience)
    replay = dataclasses.replace(axes.seed.replay, experience=stored)
    return dataclasses.replace(axes, seed=dataclasses.replace(axes.seed, replay=replay))


def checkpoint_store(config: RunConfig, directory: RunDirectory, warn: Callable[[str], None]) -> CheckpointStore:
    """The checkpoints of a run; `warn` is told of those that cannot be used."""
    return CheckpointStore(
        directory.checkpoints, made_with=made_with(config, MAY_CHANGE), added=ADDED_LEAVES, warn=warn
    )


def compile_program(config: RunConfig, task: Task, state: TrainState, fresh: bool = True) -> Program:
    """Compile what a run needs, saying so on the way.

    Args:
        config: the run's options.
        task: its task.
        state: its state, which may be abstract.
        fresh: whether the run begins, so that `Program.init` is needed.
    """
    config = compiled_part(config)
    cycles = max(1, config.log_every // (config.loop.num_envs * task.episode_steps))

    def run_epoch(algorithm: PEGConfig, state: TrainState) -> tuple[TrainState, CycleLog]:
        epoch = partial(training.epoch, task, algorithm, config.method, cycles=cycles)
        return over_seeds(lambda s: epoch(state=s), config.num_seeds, (SEED_AXES,), (SEED_AXES, 0))(state)

    # Compiling leaves the interpreter free: the first programs are compiled while the next are traced.
    with compiling("training and evaluation"), ThreadPoolExecutor() as pool:
        options, stays = compiler_options(config), shardings(state, config.env_devices)
        start = lower(config, task.env, "init", _init(config, task), seed_keys(config), stay=stays) if fresh else None
        init = pool.submit(start.compile, options) if start else None
        make = partial(lower, without_values(config), task.env, "epoch", run_epoch)
        epoch = make(config.algorithm(), state, donate=1, stay=stays and (stays, None))
        train = pool.submit(epoch.compile, options)
        evaluate = pool.submit(_lower_evaluation(config, task, state).compile, options)
    return Program(task, init.result() if init else None, train.result(), evaluate.result(), cycles)


def compile_evaluation(config: RunConfig, task: Task, state: TrainState) -> EvaluateFn:
    """The evaluation alone, for a run that is not trained further; `state` may be abstract."""
    config = compiled_part(config)
    with compiling("evaluation"):
        return _lower_evaluation(config, task, state).compile(compiler_options(config))


def _lower_evaluation(config: RunConfig, task: Task, state: TrainState) -> Lowered:
    def run_evaluate(algorithm: PEGConfig, agent: AgentState, key: Key) -> Evaluation:
        evaluate = partial(evaluation.evaluate, task, algorithm, repeats=config.eval_repeats)
        return over_seeds(evaluate, config.num_seeds, (0, 0), 0)(agent, key)

    arguments = config.algorithm(), state.seed.agent, seed_keys(config)
    return lower(without_values(config), task.env, "evaluation", run_evaluate, *arguments)


def _init(config: RunConfig, task: Task) -> Callable[[Key], TrainState]:
    algorithm = config.algorithm()
    return over_seeds(lambda key: training.init(task, algorithm, config.method, key), config.num_seeds, (0,), SEED_AXES)


def imagined_paths(task_name: str, config: PEGConfig, agent: AgentState, goals: PlannedGoals, key: Key) -> Array:
    """Decoded imagined rollouts toward the elites of one seed's last plan, `[C, Hp+1, D]`."""
    task = make_task(*envs.make(task_name))
    nets = make_networks(config.agent, task_spec(task))
    start = start_latent(nets, agent, config, goals.start_obs, rng.named(key, "start"))
    way = imagine_go_phase(task, config, agent, start, goals.elites, rng.named(key, "dream"))
    return jnp.swapaxes(world_model.decode(nets, agent.model, way.feature), 0, 1)


class Shown(NamedTuple):
    """What pictures of one seed need of a run's state; the rest of the replay stays where it is."""

    agent: AgentState
    goals: StrategyState
    episodes: Episode  # [N, T+1, ...], the latest, oldest first
    key: Key


@partial(jax.jit, static_argnames=("index", "cycles"))
def take_shown(state: TrainState, index: int, cycles: int) -> Shown:
    """What to show of run `index`: its agent, its goals and the episodes of the last `cycles` cycles."""
    agent, goals, key, replay = jax.tree.map(
        lambda x: x[index], (state.seed.agent, state.seed.goals, state.seed.key, state.seed.replay)
    )
    return Shown(agent, goals, latest(replay, cycles), key)


def inspect(task_name: str, config: PEGConfig, shown: Shown, places: Array, goal: Array) -> Inspection:
    """What an agent believes of its episodes and of the way from `places [N, D]` to `goal [D]`."""
    task = make_task(*envs.make(task_name))
    key = rng.named(shown.key, "inspection")
    return inspection.inspect(task, config, shown.agent, shown.episodes, places, goal, key)


@partial(jax.jit, static_argnames="index")
def take_seed(state: TrainState, index: int) -> TrainState:
    """The state of run `index` alone, without the seed axis."""
    return TrainState(jax.tree.map(lambda x: x[index], state.seed), state.progress)
