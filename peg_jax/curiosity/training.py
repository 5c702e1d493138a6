"""Training as pure functions over one `TrainState`: collect, credit, learn; an epoch is a scan over updates."""

import dataclasses
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.optim import Learner, OptimizerConfig, apply_gradients, init_learner
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.curiosity import networks, ppo, rollout
from peg_jax.curiosity.config import CuriosityConfig
from peg_jax.curiosity.intrinsic import Bonus, BonusState
from peg_jax.curiosity.methods import METHODS
from peg_jax.curiosity.networks import Apply
from peg_jax.curiosity.rollout import Collector, Rollout
from peg_jax.curiosity.task import Task


@struct.dataclass
class Progress:
    """Counters shared by all seeds of a run."""

    updates: Array  # int32 []
    env_steps: Array  # int32 []


@struct.dataclass
class SeedState:
    """Everything of one seed."""

    key: Key
    learner: Learner
    collector: Collector
    bonus: BonusState  # the method's own, see `intrinsic`
    bad_updates: Array  # int32 [], the latest updates in a row of which a minibatch was skipped as not finite


@struct.dataclass
class TrainState:
    """All that a resume needs. In a run of several seeds, `seed` has a leading axis and `progress` has none."""

    seed: SeedState
    progress: Progress


SEED_AXES = cast(Any, TrainState)(seed=0, progress=None)
"""Where `vmap` finds the seeds in a `TrainState`."""


class Batch(NamedTuple):
    """Samples to learn from, `[B, ...]` each."""

    obs: Array
    action: Array
    log_prob: Array  # under the policy that acted
    value: Array  # under the network that acted
    advantage: Array
    target: Array  # of the value


def samples(experience: Rollout, advantage: Array) -> Batch:
    """A rollout `[T, N, ...]` as T N samples."""
    target = advantage + experience.value
    batch = Batch(experience.obs, experience.action, experience.log_prob, experience.value, advantage, target)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)


def optimizer(config: CuriosityConfig, remaining: Array | float) -> OptimizerConfig:
    """Adam as published, with the learning rate that is left."""
    return OptimizerConfig(
        learning_rate=config.ppo.learning_rate * remaining,  # type: ignore[arg-type]  # traced
        epsilon=config.ppo.adam_epsilon,
        clip=config.ppo.max_grad_norm,
        weight_decay=0.0,
    )


def build_network(task: Task, config: CuriosityConfig) -> Apply:
    """The network's function of parameters and observations."""
    return networks.make_network(config.network, task.obs_shape, task.actions, task.discrete).apply


def make_bonus(task: Task, config: CuriosityConfig, method: str) -> Bonus:
    """The bonus of a method, a name in `METHODS`."""
    return METHODS[method].make_bonus(task, config)


def init(task: Task, config: CuriosityConfig, method: str, key: Key) -> TrainState:
    """A run before its first update."""
    network = networks.make_network(config.network, task.obs_shape, task.actions, task.discrete)
    params = networks.init_params(network, task.obs_shape, rng.named(key, "init"))
    collector = rollout.start(task, config.ppo.num_envs, rng.named(key, "reset"))
    bonus = make_bonus(task, config, method).init(rng.named(key, "bonus"), collector)
    zero = jnp.zeros((), jnp.int32)
    # Give every leaf its type for good: weakly typed ones would compile anew after a resume.
    learner, collector, bonus = jax.tree.map(
        lambda x: x.astype(x.dtype), (init_learner(params, optimizer(config, 1.0)), collector, bonus)
    )
    return TrainState(SeedState(key, learner, collector, bonus, zero), Progress(zero, zero))


def loss(apply: Apply, config: CuriosityConfig, clip: Array, params: Params, batch: Batch) -> tuple[Array, Metrics]:
    """PPO's loss of a minibatch, whose advantages are normalised here."""
    policy = apply(params, batch.obs)
    log_prob = networks.log_prob(policy, batch.action)
    log_ratio = log_prob - batch.log_prob
    ratio = jnp.exp(log_ratio)
    actor = jnp.mean(ppo.policy_loss(ratio, ppo.normalize(batch.advantage), clip))
    critic = ppo.value_loss(policy.value, batch.value, batch.target, clip)
    entropy = jnp.mean(networks.entropy(policy))
    total = actor + config.ppo.value_coefficient * critic - config.ppo.entropy * entropy
    metrics = {
        "policy_loss": actor,
        "value_loss": critic,
        "policy_entropy": entropy,
        "approxkl": 0.5 * jnp.mean(log_ratio**2),
        "clipfrac": jnp.mean((jnp.abs(ratio - 1.0) > clip).astype(jnp.float32)),
    }
    return total, metrics


