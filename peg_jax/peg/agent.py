"""The agent: all that learns, one update of it, and the two views of it that the rest of the loop needs."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.nets import init_ensemble, init_mlp, score_with_gradient
from peg_jax.core.optim import Learner, init_learner
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.peg import actor_critic, disagreement, distance, lookahead, reaching, world_model
from peg_jax.peg.actor_critic import ActorCriticState
from peg_jax.peg.config import AgentConfig, ImaginationConfig
from peg_jax.peg.imagination import Dream, DynamicsFn, PolicyFn, RewardFn, ValueFn, imagine
from peg_jax.peg.lookahead import AdvanceFn
from peg_jax.peg.networks import Networks, Spec, make_networks
from peg_jax.peg.rssm import Latent, imagine_step, latent_of
from peg_jax.peg.world_model import Inference

Tree = TypeVar("Tree")


@struct.dataclass
class AgentState:
    """Parameters, optimiser moments and slow targets of every part."""

    world_model: Learner
    distance: Learner
    achiever: ActorCriticState
    explorer: ActorCriticState
    disagreement: Learner
    averaged: Params | None = None  # of the world model, over the updates; None where the newest weights are used

    @property
    def model(self) -> Params:
        """The world model's weights that everything but its own training uses."""
        return self.world_model.params if self.averaged is None else self.averaged


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
    model = world_model.init(nets, rng.named(key, "world_model"))
    return AgentState(
        world_model=init_learner(model, config.world_model.optimizer),
        distance=init_learner(init_mlp(nets.distance, rng.named(key, "distance")), config.distance.optimizer),
        achiever=actor_critic.init(nets.achiever, rng.named(key, "achiever"), config.achiever),
        explorer=actor_critic.init(nets.explorer, rng.named(key, "explorer"), config.explorer),
        disagreement=init_learner(members, config.disagreement.optimizer),
        averaged=model if config.world_model.averaged else None,
    )


def update(
    config: AgentConfig, spec: Spec, state: AgentState, batches: Episode, key: Key
) -> tuple[AgentState, Metrics]:
    """One full update, in the published order.

    World model; then the achiever and the distance network from one imagined batch, both losses taken before either
    step; then the ensemble; then the explorer. Posteriors are those of the weights before the world model's step, the
    rollouts use the weights after it; where weights are averaged, both use the average after it.

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
    learner, inference, model_metrics = world_model.update(
        state.world_model, nets, batches, model_key, config.world_model
    )
    batch, model, averaged = jax.tree.map(lambda x: x[-1], batches), learner.params, state.averaged
    if averaged is not None:
        model = averaged = world_model.average(averaged, learner.params, state.achiever.updates, config.world_model)
        inference = world_model.infer(nets, model, batch, rng.named(key, "inference"))
    starts = choose_starts(config, nets, model, inference, batch, starts_key)
    achiever, dist, achiever_metrics = update_achiever(
        config, spec, nets, state, model, inference, starts, achiever_key
    )
    ensemble, ensemble_metrics = disagreement.update(
        state.disagreement, nets.member, inference.latents, batch.action, config.disagreement
    )
    latent = some_of(starts.latent, config.imagination.explorer_starts, rng.named(key, "explorer_starts"))
    explorer, explorer_metrics = update_explorer(
        config, spec, nets, state.explorer, ensemble.params, model, latent, explorer_key
    )
    updated = AgentState(learner, dist, achiever, explorer, ensemble, averaged)
    metrics = model_metrics | achiever_metrics | ensemble_metrics | explorer_metrics
    skipped = skipped_updates(updated) > skipped_updates(state)
    return updated, metrics | {"skipped_updates": skipped.astype(jnp.float32)}


def choose_starts(
    config: AgentConfig, nets: Networks, params: Params, inference: Inference, batch: Episode, key: Key
) -> Starts:
    """Start states from the batch's posteriors, and for each a goal.

    Goals are the batch's own embeddings under one uniform permutation (`goals="batch"`, own place possible), or the
    embedding of the goal stored in the record (`goals="record"`). An achiever that counts steps meets some of them as
    the embed head predicts them, or it would tell these, the goals of its dreamed pairs, from observed ones. With
    `starts` below the batch's size, that many places are drawn without replacement.
    """
    length, size = batch.obs.shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(length * size, *x.shape[2:]), inference)
    sequence = jnp.tile(jnp.arange(size), length)
    embeds = inference.embeds
    if config.reaching.enabled and not config.world_model.grounded:
        embeds = _mix_predicted(config, nets, params, inference, rng.named(key, "predicted"))
    if config.imagination.goals == "record":
        goals = world_model.encode(nets, params, batch.goal.reshape(length * size, -1))
    else:
        goals = jax.random.permutation(rng.named(key, "goals"), embeds.reshape(length * size, -1))
    hindsight_key, swap_key = jax.random.split(rng.named(key, "hindsight"))
    later = hindsight_goals(embeds, hindsight_key)
    swap = jax.random.bernoulli(swap_key, config.imagination.hindsight, (length * size, 1))
    goals = jnp.where(swap, later, goals)
    starts = Starts(*jax.lax.stop_gradient((flat.latents, goals)), sequence)
    return some_of(starts, config.imagination.starts, rng.named(key, "subset"))


def some_of(places: Tree, count: int, key: Key) -> Tree:
    """`count` of the `[N, ...]` places, drawn without replacement; all of them where `count` is 0 or N."""
    size = len(jax.tree.leaves(places)[0])
    if count in (0, size):
        return places
    chosen = jax.random.choice(key, size, (count,), replace=False)
    return jax.tree.map(lambda x: x[chosen], places)


def _mix_predicted(config: AgentConfig, nets: Networks, params: Params, inference: Inference, key: Key) -> Array:
    """Embeddings `[T, B, E]`, some of them the embed head's."""
    predicted = world_model.predict_embed(nets, params, inference.latents.feature)
    chosen = jax.random.bernoulli(key, config.reaching.predicted_goals, (*inference.embeds.shape[:2], 1))
    return jnp.where(chosen, predicted, inference.embeds)


