"""PEG's training loop, Algorithm 1 of the paper, as pure functions over one `TrainState`.

An epoch is a scan over cycles. A cycle plans goals when they are due, sends `num_envs` environments toward them,
explores from where they got to, learns in bursts on the way and lays the episodes into the replay.
"""

import dataclasses
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from peg_jax.core import rng
from peg_jax.core.clock import Clock, init_clock, tick
from peg_jax.core.environment import Task
from peg_jax.core.replay import Episode, Replay, ReplayState, make_replay
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.peg import agent as agent_module
from peg_jax.peg import density, rollout
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.goals import GoalContext, StrategyState
from peg_jax.peg.methods import METHODS
from peg_jax.peg.rollout import RolloutState

BALANCE_SAMPLES = 1_000  # replay states behind the density by which sequences are kept


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
    goals: StrategyState
    bad_updates: Array  # int32 [], the latest updates in a row of which some part was skipped as not finite


@struct.dataclass
class TrainState:
    """All that a resume needs. In a run of several seeds, `seed` has a leading axis and `progress` has none."""

    seed: SeedState
    progress: Progress


SEED_AXES = cast(Any, TrainState)(seed=0, progress=None)
"""Where `vmap` finds the seeds in a `TrainState`."""


class CycleLog(NamedTuple):
    """What a cycle shows to the host."""

    metrics: Metrics
    goals: Array  # [E, D], the goals commanded; NaN in episodes without one
    go_steps: Array  # int32 [E], steps of each episode that were the achiever's


def build_replay(task: Task, config: PEGConfig) -> Replay:
    """The replay's functions for a task."""
    return make_replay(
        config.loop.num_envs,
        config.replay.capacity,
        task.episode_steps + 1,
        config.replay.length,
        config.replay.prioritize_ends,
    )


