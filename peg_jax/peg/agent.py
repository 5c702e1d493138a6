"""The agent: all that learns, one update of it, and the two views of it that the rest of the loop needs."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.nets import init_ensemble, init_mlp, score_with_gradient
from peg_jax.core.optim import Learner, init_learner
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.peg import actor_critic, disagreement, distance, world_model
from peg_jax.peg.actor_critic import ActorCriticState
from peg_jax.peg.config import AgentConfig
from peg_jax.peg.imagination import Dream, DynamicsFn, PolicyFn, RewardFn, ValueFn, imagine
from peg_jax.peg.networks import Networks, Spec, make_networks
from peg_jax.peg.rssm import Latent, imagine_step
from peg_jax.peg.world_model import Inference


@struct.dataclass
class AgentState:
    """Parameters, optimiser moments and slow targets of every part."""

    world_model: Learner
    distance: Learner
    achiever: ActorCriticState
    explorer: ActorCriticState
    disagreement: Learner


@struct.dataclass
class Starts:
    """Start states of the imagined rollouts and the goals they are given."""

    latent: Latent  # [N, ...]
    goal_embed: Array  # [N, E]
    sequence: Array  # int32 [N], the replay sequence each start comes from


def init(config: AgentConfig, spec: Spec, key: Key) -> AgentState:
    """Fresh networks.

    Args:
        config: sizes and optimisers.
        spec: what the environment dictates.
        key: one key; each part derives its own by name.
    """
    nets = make_networks(config, spec)
    members = init_ensemble(nets.member, rng.named(key, "disagreement"), config.disagreement.members)
    return AgentState(
        world_model=init_learner(world_model.init(nets, rng.named(key, "world_model")), config.world_model.optimizer),
        distance=init_learner(init_mlp(nets.distance, rng.named(key, "distance")), config.distance.optimizer),
        achiever=actor_critic.init(nets.achiever, rng.named(key, "achiever"), config.achiever),
        explorer=actor_critic.init(nets.explorer, rng.named(key, "explorer"), config.explorer),
        disagreement=init_learner(members, config.disagreement.optimizer),
    )


def update(
    config: AgentConfig, spec: Spec, state: AgentState, batches: Episode, key: Key
) -> tuple[AgentState, Metrics]:
    """One full update, in the published order (peg.md section 2.7).

    World model; then the achiever and the distance network from one imagined batch, both losses taken before either
    step; then the ensemble; then the explorer. Posteriors are those of the weights before the world model's step, the
    rollouts use the weights after it.

    Args:
        config: the agent's options.
        spec: sizes.
        state: the agent.
        batches: `[K, T, B, ...]` time-major sequences; one step of the world model on each of the K batches (published:
            one), everything else on the last.
        key: for everything random in the update.

    Returns:
        `(state, metrics)`, metrics by the original's names.
    """
    nets = make_networks(config, spec)
    model_key, starts_key, achiever_key, explorer_key = rng.split(key, "world_model", "starts", "achiever", "explorer")
    model, inference, model_metrics = world_model.update(
        state.world_model, nets, batches, model_key, config.world_model
    )
    batch = jax.tree.map(lambda x: x[-1], batches)
    starts = choose_starts(config, nets, model.params, inference, batch, starts_key)
    achiever, dist, achiever_metrics = update_achiever(config, spec, nets, state, model.params, starts, achiever_key)
    ensemble, ensemble_metrics = disagreement.update(
        state.disagreement, nets.member, inference.latents, batch.action, config.disagreement
    )
    explorer, explorer_metrics = update_explorer(
        config, spec, nets, state.explorer, ensemble.params, model.params, starts, explorer_key
    )
    updated = AgentState(model, dist, achiever, explorer, ensemble)
    metrics = model_metrics | achiever_metrics | ensemble_metrics | explorer_metrics
    return updated, metrics | {"skipped_updates": skipped_updates(updated).astype(jnp.float32)}


def choose_starts(
    config: AgentConfig, nets: Networks, params: Params, inference: Inference, batch: Episode, key: Key
) -> Starts:
    """Start states from the batch's posteriors, and for each a goal.

    Goals are the batch's own embeddings under one uniform permutation (`goals="batch"`, own place possible), or the
    embedding of the goal stored in the record (`goals="record"`). With `starts` below the batch's size, that many
    places are drawn without replacement.
    """
    length, size = batch.obs.shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(length * size, *x.shape[2:]), inference)
    sequence = jnp.tile(jnp.arange(size), length)
    if config.imagination.goals == "record":
        goals = world_model.encode(nets, params, batch.goal.reshape(length * size, -1))
    else:
        goals = jax.random.permutation(rng.named(key, "goals"), flat.embeds)
    hindsight_key, swap_key = jax.random.split(rng.named(key, "hindsight"))
    later = hindsight_goals(inference.embeds, hindsight_key)
    swap = jax.random.bernoulli(swap_key, config.imagination.hindsight, (length * size, 1))
    goals = jnp.where(swap, later, goals)
    latent = flat.latents
    count = config.imagination.starts
    if count and count < length * size:
        chosen = jax.random.choice(rng.named(key, "subset"), length * size, (count,), replace=False)
        latent, goals, sequence = jax.tree.map(lambda x: x[chosen], (latent, goals, sequence))
    return Starts(*jax.lax.stop_gradient((latent, goals)), sequence)


def hindsight_goals(embeds: Array, key: Key) -> Array:
    """For each place of a batch, the embedding of a place drawn uniformly from the rest of its sequence.

    `[T, B, E] -> [T * B, E]`, time-major; the last record gets itself.
    """
    length, size = embeds.shape[:2]
    now = jnp.arange(length)[:, None]
    later = now + 1 + jax.random.uniform(key, (length, size)) * (length - 1 - now)
    chosen = embeds[jnp.minimum(later.astype(jnp.int32), length - 1), jnp.arange(size)]
    return chosen.reshape(length * size, -1)


def make_dynamics(nets: Networks, params: Params) -> DynamicsFn:
    """The world model's prior as imagination's dynamics."""
    return lambda latent, action, key: imagine_step(nets.rssm, params["rssm"], latent, action, key)


def achiever_reward(config: AgentConfig, nets: Networks, state: AgentState, model: Params, goal: Array) -> RewardFn:
    """Minus the temporal distance to the goal, `-d(embed_head(feature), goal)`; `goal [N, E]`."""
    normalize = config.distance.normalize_inputs
    embedded = distance.embed_goal(nets.distance, state.distance.params, goal, normalize)

    def score(feature: Array) -> Array:
        current = world_model.predict_embed(nets, model, feature)
        return -distance.predict(nets.distance, state.distance.params, current, embedded, normalize)

    return lambda feature, previous, following: score_with_gradient(score, feature)


def explorer_reward(config: AgentConfig, nets: Networks, members: Params, differentiable: bool) -> RewardFn:
    """The ensemble's disagreement at a latent, conditioned on the action its configuration names.

    Without `differentiable` there is no gradient, and none of its matrix products is computed.
    """

    def score(inputs: Array) -> Array:
        return disagreement.reward(nets.member, members, inputs, config.disagreement)

    def reward(feature: Array, previous: Array, following: Array) -> Array:
        action = previous if config.disagreement.condition == "previous_action" else following
        inputs = jnp.concatenate([feature, action], axis=-1)
        return score_with_gradient(score, inputs) if differentiable else score(inputs)

    return reward


def update_achiever(
    config: AgentConfig, spec: Spec, nets: Networks, state: AgentState, model: Params, starts: Starts, key: Key
) -> tuple[ActorCriticState, Learner, Metrics]:
    """One step of the achiever and the distance network on the same imagined rollouts."""
    horizon = config.imagination.horizon
    reward = achiever_reward(config, nets, state, model, starts.goal_embed)

    def dream_fn(policy: PolicyFn, value: ValueFn, key: Key) -> Dream:
        dynamics = make_dynamics(nets, model)
        dream = imagine(starts.latent, spec.action_size, policy, dynamics, reward, value, horizon, key)
        if config.imagination.reward_shape == "sum":
            return dream
        final = reward(dream.feature[-1], dream.last_action, dream.last_action)
        following = jnp.concatenate([dream.reward[1:], final[None]])
        return dataclasses.replace(dream, reward=following - dream.reward)

    achiever, dream, metrics = actor_critic.update(
        state.achiever, nets.achiever, dream_fn, starts.goal_embed, key, config.achiever, config.imagination
    )

    def embeds_at(times: Array, rollouts: Array) -> Array:
        return world_model.predict_embed(nets, model, dream.feature[times, rollouts])

    dist, distance_metrics = distance.update(
        state.distance, nets.distance, embeds_at, horizon, starts.sequence, rng.named(key, "pairs"), config.distance
    )
    return achiever, dist, metrics | distance_metrics


def update_explorer(
    config: AgentConfig,
    spec: Spec,
    nets: Networks,
    state: ActorCriticState,
    members: Params,
    model: Params,
    starts: Starts,
    key: Key,
) -> tuple[ActorCriticState, Metrics]:
    """One step of the explorer on its own imagined rollouts."""
    reward = explorer_reward(config, nets, members, differentiable=True)

    def dream_fn(policy: PolicyFn, value: ValueFn, key: Key) -> Dream:
        horizon, dynamics = config.imagination.horizon, make_dynamics(nets, model)
        return imagine(starts.latent, spec.action_size, policy, dynamics, reward, value, horizon, key)

    explorer, _, metrics = actor_critic.update(
        state, nets.explorer, dream_fn, None, key, config.explorer, config.imagination
    )
    return explorer, {f"expl_{name}": value for name, value in metrics.items()}


def skipped_updates(state: AgentState) -> Array:
    """Updates of any part that were skipped so far because a gradient was not finite."""
    policies = (state.achiever, state.explorer)
    learners = [state.world_model, state.distance, state.disagreement]
    learners += [learner for policy in policies for learner in (policy.actor, policy.critic)]
    return sum((learner.skipped for learner in learners), start=jnp.zeros((), jnp.int32))