def learn(
    apply: Apply, config: CuriosityConfig, remaining: Array, learner: Learner, batch: Batch, key: Key
) -> tuple[Learner, Metrics]:
    """All passes over a rollout, in minibatches drawn anew for each pass; metrics are means."""
    size, numbers = batch.advantage.shape[0], config.ppo

    def loss_of(params: Params, part: Batch) -> tuple[Array, Metrics]:
        return loss(apply, config, numbers.clip * remaining, params, part)

    def one_minibatch(learner: Learner, index: Array) -> tuple[Learner, Metrics]:
        part = jax.tree.map(lambda x: x[index], batch)
        (value, metrics), grads = jax.value_and_grad(loss_of, has_aux=True)(learner.params, part)
        learner, norm = apply_gradients(learner, grads, optimizer(config, remaining), value)
        return learner, metrics | norm

    def one_pass(learner: Learner, key: Key) -> tuple[Learner, Metrics]:
        order = jax.random.permutation(key, size).reshape(numbers.minibatches, -1)
        return jax.lax.scan(one_minibatch, learner, order)

    learner, metrics = jax.lax.scan(one_pass, learner, jax.random.split(key, numbers.epochs))
    return learner, jax.tree.map(jnp.mean, metrics)


def guard(config: CuriosityConfig, seed: SeedState, learner: Learner, bonus_bad: Array) -> SeedState:
    """The seed with what an update made of its learner, unless `ppo.bad_updates` in a row were not finite.

    Args:
        config: the limit.
        seed: before the update.
        learner: after it.
        bonus_bad: int32 `[]`, the latest updates in a row of the bonus's own networks that were not finite. They count
            like PPO's: a policy that is paid by a network which cannot learn has no use.
    """
    bad = jnp.maximum(jnp.where(learner.skipped > seed.learner.skipped, seed.bad_updates + 1, 0), bonus_bad)
    limit = config.ppo.bad_updates
    given_up = (limit > 0) & (seed.bad_updates >= limit)
    learner = jax.tree.map(lambda old, new: jnp.where(given_up, old, new), seed.learner, learner)
    return dataclasses.replace(seed, learner=learner, bad_updates=jnp.where(given_up, seed.bad_updates, bad))


def update(
    task: Task, config: CuriosityConfig, method: str, total: int, state: TrainState
) -> tuple[TrainState, Metrics]:
    """One update: a rollout of every environment, its advantages, and the passes over it.

    Args:
        task: the environment.
        config: the numbers.
        method: a name in `METHODS`.
        total: updates over which the schedules run.
        state: where the run is.
    """
    seed, apply, bonus = state.seed, build_network(task, config), make_bonus(task, config, method)
    key = jax.random.fold_in(seed.key, state.progress.updates)
    collect_key, learn_key, bonus_key = rng.split(key, "collect", "learn", "bonus")
    collector, experience = rollout.collect(
        task, config.ppo, apply, seed.learner.params, seed.collector, collect_key, bonus.looks
    )
    vector_step = state.progress.updates * config.ppo.rollout
    judged = bonus.judge(seed.bonus, experience, collector, vector_step, bonus_key)
    collector = rollout.account(collector, experience, judged.bonus)
    reward = rollout.reward(config.reward, experience.task_reward, judged.bonus)
    last_value = apply(seed.learner.params, collector.obs).value
    advantage = ppo.advantages(
        reward, experience.value, experience.done, last_value, config.ppo.discount, config.ppo.gae_lambda
    )
    batch = samples(experience, advantage)
    remaining = ppo.remaining(config.ppo, state.progress.updates + 1, total)
    learner, metrics = learn(apply, config, remaining, seed.learner, batch, learn_key)
    seed = guard(config, seed, learner, bonus.bad_updates(judged.state))
    unexplained = jnp.var(advantage) / jnp.maximum(jnp.var(batch.target), 1e-12)
    metrics |= {"explained_variance": 1.0 - unexplained, "rewardmean": reward.mean()} | judged.metrics
    progress = Progress(
        updates=state.progress.updates + 1,
        env_steps=state.progress.env_steps + config.ppo.num_envs * config.ppo.rollout,
    )
    seed = dataclasses.replace(seed, collector=collector, bonus=judged.state)
    return TrainState(seed, progress), metrics | rollout.episode_metrics(collector.finished)


def epoch(
    task: Task, config: CuriosityConfig, method: str, total: int, state: TrainState, updates: int
) -> tuple[TrainState, Metrics]:
    """`updates` updates in one scan; metrics have a leading axis of them."""
    return jax.lax.scan(lambda state, _: update(task, config, method, total, state), state, None, length=updates)
