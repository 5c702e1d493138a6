"""An achiever that counts steps: its critic is the number of steps to the goal, its actor takes the best of many.

The published achiever adds up temporal distances that saturate at the imagination horizon and follows their gradient.
In a maze both fail: far goals all look alike, and a gradient points through walls. Here the temporal distance is
extended beyond the horizon by bootstrapping, and the actor compares actions (`lookahead`), or, for bodies, which have
more joints than can be tried, follows the gradient of the steps through the dream (`achiever.gradient=dynamics`).
Two kinds of labels train the critic:

* pairs of states that follow one another, in dreams and in the replay: the steps between them, by expectile regression,
  as for the distance network;
* states of a dream and the goal it was given: the lambda-return of one step each until the goal is reached.

The critic is not asked whether the goal is reached: a state that it mistook for one at the goal would be given the
return 0 and never be corrected. The distance network is, which nothing is bootstrapped from.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from peg_jax.core.optim import apply_gradients
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.peg import lookahead
from peg_jax.peg.actor_critic import ActorCriticState, make_policy, make_value, update_slow
from peg_jax.peg.config import ActorCriticConfig, ReachingConfig
from peg_jax.peg.distance import expectile_loss
from peg_jax.peg.imagination import Dream, PolicyFn, ValueFn
from peg_jax.peg.lookahead import AdvanceFn
from peg_jax.peg.networks import ActorCriticNets
from peg_jax.peg.world_model import Inference

ActorLoss = Callable[[Params], Array]
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
    steps = jnp.where(arrived, 0.0, steps)
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


def compare_loss(
    state: ActorCriticState,
    nets: ActorCriticNets,
    lesson: Lesson,
    advance: AdvanceFn,
    key: Key,
    config: ActorCriticConfig,
    reaching: ReachingConfig,
) -> ActorLoss:
    """The actor's loss where it imitates the better ones of the actions tried at some of the dream's states."""
    dream, goal_embed = lesson.dream, lesson.goal_embed
    subset_key, tries_key = jax.random.split(key)
    feature = dream.feature[:-1].reshape(-1, dream.feature.shape[-1])
    chosen = jax.random.permutation(subset_key, feature.shape[0])[: reaching.states]
    feature, goals = feature[chosen], goal_embed[chosen % goal_embed.shape[0]]
    before = make_policy(nets, state.actor.params, config, goals)
    left = make_steps(nets, state.slow_critic, goals, dream.reward.shape[0])
    tries = lookahead.try_actions(
        before, lambda x: -left(x), advance, feature, tries_key, reaching.actions, reaching.temperature
    )

    def loss(params: Params) -> Array:
        policy = make_policy(nets, params, config, goals)
        return lookahead.imitation_loss(policy, feature, *tries, config.entropy)

    return loss


def follow_loss(
    state: ActorCriticState,
    nets: ActorCriticNets,
    lesson: Lesson,
    dream_fn: Callable[[PolicyFn], Dream],
    config: ActorCriticConfig,
    reaching: ReachingConfig,
) -> ActorLoss:
    """The actor's loss where it follows the gradient of its returns, in horizons, through the dream."""
    horizon = lesson.dream.reward.shape[0]
    left = make_steps(nets, state.slow_critic, lesson.goal_embed, horizon)

    def loss(params: Params) -> Array:
        dream = dream_fn(make_policy(nets, params, config, lesson.goal_embed))
        steps = jnp.clip(left(dream.feature), 0.0, reaching.most_steps)
        after = steps_return(steps, lesson.arrived, config.return_lambda)[1:]  # what an action leads to
        return jnp.mean(after / horizon - config.entropy * dream.entropy[:-1])

    return loss


def update(
    state: ActorCriticState,
    nets: ActorCriticNets,
    lesson: Lesson,
    actor_loss: ActorLoss,
    config: ActorCriticConfig,
    reaching: ReachingConfig,
) -> tuple[ActorCriticState, Metrics]:
    """One step of actor and critic on one imagined batch.

    Args:
        state: the achiever.
        nets: its modules.
        lesson: the imagined batch.
        actor_loss: what its actor makes small, of its parameters.
        config: numbers that this achiever shares with the published one.
        reaching: its own numbers.
    """
    dream, goal_embed, arrived, pairs = lesson
    horizon = dream.reward.shape[0]
    slow_steps = make_steps(nets, state.slow_critic, goal_embed, horizon)
    steps = jnp.clip(slow_steps(dream.feature), 0.0, reaching.most_steps)
    returns = steps_return(steps, arrived, config.return_lambda)

    def loss(params: Params) -> Array:
        data = (dream.feature[:-1], goal_embed, returns)
        return critic_loss(nets, params, data, pairs, horizon, reaching.expectile)

    actor_value, actor_grads = jax.value_and_grad(actor_loss)(state.actor.params)
    critic_value, critic_grads = jax.value_and_grad(loss)(state.critic.params)
    actor, actor_norm = apply_gradients(state.actor, actor_grads, config.actor, actor_value)
    critic, critic_norm = apply_gradients(state.critic, critic_grads, config.critic, critic_value)
    slow = update_slow(state.slow_critic, critic.params, state.updates, config)
    metrics = {
        "actor_loss": actor_value,
        "actor_grad_norm": actor_norm["grad_norm"],
        "actor_ent": dream.entropy.mean(),
        "critic_loss": critic_value,
        "critic_grad_norm": critic_norm["grad_norm"],
        "critic_target": -returns.mean(),
        "critic_slow": -steps.mean(),
        "reached": arrived.mean(),
    }
    return ActorCriticState(actor, critic, slow, state.updates + 1), metrics