def init(task: Task, config: PEGConfig, method: str, key: Key) -> TrainState:
    """A run before its first update: fresh networks, and a replay prefilled with random episodes."""
    replay, loop = build_replay(task, config), config.loop
    batches = -(-loop.prefill // loop.num_envs)

    def fill(replay_state: ReplayState, key: Key) -> tuple[ReplayState, None]:
        return replay.insert(replay_state, rollout.random_episodes(task, loop.num_envs, key)), None

    records = task.episode_steps + 1
    empty = replay.init(
        Episode(
            obs=jnp.zeros((records, task.obs_size)),
            action=jnp.zeros((records, task.action_size)),
            goal=jnp.zeros((records, task.obs_size)),
        )
    )
    replay_state, _ = jax.lax.scan(fill, empty, jax.random.split(rng.named(key, "prefill"), batches))
    agent = agent_module.init(config.agent, rollout.task_spec(task), rng.named(key, "init"))
    episodes = jnp.asarray(batches * loop.num_envs, jnp.int32)
    zero = jnp.zeros((), jnp.int32)
    # Give every leaf its type for good: weakly typed ones would compile anew after a resume.
    replay_state = jax.tree.map(lambda x: x.astype(x.dtype), replay_state)
    return TrainState(
        SeedState(key, agent, replay_state, METHODS[method].strategy.init(task, config), zero),
        Progress(zero, episodes, episodes * task.episode_steps, zero, init_clock()),
    )


def sample_batches(config: PEGConfig, replay: Replay, state: ReplayState, key: Key) -> Episode:
    """The data of one full update: `[K, T, B, ...]`, K batches of sequences, one per step of the world model.

    A replay holds far more of the start than of the frontier. With `oversample`, so many times the sequences are drawn,
    and those to keep are drawn among them without replacement, in inverse proportion to the density of their last
    observation, as Skew-Fit draws goals (Pong et al., 2020).
    """
    steps, size, oversample = config.agent.world_model.updates, config.replay.batch, config.replay.oversample
    places_key, density_key, choice_key, order_key = rng.split(key, "places", "density", "choice", "order")
    places = replay.sample_places(state, places_key, steps * size * oversample)
    if oversample > 1:
        fitted = density.fit(replay.sample_records(state, density_key, BALANCE_SAMPLES))
        rarity = -density.log_density(fitted, replay.last_obs(state, places))
        _, kept = jax.lax.top_k(rarity + jax.random.gumbel(choice_key, rarity.shape), steps * size)
        kept = jax.random.permutation(order_key, kept)  # they come rarest first, and all batches are to be alike
        places = jax.tree.map(lambda x: x[kept], places)
    batches = jax.tree.map(lambda x: x.reshape(steps, size), places)
    return jax.vmap(replay.cut, in_axes=(None, 0))(state, batches)


def exchange(symmetries: np.ndarray, batches: Episode, key: Key) -> Episode:
    """Each sequence with the entries of its observations and goals in a random one of the orders `symmetries [S, D]`.

    The original draws among the first three orders of three blocks, and leaves the goals as they are.
    """
    sequences = batches.obs.shape[0], batches.obs.shape[2]  # [K, T, B, D]
    order = jnp.asarray(symmetries)[jax.random.randint(key, sequences, 0, len(symmetries))][:, None]
    obs, goal = (jnp.take_along_axis(x, order, axis=-1) for x in (batches.obs, batches.goal))
    return dataclasses.replace(batches, obs=obs, goal=goal)


def learn(task: Task, config: PEGConfig, seed: SeedState, key: Key, updates: Array | int) -> tuple[SeedState, Metrics]:
    """`updates` full updates on fresh replay batches, and the mean of their metrics; the count may be traced.

    A seed whose last `loop.bad_updates` updates were not finite is left alone: its metrics are NaN.
    """
    replay, spec = build_replay(task, config), rollout.task_spec(task)

    @jax.jit  # traced once, though its shapes are asked for before the loop is
    def one(agent: AgentState, index: Array) -> tuple[AgentState, Metrics]:
        update_key = jax.random.fold_in(key, index)
        batches = sample_batches(config, replay, seed.replay, rng.named(update_key, "batch"))
        if config.replay.shuffle:
            batches = exchange(task.env.symmetries, batches, rng.named(update_key, "exchange"))
        return agent_module.update(config.agent, spec, agent, batches, rng.named(update_key, "update"))

    def goes_on(carry: tuple[Array, AgentState, Array, Metrics]) -> Array:
        index, _, bad, _ = carry
        limit = config.loop.bad_updates
        return (index < updates) & ((limit == 0) | (bad < limit))

    def step(carry: tuple[Array, AgentState, Array, Metrics]) -> tuple[Array, AgentState, Array, Metrics]:
        index, before, bad, total = carry
        agent, metrics = one(before, index)
        bad = jnp.where(metrics["skipped_updates"] > 0, bad + 1, 0)
        return index + 1, agent, bad, jax.tree.map(jnp.add, total, metrics)

    first = jnp.zeros((), jnp.int32)
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, seed.agent, first)[1])
    start = (first, seed.agent, seed.bad_updates, nothing)
    made, agent, bad, total = jax.lax.while_loop(goes_on, step, start)
    return dataclasses.replace(seed, agent=agent, bad_updates=bad), jax.tree.map(lambda x: x / made, total)


def choose_goals(
    task: Task, config: PEGConfig, method: str, seed: SeedState, due: Array, obs: Array, key: Key
) -> tuple[StrategyState, Array]:
    """Plan when it is due, then draw one goal per episode: `(goal state, goals [E, D])`."""
    strategy = METHODS[method].strategy
    context = GoalContext(task, config, seed.agent, build_replay(task, config), seed.replay, obs)
    refresh_key = rng.named(key, "refresh")
    goals = jax.lax.cond(due, lambda: strategy.refresh(context, seed.goals, refresh_key), lambda: seed.goals)
    return goals, strategy.choose(context, goals, rng.named(key, "choose"), obs.shape[0])


def plan_due(config: PEGConfig, progress: Progress) -> tuple[Array, Clock]:
    """Whether a cycle plans: the first one, the second, and then every `goal_update_every` episodes."""
    started = progress.cycles > 0
    due, ticked = tick(progress.goal_clock, progress.episodes, config.loop.goal_update_every)
    clock = jax.tree.map(lambda new, old: jnp.where(started, new, old), ticked, progress.goal_clock)
    return due | ~started, clock