def hindsight_goals(embeds: Array, key: Key) -> Array:
    """For each place of a batch, the embedding of a place drawn uniformly from the rest of its sequence.

    `[T, B, E] -> [T * B, E]`, time-major; the last record gets itself.
    """
    length, size = embeds.shape[:2]
    now = jnp.arange(length)[:, None]
    later = now + 1 + jax.random.uniform(key, (length, size)) * (length - 1 - now)
    chosen = embeds[jnp.minimum(later.astype(jnp.int32), length - 1), jnp.arange(size)]
    return chosen.reshape(length * size, -1)


def make_dynamics(config: ImaginationConfig, nets: Networks, params: Params) -> DynamicsFn:
    """The world model's prior as imagination's dynamics."""
    return lambda latent, action, key: imagine_step(nets.rssm, params["rssm"], latent, action, key, config.sample)


def make_advance(config: AgentConfig, nets: Networks, params: Params) -> AdvanceFn:
    """The same from feature to feature, where an action is kept for `reaching.hold` steps.

    A torque hardly moves a body in one step: what it leads to shows when it is kept.
    """
    dynamics, hold = make_dynamics(config.imagination, nets, params), config.reaching.hold

    def advance(feature: Array, action: Array, key: Key) -> Array:
        latent = latent_of(config.world_model, feature)
        if hold == 1:
            return dynamics(latent, action, key).feature
        steps = jax.random.split(key, hold)
        return jax.lax.scan(lambda latent, key: (dynamics(latent, action, key), None), latent, steps)[0].feature

    return advance


def make_achiever(
    config: AgentConfig, nets: Networks, state: AgentState, goal_embed: Array, evaluated: bool
) -> Callable[[Array, Key], Array]:
    """What the achiever does on its way to `goal_embed [N, E]`: `(feature [N, F], key) -> action [N, A]`.

    A sample of its actor, or the mode where it is evaluated; with `reaching.acting`, the best of several actions by one
    imagined step. An actor that has not learned from a place pushes at a wall to the end of the episode, though its
    critic knows better.
    """
    policy = actor_critic.make_policy(nets.achiever, state.achiever.actor.params, config.achiever, goal_embed)
    if config.reaching.acting:
        steps = reaching.make_steps(nets.achiever, state.achiever.slow_critic, goal_embed, config.imagination.horizon)
        advance = make_advance(config, nets, state.model)
        return lambda feature, key: lookahead.best_action(
            policy, lambda x: -steps(x), advance, feature, key, config.reaching.acting
        )
    if evaluated:
        return lambda feature, key: policy(feature).mode()
    return lambda feature, key: policy(feature).sample_action(key)


def achiever_reward(config: AgentConfig, nets: Networks, state: AgentState, model: Params, goal: Array) -> RewardFn:
    """Minus the temporal distance to the goal, `-d(embed_head(feature), goal)`; `goal [N, E]`."""
    away = distance_to(config, nets, state, goal)

    def score(feature: Array) -> Array:
        return -away(world_model.predict_embed(nets, model, feature))

    return lambda feature, previous, following: score_with_gradient(score, feature)


