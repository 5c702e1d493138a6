"""An achiever that counts steps: its critic is the number of steps to the goal, its actor takes the best of many.

The published achiever adds up temporal distances that saturate at the imagination horizon and follows their gradient.
In a maze both fail: far goals all look alike, and a gradient points through walls. Here the temporal distance is
extended beyond the horizon by bootstrapping, and the actor compares actions (`lookahead`). Two kinds of labels train
the critic:

* pairs of states that follow one another, in dreams and in the replay: the steps between them, by expectile regression,
  as for the distance network (peg.md section 3);
* states of a dream and the goal it was given: the lambda-return of one step each until the goal is reached.

The critic is not asked whether the goal is reached: a state that it mistook for one at the goal would be given the
return 0 and never be corrected. The distance network is, which nothing is bootstrapped from.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from peg_jax.core.optim import Learner, apply_gradients
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.peg import lookahead
from peg_jax.peg.actor_critic import ActorCriticState, make_policy, make_value, update_slow
from peg_jax.peg.config import ActorCriticConfig, ReachingConfig
from peg_jax.peg.distance import expectile_loss
from peg_jax.peg.imagination import Dream, ValueFn
from peg_jax.peg.lookahead import AdvanceFn
from peg_jax.peg.networks import ActorCriticNets
from peg_jax.peg.world_model import Inference

SAME_PLACE_EVERY = 16  # of the pairs of a dream, one in this many is a state and itself


class Pairs(NamedTuple):
    """States, later states as goals, and the steps between them."""

    feature: Array  # [P, F]
    goal_embed: Array  # [P, E]
    steps: Array  # [P]


def make_steps(nets: ActorCriticNets, critic: Params, goal_embed: Array, horizon: int) -> ValueFn:
    """Steps to the goal, `feature [..., N, F] -> [..., N]`: `horizon` at first, since an output starts near 0."""
    value = make_value(nets, critic, goal_embed)
    return lambda feature: horizon * (1.0 - value(feature))


def steps_return(steps: Array, arrived: Array, return_lambda: Array | float) -> Array:
    """Lambda-return of one step per step until the goal is reached.

    Args:
        steps: `[H+1, N]` estimated steps to the goal from latents 0..H.
        arrived: bool `[H+1, N]`; the return of a latent that has arrived is 0.
        return_lambda: mixing weight.

    Returns:
        `[H, N]` returns of latents 0..H-1.
    """
    travelling = 1.0 - arrived.astype(steps.dtype)

    def back(following: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        travels, estimate = now
        result = travels * (1.0 + (1.0 - return_lambda) * estimate + return_lambda * following)
        return result, result

    return jax.lax.scan(back, steps[-1], (travelling[:-1], steps[1:]), reverse=True)[1]


class Lesson(NamedTuple):
    """What one update learns from, without gradient."""

    dream: Dream  # of the policy as it is
    goal_embed: Array  # [N, E], its rollouts' goals
    arrived: Array  # bool [H+1, N], whether a latent is at its goal
    pairs: Pairs


def dream_pairs(feature: Array, embeds: Array, key: Key) -> Pairs:
    """`H * N` pairs of a dream `feature [H+1, N, F]` and the embeddings predicted there, `embeds [H+1, N, E]`."""
    horizon, rollouts = feature.shape[0] - 1, feature.shape[1]
    now_key, gap_key = jax.random.split(key)
    count = horizon * rollouts
    now = jax.random.randint(now_key, (count,), 0, horizon)
    gap = 1 + (jax.random.uniform(gap_key, (count,)) * (horizon - now)).astype(jnp.int32)
    gap = jnp.where(jnp.arange(count) % SAME_PLACE_EVERY == 0, 0, gap)
    rollout = jnp.arange(count) % rollouts
    return Pairs(feature[now, rollout], embeds[now + gap, rollout], gap.astype(jnp.float32))


def replay_pairs(inference: Inference, key: Key) -> Pairs:
    """`T * B` pairs from a batch of sequences; the goal is the encoder's embedding of the later observation."""
    length, size = inference.embeds.shape[:2]
    now_key, gap_key = jax.random.split(key)
    count = length * size
    now = jax.random.randint(now_key, (count,), 0, length - 1)
    gap = (jax.random.uniform(gap_key, (count,)) * (length - now)).astype(jnp.int32)
    sequence = jnp.arange(count) % size
    goal = inference.embeds[now + gap, sequence]
    return Pairs(inference.latents.feature[now, sequence], goal, gap.astype(jnp.float32))