def cycle(task: Task, config: PEGConfig, method: str, state: TrainState) -> tuple[TrainState, CycleLog]:
    """One round of Algorithm 1: learn, choose goals, go and explore (learning on the way), remember.

    Learning comes in bursts, `train_every` environment steps apart. The first burst of an episode precedes its plan;
    the very first one of a run makes the `pretrain` updates as well.
    """
    seed, progress, loop = state.seed, state.progress, config.loop
    key = jax.random.fold_in(seed.key, progress.cycles)
    due, goal_clock = plan_due(config, progress)
    extra = jnp.where(progress.cycles == 0, loop.pretrain, 0)
    obs, env_state = rollout.reset(task, loop.num_envs, rng.named(key, "reset"))
    own_goal = jax.vmap(task.env.desired_goal)(env_state)
    kinds = jnp.asarray(rollout.episode_kinds(loop))
    kind = kinds[(progress.cycles * loop.num_envs + jnp.arange(loop.num_envs)) % len(kinds)]

    wild = jax.random.bernoulli(rng.named(key, "wild"), loop.random_explore, (loop.num_envs,))

    # One body for all bursts, though only the first one plans: the learning in it is most of what is compiled.
    def burst(
        carry: tuple[SeedState, RolloutState], inputs: tuple[Array, Key]
    ) -> tuple[tuple[SeedState, RolloutState], tuple[Episode, Metrics]]:
        (seed, episodes), (first, key) = carry, inputs
        updates = loop.updates_per_burst + jnp.where(first, extra, 0)
        seed, metrics = learn(task, config, seed, rng.named(key, "learn"), updates)
        goals_key = rng.named(key, "goals")
        goals, commanded = jax.lax.cond(
            first,
            lambda: choose_goals(task, config, method, seed, due, obs, goals_key),
            lambda: (seed.goals, episodes.goal),
        )
        has_goal = (kind != rollout.EXPLORER)[:, None]
        episodes = dataclasses.replace(episodes, goal=jnp.where(has_goal, commanded, own_goal))
        episodes, records = rollout.advance(task, config, seed.agent, episodes, loop.train_every, rng.named(key, "act"))
        return (dataclasses.replace(seed, goals=goals), episodes), (records, metrics)

    bursts = task.episode_steps // loop.train_every
    keys = jax.random.split(rng.named(key, "bursts"), bursts)
    start = rollout.begin(task, config.agent, obs, env_state, own_goal, kind, wild)
    (seed, episodes), (records, metrics) = jax.lax.scan(burst, (seed, start), (jnp.arange(bursts) == 0, keys))
    records, metrics = jax.tree.map(_flatten_bursts, records), jax.tree.map(jnp.mean, metrics)

    experience = rollout.assemble(obs, records, episodes.goal)
    seed = dataclasses.replace(seed, replay=build_replay(task, config).insert(seed.replay, experience))
    progress = Progress(
        cycles=progress.cycles + 1,
        episodes=progress.episodes + loop.num_envs,
        env_steps=progress.env_steps + loop.num_envs * task.episode_steps,
        updates=progress.updates + bursts * loop.updates_per_burst + extra,
        goal_clock=goal_clock,
    )
    shown = jnp.where((kind == rollout.EXPLORER)[:, None], jnp.nan, episodes.goal)
    metrics |= rollout.rollout_metrics(episodes) | rollout.achievements(task, records.obs, episodes.goal)
    return TrainState(seed, progress), CycleLog(metrics, shown, episodes.go_steps)


def _flatten_bursts(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


def epoch(task: Task, config: PEGConfig, method: str, state: TrainState, cycles: int) -> tuple[TrainState, CycleLog]:
    """`cycles` cycles in one scan; the log has a leading cycle axis."""
    return jax.lax.scan(lambda state, _: cycle(task, config, method, state), state, None, length=cycles)