def distance_to(config: AgentConfig, nets: Networks, state: AgentState, goal: Array) -> Callable[[Array], Array]:
    """Temporal distance to `goal [N, E]`, in horizons, of embeddings `[N, E]`."""
    normalize, params = config.distance.normalize_inputs, state.distance.params
    embedded = distance.embed_goal(nets.distance, params, goal, normalize)
    return lambda embed: distance.predict(nets.distance, params, embed, embedded, normalize)


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
    config: AgentConfig,
    spec: Spec,
    nets: Networks,
    state: AgentState,
    model: Params,
    inference: Inference,
    starts: Starts,
    key: Key,
) -> tuple[ActorCriticState, Learner, Metrics]:
    """One step of the achiever and the distance network on the same imagined rollouts."""
    if config.reaching.enabled:
        achiever, dream, metrics = _count_steps(config, spec, nets, state, model, inference, starts, key)
    else:
        achiever, dream, metrics = _add_distances(config, spec, nets, state, model, starts, key)

    def embeds_at(times: Array, rollouts: Array) -> Array:
        return world_model.predict_embed(nets, model, dream.feature[times, rollouts])

    pairs_key, horizon = rng.named(key, "pairs"), config.imagination.horizon
    dist, distance_metrics = distance.update(
        state.distance, nets.distance, embeds_at, horizon, starts.sequence, pairs_key, config.distance
    )
    return achiever, dist, metrics | distance_metrics


def _add_distances(
    config: AgentConfig, spec: Spec, nets: Networks, state: AgentState, model: Params, starts: Starts, key: Key
) -> tuple[ActorCriticState, Dream, Metrics]:
    """The published achiever: an actor-critic whose reward is minus the temporal distance."""
    reward = achiever_reward(config, nets, state, model, starts.goal_embed)

    def dream_fn(policy: PolicyFn, value: ValueFn, key: Key) -> Dream:
        horizon, dynamics = config.imagination.horizon, make_dynamics(config.imagination, nets, model)
        dream = imagine(starts.latent, spec.action_size, policy, dynamics, reward, value, horizon, key)
        if config.imagination.reward_shape == "sum":
            return dream
        final = reward(dream.feature[-1], dream.last_action, dream.last_action)
        following = jnp.concatenate([dream.reward[1:], final[None]])
        return dataclasses.replace(dream, reward=following - dream.reward)

    return actor_critic.update(
        state.achiever, nets.achiever, dream_fn, starts.goal_embed, key, config.achiever, config.imagination
    )


def _count_steps(
    config: AgentConfig,
    spec: Spec,
    nets: Networks,
    state: AgentState,
    model: Params,
    inference: Inference,
    starts: Starts,
    key: Key,
) -> tuple[ActorCriticState, Dream, Metrics]:
    """The achiever of `reaching`."""
    dream_key, *pair_keys, update_key = rng.split(key, "dream", "dream_pairs", "replay_pairs", "reaching")
    goals, horizon = starts.goal_embed, config.imagination.horizon
    dynamics = make_dynamics(config.imagination, nets, model)

    def dream_fn(policy: PolicyFn) -> Dream:
        return imagine(starts.latent, spec.action_size, policy, dynamics, no_reward, no_value, horizon, dream_key)

    dream = dream_fn(actor_critic.make_policy(nets.achiever, state.achiever.actor.params, config.achiever, goals))
    embeds = jax.lax.map(lambda feature: world_model.predict_embed(nets, model, feature), dream.feature)
    away = horizon * jax.lax.map(distance_to(config, nets, state, goals), embeds)
    pairs = reaching.dream_pairs(dream.feature, embeds, pair_keys[0]), reaching.replay_pairs(inference, pair_keys[1])
    lesson = reaching.Lesson(
        dream, goals, away < config.reaching.reached_within, jax.tree.map(lambda *x: jnp.concatenate(x), *pairs)
    )
    numbers = config.achiever, config.reaching
    if config.achiever.gradient == "dynamics":
        loss = reaching.follow_loss(state.achiever, nets.achiever, lesson, dream_fn, *numbers)
    else:
        advance = make_advance(config, nets, model)
        loss = reaching.compare_loss(state.achiever, nets.achiever, lesson, advance, update_key, *numbers)
    achiever, metrics = reaching.update(state.achiever, nets.achiever, lesson, loss, *numbers)
    return achiever, dream, metrics


def no_reward(feature: Array, previous: Array, following: Array) -> Array:
    """0 for every latent, where only the dream itself is wanted."""
    del previous, following
    return jnp.zeros(feature.shape[:-1])


def no_value(feature: Array) -> Array:
    """0 for every latent, likewise."""
    return jnp.zeros(feature.shape[:-1])


def update_explorer(
    config: AgentConfig,
    spec: Spec,
    nets: Networks,
    state: ActorCriticState,
    members: Params,
    model: Params,
    latent: Latent,
    key: Key,
) -> tuple[ActorCriticState, Metrics]:
    """One step of the explorer on its own imagined rollouts from `latent [N, ...]`."""
    reward = explorer_reward(config, nets, members, differentiable=True)

    def dream_fn(policy: PolicyFn, value: ValueFn, key: Key) -> Dream:
        horizon, dynamics = config.imagination.horizon, make_dynamics(config.imagination, nets, model)
        return imagine(latent, spec.action_size, policy, dynamics, reward, value, horizon, key)

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