def critic_loss(
    nets: ActorCriticNets,
    params: Params,
    dream: tuple[Array, Array, Array],
    pairs: Pairs,
    horizon: int,
    expectile: Array | float,
) -> Array:
    """Squared errors in units of the horizon: of the returns, and by expectile of the pairs.

    Args:
        nets: modules of the achiever.
        params: of its critic.
        dream: features `[H, N, F]`, goals `[N, E]` and returns `[H, N]`.
        pairs: states and goals with known steps between them.
        horizon: the unit.
        expectile: below a half the shorter ways between two places count more.
    """
    feature, goal_embed, returns = dream
    from_returns = jnp.square(returns - make_steps(nets, params, goal_embed, horizon)(feature))
    error = pairs.steps - make_steps(nets, params, pairs.goal_embed, horizon)(pairs.feature)
    return (jnp.mean(from_returns) + expectile_loss(error, expectile)) / horizon**2


def update(
    state: ActorCriticState,
    nets: ActorCriticNets,
    lesson: Lesson,
    advance: AdvanceFn,
    key: Key,
    config: ActorCriticConfig,
    reaching: ReachingConfig,
) -> tuple[ActorCriticState, Metrics]:
    """Steps of actor and critic on one imagined batch, each on another part of it.

    Returns and tries are those of the slow critic and the actor as they were before.

    Args:
        state: the achiever.
        nets: its modules.
        lesson: the imagined batch.
        advance: one imagined step.
        key: for the actions that are tried.
        config: numbers that this achiever shares with the published one.
        reaching: its own numbers.
    """
    dream, goal_embed, arrived, pairs = lesson
    horizon = dream.reward.shape[0]
    slow_steps = make_steps(nets, state.slow_critic, goal_embed, horizon)
    steps = jnp.clip(slow_steps(dream.feature), 0.0, reaching.most_steps)
    returns = steps_return(steps, arrived, config.return_lambda)

    subset_key, tries_key, pairs_key = jax.random.split(key, 3)
    feature = dream.feature[:-1].reshape(-1, dream.feature.shape[-1])
    chosen = jax.random.permutation(subset_key, feature.shape[0])[: reaching.states]
    feature, goals = feature[chosen], goal_embed[chosen % goal_embed.shape[0]]
    before = make_policy(nets, state.actor.params, config, goals)
    left = make_steps(nets, state.slow_critic, goals, horizon)
    tries = lookahead.try_actions(
        before, lambda x: -left(x), advance, feature, tries_key, reaching.actions, reaching.temperature
    )

    def actor_loss(params: Params, feature: Array, goals: Array, actions: Array, weights: Array) -> Array:
        policy = make_policy(nets, params, config, goals)
        return lookahead.imitation_loss(policy, feature, actions, weights, config.entropy)

    def loss(params: Params, of_dream: tuple[Array, Array, Array], of_pairs: Pairs) -> Array:
        return critic_loss(nets, params, of_dream, of_pairs, horizon, reaching.expectile)

    def step(learners: tuple[Learner, Learner], part: tuple[Any, Any]) -> tuple[tuple[Learner, Learner], Metrics]:
        (actor, critic), (of_actor, of_critic) = learners, part
        actor_value, actor_grads = jax.value_and_grad(actor_loss)(actor.params, *of_actor)
        critic_value, critic_grads = jax.value_and_grad(loss)(critic.params, *of_critic)
        actor, actor_norm = apply_gradients(actor, actor_grads, config.actor, actor_value)
        critic, critic_norm = apply_gradients(critic, critic_grads, config.critic, critic_value)
        return (actor, critic), {
            "actor_loss": actor_value,
            "actor_grad_norm": actor_norm["grad_norm"],
            "critic_loss": critic_value,
            "critic_grad_norm": critic_norm["grad_norm"],
        }

    mixed = jax.random.permutation(pairs_key, pairs.steps.shape[0])
    along = partial(_parts, count=reaching.parts)
    of_dream = along(dream.feature[:-1], axis=1), along(goal_embed), along(returns, axis=1)
    of_pairs = jax.tree.map(lambda x: along(x[mixed]), pairs)
    of_actor = along(feature), along(goals), *(along(x, axis=1) for x in tries)
    learners, metrics = jax.lax.scan(step, (state.actor, state.critic), (of_actor, (of_dream, of_pairs)))
    actor, critic = learners
    slow = update_slow(state.slow_critic, critic.params, state.updates, config)
    metrics = jax.tree.map(jnp.mean, metrics) | {
        "actor_ent": dream.entropy.mean(),
        "critic_target": -returns.mean(),
        "critic_slow": -steps.mean(),
        "reached": arrived.mean(),
    }
    return ActorCriticState(actor, critic, slow, state.updates + 1), metrics


def _parts(x: Array, count: int, axis: int = 0) -> Array:
    """An axis of N in parts, `[count, ..., N // count, ...]`; what is left over is left out."""
    size = x.shape[axis] // count
    kept = jax.lax.slice_in_dim(x, 0, count * size, axis=axis)
    split = kept.reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    return jnp.moveaxis(split, axis, 0)
