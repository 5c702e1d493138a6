"""Imagination actor-critic, one code path for the achiever and the explorer."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.distributions import LOG_SQRT_2PI, ActionDistribution, OneHot, TruncatedNormal, bounded_std
from peg_jax.core.nets import Network, init_mlp, score_with_gradient
from peg_jax.core.optim import Learner, apply_gradients, init_learner
from peg_jax.core.returns import lambda_return
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.peg.config import ActorCriticConfig, ImaginationConfig
from peg_jax.peg.imagination import Dream, PolicyFn, ValueFn, discount_weights
from peg_jax.peg.networks import ActorCriticNets

DreamFn = Callable[[PolicyFn, ValueFn, Key], Dream]  # imagination with start states, dynamics and reward filled in


@struct.dataclass
class ActorCriticState:
    """Both networks with their optimisers, and the slow copy of the critic that gives targets and baselines."""

    actor: Learner
    critic: Learner
    slow_critic: Params
    updates: Array  # int32 []


def init(nets: ActorCriticNets, key: Key, config: ActorCriticConfig) -> ActorCriticState:
    """Fresh networks; the slow critic starts as a copy."""
    critic = init_mlp(nets.critic, rng.named(key, "critic"))
    actor = init_mlp(nets.actor, rng.named(key, "actor"))
    return ActorCriticState(
        actor=init_learner(actor, config.actor),
        critic=init_learner(critic, config.critic),
        slow_critic=jax.tree.map(jnp.copy, critic),
        updates=jnp.zeros((), jnp.int32),
    )


def make_policy(
    nets: ActorCriticNets, params: Params, config: ActorCriticConfig, goal_embed: Array | None = None
) -> PolicyFn:
    """The policy as a function of the feature alone; the goal's share of the first layer is computed once here.

    Args:
        nets: the modules.
        params: of the actor.
        config: for the floor of the standard deviation.
        goal_embed: `[N, E]`, or None for a policy without goal.

    Returns:
        `feature [N, F] -> distribution over actions [N, A]`.
    """
    context = _context(nets.actor, params, goal_embed)

    def policy(feature: Array) -> ActionDistribution:
        outputs = nets.actor.apply(params, feature, context)
        if nets.discrete:
            return OneHot(outputs)
        loc, raw_std = jnp.split(outputs, 2, axis=-1)
        return TruncatedNormal(jnp.tanh(loc), bounded_std(raw_std, config.min_std))

    return policy


def make_value(nets: ActorCriticNets, params: Params, goal_embed: Array | None = None) -> ValueFn:
    """The critic as a function of the feature alone, `[..., N, F] -> [..., N]`."""
    context = _context(nets.critic, params, goal_embed)
    return lambda feature: nets.critic.apply(params, feature, context)[..., 0]


def _context(net: Network, params: Params, goal_embed: Array | None) -> Array | None:
    return None if goal_embed is None else net.apply(params, goal_embed, method="embed_context")


def reinforce_share(nets: ActorCriticNets, config: ActorCriticConfig) -> float | Array:
    """Weight of the reinforce term; what is left is the dynamics term's. `auto` is reinforce for discrete actions."""
    automatic = "reinforce" if nets.discrete else "dynamics"
    kind = automatic if config.gradient == "auto" else config.gradient
    return {"dynamics": 0.0, "reinforce": 1.0, "both": 1.0 - config.dynamics_share}[kind]


def actor_loss(
    dream: Dream,
    returns: Array,
    weights: Array,
    entropy: Array | float,
    reinforce: Array | float = 0.0,
    baseline: Array | None = None,
) -> Array:
    """Policy objective over the H - 1 actions that have a return after them.

    The term of latent t is `weights[t] * (R_{t+1} + entropy * H(pi_t))`: what counts is the value after the action.
    The reinforce term is `log pi(a_t) * (R_{t+1} - v_t)` without gradient through the advantage.

    Args:
        dream: the rollout.
        returns: `[H, N]` lambda-returns R_0..R_{H-1}.
        weights: `[H]`.
        entropy: weight of the entropy bonus.
        reinforce: share of the reinforce term; the dynamics term has the rest.
        baseline: `[H-1, N]` values of the latents 0..H-2; needed when there is a reinforce term.
    """
    after = returns[1:]
    objective = after
    if baseline is not None:
        advantage = jax.lax.stop_gradient(after - baseline)
        objective = (1.0 - reinforce) * after + reinforce * dream.log_prob[:-1] * advantage
    return -jnp.mean(weights[:-1, None] * (objective + entropy * dream.entropy[:-1]))


