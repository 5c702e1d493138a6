"""Learned temporal distance between embeddings, in fractions of the imagination horizon."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from peg_jax.core.nets import Network
from peg_jax.core.optim import Learner, apply_gradients
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.peg.config import DistanceConfig

EmbedLookup = Callable[[Array, Array], Array]


@struct.dataclass
class Pairs:
    """Places (time, rollout) of two imagined states and how far apart they are."""

    current: tuple[Array, Array]  # int32 [P] each
    goal: tuple[Array, Array]  # int32 [P] each
    label: Array  # float32 [P], steps / horizon


def embed_goal(net: Network, params: Params, goal: Array, normalize: bool = False) -> Array:
    """The goal's share of the first layer, `[..., E] -> [..., units]`; constant along a rollout."""
    return net.apply(params, _normalized(goal) if normalize else goal, method="embed_context")


def predict(net: Network, params: Params, current: Array, embedded_goal: Array, normalize: bool = False) -> Array:
    """Distance `[...]` from embeddings `[..., E]` to goals prepared by `embed_goal`, in fractions of the horizon."""
    return net.apply(params, _normalized(current) if normalize else current, embedded_goal)[..., 0]


def between(net: Network, params: Params, current: Array, goal: Array, normalize: bool = False) -> Array:
    """Distance `[...]` between two sets of embeddings `[..., E]`."""
    return predict(net, params, current, embed_goal(net, params, goal, normalize), normalize)


def _normalized(embed: Array) -> Array:
    return embed / (jnp.linalg.norm(embed, axis=-1, keepdims=True) + 1e-8)


def sample_positives(key: Key, horizon: int, rollouts: int, count: int) -> Pairs:
    """Ordered pairs (i <= j) of one rollout, i and j in 0..horizon-1, label (j - i) / horizon.

    Drawn afresh at every update (the original: once); a state paired with itself is included, as published.
    """
    first, second = np.triu_indices(horizon)
    pair_key, rollout_key = jax.random.split(key)
    pair = jax.random.randint(pair_key, (count,), 0, len(first))
    rollout = jax.random.randint(rollout_key, (count,), 0, rollouts)
    start, end = jnp.asarray(first)[pair], jnp.asarray(second)[pair]
    return Pairs((start, rollout), (end, rollout), (end - start) / horizon)


def sample_negatives(key: Key, horizon: int, sequence: Array, count: int) -> Pairs:
    """Pairs whose rollouts started in different replay sequences, label (horizon + 1) / horizon.

    Args:
        key: for the draws.
        horizon: imagined steps; latents are 0..horizon.
        sequence: int32 `[N]`, the replay sequence from which each rollout started.
        count: pairs.

    Returns:
        The pairs. A goal is drawn among all rollouts of other sequences by rejection, 16 tries each; a row whose tries
        all fail (impossible in practice with many sequences) gets the first rollout of another sequence.
    """
    rollouts = sequence.shape[0]
    time_key, current_key, goal_key = jax.random.split(key, 3)
    times = jax.random.randint(time_key, (2, count), 0, horizon + 1)
    current = jax.random.randint(current_key, (count,), 0, rollouts)
    tries = jax.random.randint(goal_key, (16, count), 0, rollouts)
    fallback = jnp.argmax(sequence[None, :] != sequence[current][:, None], axis=1)
    tries = jnp.concatenate([tries, fallback[None]])
    accepted = jnp.argmax(sequence[tries] != sequence[current], axis=0)
    goal = jnp.take_along_axis(tries, accepted[None], axis=0)[0]
    return Pairs((times[0], current), (times[1], goal), jnp.full((count,), (horizon + 1) / horizon))


def loss(params: Params, net: Network, current: Array, goal: Array, label: Array, config: DistanceConfig) -> Array:
    """Expectile regression of the predicted distance on `label [P]`; `current, goal [P, E]`.

    At the published expectile 0.5 this is the mean squared error, and the network learns how long the policy takes on
    average, detours and standing still at the goal included. A lower expectile learns how long it takes when it goes
    well, which is what a distance means (Newey and Powell, 1987; used for values by IQL, Kostrikov et al., 2022).
    """
    return expectile_loss(label - between(net, params, current, goal, config.normalize_inputs), config.expectile)


def expectile_loss(error: Array, expectile: Array | float) -> Array:
    """Mean of the squared errors (label minus prediction), positive ones weighted `2 expectile`, others the rest."""
    weight = jnp.where(error > 0, expectile, 1.0 - expectile)
    return jnp.mean(2.0 * weight * jnp.square(error))


def update(
    learner: Learner,
    net: Network,
    embeds_at: EmbedLookup,
    horizon: int,
    sequence: Array,
    key: Key,
    config: DistanceConfig,
) -> tuple[Learner, Metrics]:
    """One gradient step on positives and negatives, two means of equal weight.

    Args:
        learner: of the distance network.
        net: the module.
        embeds_at: maps (times [P], rollouts [P]) to the predicted embeddings `[P, E]` of those imagined states.
        horizon: imagined steps.
        sequence: int32 `[N]`, the replay sequence of each rollout.
        key: for the draws.
        config: counts and optimiser.
    """
    positive_key, negative_key = jax.random.split(key)
    groups = [sample_positives(positive_key, horizon, sequence.shape[0], config.positives)]
    negatives = int(config.negative_factor * config.positives)
    if negatives:
        groups.append(sample_negatives(negative_key, horizon, sequence, negatives))
    data = [(embeds_at(*pairs.current), embeds_at(*pairs.goal), pairs.label) for pairs in groups]

    def total(params: Params) -> Array:
        losses = [loss(params, net, *group, config) for group in data]
        return jnp.sum(jnp.stack(losses))

    value, grads = jax.value_and_grad(total)(learner.params)
    learner, norm = apply_gradients(learner, grads, config.optimizer, value)
    return learner, {"dyn_dist_loss": value, "dyn_dist_grad_norm": norm["grad_norm"]}
