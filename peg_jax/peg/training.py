"""PEG's training loop, Algorithm 1 of the paper, as pure functions over one `TrainState`.

An epoch is a scan over cycles. A cycle plans goals when they are due, sends `num_envs` environments toward them,
explores from where they got to, learns in bursts on the way and lays the episodes into the replay.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.clock import Clock, init_clock, tick
from peg_jax.core.environment import Task
from peg_jax.core.replay import Episode, Replay, ReplayState, make_replay
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.peg import agent as agent_module
from peg_jax.peg import rollout
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.goals import STRATEGIES, GoalContext, GoalState, init_goal_state
from peg_jax.peg.rollout import RolloutState


@struct.dataclass
class Progress:
    """Counters shared by all seeds of a run; kept apart so that timers stay real branches under `vmap`."""

    cycles: Array  # int32 []
    episodes: Array  # int32 [], prefill included
    env_steps: Array  # int32 [], prefill included
    updates: Array  # int32 []
    goal_clock: Clock


@struct.dataclass
class SeedState:
    """Everything of one seed."""

    key: Key
    agent: AgentState
    replay: ReplayState
    goals: GoalState


@struct.dataclass
class TrainState:
    """All that a resume needs. In a run of several seeds, `seed` has a leading axis and `progress` has none."""

    seed: SeedState
    progress: Progress


class CycleLog(NamedTuple):
    """What a cycle shows to the host."""

    metrics: Metrics
    goals: Array  # [E, D], the goals commanded


def build_replay(task: Task, config: PEGConfig) -> Replay:
    """The replay's functions for a task."""
    return make_replay(
        config.loop.num_envs,
        config.replay.capacity,
        task.episode_steps + 1,
        config.replay.length,
        config.replay.prioritize_ends,
    )


def init(task: Task, config: PEGConfig, key: Key) -> TrainState:
    """A run that has seen and learned nothing; its replay is empty, see `warm_up`."""
    size, actions = task.obs_size, task.action_size
    record = Episode(
        jnp.zeros((task.episode_steps + 1, size)),
        jnp.zeros((task.episode_steps + 1, actions)),
        jnp.zeros((task.episode_steps + 1, size)),
    )
    seed = SeedState(
        key=key,
        agent=agent_module.init(config.agent, rollout.task_spec(task), rng.named(key, "init")),
        replay=build_replay(task, config).init(record),
        goals=init_goal_state(task),
    )
    zero = jnp.zeros((), jnp.int32)
    return TrainState(seed, Progress(zero, zero, zero, zero, init_clock()))


def warm_up(task: Task, config: PEGConfig, state: TrainState) -> TrainState:
    """Prefill the replay with random episodes and make the first updates."""
    replay, loop, seed = build_replay(task, config), config.loop, state.seed
    batches = -(-loop.prefill // loop.num_envs)

    def fill(replay_state: ReplayState, key: Key) -> tuple[ReplayState, None]:
        return replay.insert(replay_state, rollout.random_episodes(task, loop.num_envs, key)), None

    keys = jax.random.split(rng.named(seed.key, "prefill"), batches)
    replay_state, _ = jax.lax.scan(fill, seed.replay, keys)
    agent, _ = learn(task, config, seed.agent, replay_state, rng.named(seed.key, "pretrain"), loop.pretrain)
    episodes = batches * loop.num_envs
    progress = dataclasses.replace(
        state.progress,
        episodes=state.progress.episodes + episodes,
        env_steps=state.progress.env_steps + episodes * task.episode_steps,
        updates=state.progress.updates + loop.pretrain,
    )
    return TrainState(dataclasses.replace(seed, agent=agent, replay=replay_state), progress)


def learn(
    task: Task, config: PEGConfig, agent: AgentState, replay_state: ReplayState, key: Key, updates: int
) -> tuple[AgentState, Metrics]:
    """`updates` full updates on fresh replay batches; metrics are `[updates]` arrays."""
    replay = build_replay(task, config)

    def one(agent: AgentState, key: Key) -> tuple[AgentState, Metrics]:
        batch = replay.sample(replay_state, rng.named(key, "batch"), config.replay.batch)
        return agent_module.update(config.agent, rollout.task_spec(task), agent, batch, rng.named(key, "update"))

    return jax.lax.scan(one, agent, jax.random.split(key, updates))


def cycle(task: Task, config: PEGConfig, method: str, state: TrainState) -> tuple[TrainState, CycleLog]:
    """One round of Algorithm 1: choose goals, go, explore, learn, remember."""
    seed, progress, loop = state.seed, state.progress, config.loop
    key = jax.random.fold_in(seed.key, progress.cycles)
    replay = build_replay(task, config)
    obs, env_state = rollout.reset(task, loop.num_envs, rng.named(key, "reset"))

    # Choose goals: plan when due, then draw one goal per episode.
    strategy = STRATEGIES[method]
    context = GoalContext(task, config, seed.agent, replay, seed.replay, obs)
    due, clock = tick(progress.goal_clock, progress.episodes + 1, loop.goal_update_every)
    refresh_key = rng.named(key, "refresh")
    goals = jax.lax.cond(due, lambda: strategy.refresh(context, seed.goals, refresh_key), lambda: seed.goals)
    commanded = strategy.choose(context, goals, rng.named(key, "choose"), loop.num_envs)

    # Go and explore, learning in bursts on the way.
    start = rollout.begin(task, config.agent, obs, env_state, commanded)

    def burst(carry: tuple[AgentState, RolloutState], key: Key) -> tuple[tuple[AgentState, RolloutState], tuple]:
        agent, episodes = carry
        episodes, records = rollout.advance(task, config, agent, episodes, loop.train_every, rng.named(key, "act"))
        agent, metrics = learn(task, config, agent, seed.replay, rng.named(key, "learn"), loop.updates_per_burst)
        return (agent, episodes), (records, metrics)

    bursts = task.episode_steps // loop.train_every
    keys = jax.random.split(rng.named(key, "bursts"), bursts)
    (agent, finished), (records, metrics) = jax.lax.scan(burst, (seed.agent, start), keys)

    # Remember.
    records = jax.tree.map(lambda x: x.reshape(task.episode_steps, *x.shape[2:]), records)
    replay_state = replay.insert(seed.replay, rollout.assemble(obs, records, commanded))
    progress = Progress(
        cycles=progress.cycles + 1,
        episodes=progress.episodes + loop.num_envs,
        env_steps=progress.env_steps + loop.num_envs * task.episode_steps,
        updates=progress.updates + bursts * loop.updates_per_burst,
        goal_clock=clock,
    )
    metrics = jax.tree.map(jnp.mean, metrics) | rollout.rollout_metrics(finished)
    return TrainState(SeedState(seed.key, agent, replay_state, goals), progress), CycleLog(metrics, commanded)


def epoch(task: Task, config: PEGConfig, method: str, state: TrainState, cycles: int) -> tuple[TrainState, CycleLog]:
    """`cycles` cycles in one scan; the log has a leading cycle axis."""
    return jax.lax.scan(lambda state, _: cycle(task, config, method, state), state, None, length=cycles)