def critic_loss(value: Array, returns: Array, weights: Array) -> Array:
    """Unit-variance Gaussian regression of `value [H, N]` on `returns [H, N]`, its constant kept."""
    return jnp.mean(weights[:, None] * (0.5 * jnp.square(value - returns) + LOG_SQRT_2PI))


def update(
    state: ActorCriticState,
    nets: ActorCriticNets,
    dream_fn: DreamFn,
    goal_embed: Array | None,
    key: Key,
    config: ActorCriticConfig,
    imagination: ImaginationConfig,
) -> tuple[ActorCriticState, Dream, Metrics]:
    """One step of actor and critic on one imagined batch.

    Args:
        state: the actor-critic.
        nets: its modules.
        dream_fn: imagination, waiting for a policy and a value function.
        goal_embed: `[N, E]` goals of the rollouts, or None.
        key: for the rollout.
        config: the actor-critic's numbers.
        imagination: horizon and discount.

    Returns:
        `(state, dream without gradients, metrics)`.
    """
    weights = discount_weights(imagination.horizon, imagination.discount)
    slow_value = make_value(nets, state.slow_critic, goal_embed)
    reinforce = reinforce_share(nets, config)
    needs_baseline = nets.discrete or config.gradient in ("reinforce", "both")

    def loss(params: Params) -> tuple[Array, tuple[Dream, Array]]:
        policy = make_policy(nets, params, config, goal_embed)
        dream = dream_fn(policy, lambda feature: score_with_gradient(slow_value, feature), key)
        returns = lambda_return(dream.reward, dream.value_tp1, imagination.discount, config.return_lambda)
        baseline = slow_value(jax.lax.stop_gradient(dream.feature[:-2])) if needs_baseline else None
        return actor_loss(dream, returns, weights, config.entropy, reinforce, baseline), (dream, returns)

    (value, (dream, returns)), grads = jax.value_and_grad(loss, has_aux=True)(state.actor.params)
    dream, returns = jax.lax.stop_gradient((dream, returns))
    actor, norm = apply_gradients(state.actor, grads, config.actor, value)
    critic, critic_metrics = _update_critic(
        state.critic, nets, dream.feature[:-1], goal_embed, returns, weights, config
    )
    metrics = {
        "actor_loss": value,
        "actor_grad_norm": norm["grad_norm"],
        "actor_ent": dream.entropy.mean(),
        "actor_ent_scale": jnp.asarray(config.entropy, jnp.float32),
        "critic_slow": dream.value_tp1.mean(),
        "critic_target": returns.mean(),
        "reward_mean": dream.reward.mean(),
        "reward_std": dream.reward.std(),
    }
    slow = update_slow(state.slow_critic, critic.params, state.updates, config)
    return ActorCriticState(actor, critic, slow, state.updates + 1), dream, metrics | critic_metrics


def _update_critic(
    learner: Learner,
    nets: ActorCriticNets,
    feature: Array,
    goal_embed: Array | None,
    returns: Array,
    weights: Array,
    config: ActorCriticConfig,
) -> tuple[Learner, Metrics]:
    def loss(params: Params) -> tuple[Array, Array]:
        # One time step after the other: the activations of one fit a CPU's caches, those of all do not.
        value = jax.lax.map(make_value(nets, params, goal_embed), feature)
        return critic_loss(value, returns, weights), value.mean()

    (value, mean), grads = jax.value_and_grad(loss, has_aux=True)(learner.params)
    learner, norm = apply_gradients(learner, grads, config.critic, value)
    return learner, {"critic_loss": value, "critic_grad_norm": norm["grad_norm"], "critic": mean}


def update_slow(slow: Params, fast: Params, updates: Array, config: ActorCriticConfig) -> Params:
    """Move the slow critic toward the critic every `slow_every` updates; the first call moves it too (test 22)."""
    share = jnp.where(updates % config.slow_every == 0, config.slow_fraction, 0.0)
    # A select, not a blend, at share 1: the copy is exact and a share of 0 leaves every bit alone.
    return jax.tree.map(
        lambda s, f: jnp.where(share == 1.0, f, jnp.where(share == 0.0, s, s + share * (f - s))), slow, fast
    )
