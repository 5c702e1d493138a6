"""World model: encoder, RSSM, decoder and embed head, trained on replayed sequences."""

import jax
import jax.numpy as jnp
import optax
from flax import struct

from peg_jax.core import rng
from peg_jax.core.distributions import LOG_SQRT_2PI, unit_normal_log_prob
from peg_jax.core.nets import fourier_features, init_mlp
from peg_jax.core.optim import Learner, apply_gradients
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.peg import rssm as rssm_module
from peg_jax.peg.config import WorldModelConfig
from peg_jax.peg.networks import Networks
from peg_jax.peg.rssm import RSSM, Latent

AVERAGE_WARMUP = 10.0  # updates after which the average keeps about half of what it was


@struct.dataclass
class Inference:
    """What the rest of the update reads of a batch, without gradient."""

    latents: Latent  # [T, B, ...] posterior samples
    embeds: Array  # [T, B, E] encoder embeddings


def init(nets: Networks, key: Key) -> Params:
    """Fresh parameters of the four parts; grounded latents need no decoder and no embed head."""
    networks = {"encoder": nets.encoder, "decoder": nets.decoder, "embed_head": nets.embed_head}
    params = {name: init_mlp(net, rng.named(key, name)) for name, net in networks.items() if net is not None}
    return params | {"rssm": nets.rssm.init(rng.named(key, "rssm"), method=RSSM.initialise)}


def encode(nets: Networks, params: Params, obs: Array) -> Array:
    """Embedding `[..., E]` of observations or goals `[..., D]`; of grounded latents it ends in the observation."""
    config = nets.rssm.config
    embed = nets.encoder.apply(params["encoder"], fourier_features(obs, config.octaves, config.period))
    return jnp.concatenate([embed, obs], axis=-1) if config.grounded else embed


def decode(nets: Networks, params: Params, feature: Array) -> Array:
    """Observation `[..., D]` that a feature `[..., F]` stands for."""
    if nets.decoder is None:
        return feature[..., : nets.rssm.config.grounded]
    return nets.decoder.apply(params["decoder"], feature)


def predict_embed(nets: Networks, params: Params, feature: Array) -> Array:
    """The embed head: the embedding `[..., E]` that an imagined state would have if it were observed."""
    if nets.embed_head is None:
        return encode(nets, params, decode(nets, params, feature))
    return nets.embed_head.apply(params["embed_head"], feature)


def loss(
    params: Params, nets: Networks, batch: Episode, key: Key, config: WorldModelConfig
) -> tuple[Array, tuple[Metrics, Inference]]:
    """Negative evidence bound plus the embed head's regression.

    Of grounded latents the KL is all: that of the observation's entries is the likelihood of the next observation.

    Args:
        params: of the world model.
        nets: the modules.
        batch: time-major sequences `[T, B, ...]`.
        key: for the posterior samples.
        config: weights and free nats.

    Returns:
        `(loss [], (metrics, inference))`. Gaussian constants are kept, as in the released code.
    """
    embeds = encode(nets, params, batch.obs)
    latents, posterior, prior = rssm_module.observe(nets.rssm, params["rssm"], embeds, batch.action, key)
    kl, mean_kl = rssm_module.kl_loss(posterior, prior, config)
    total = config.kl_scale * kl
    metrics = {
        "kl_loss": kl,
        "model_kl": mean_kl,
        "prior_ent": rssm_module.entropy(prior).mean(),
        "post_ent": rssm_module.entropy(posterior).mean(),
    }
    if not config.grounded:
        heads, more = _heads_loss(params, nets, latents.feature, embeds, batch.obs, config)
        total, metrics = total + heads, metrics | more
    return total, (metrics | {"model_loss": total}, jax.lax.stop_gradient(Inference(latents, embeds)))


def _heads_loss(
    params: Params, nets: Networks, feature: Array, embeds: Array, obs: Array, config: WorldModelConfig
) -> tuple[Array, Metrics]:
    """Reconstruction, and the embed head's regression, which sends no gradient into the rest."""
    reconstruction = -observation_log_prob(decode(nets, params, feature), obs, config.decoder_std).mean()
    target = jax.lax.stop_gradient(embeds)
    predicted = predict_embed(nets, params, jax.lax.stop_gradient(feature))
    embed_loss = -unit_normal_log_prob(predicted, target).mean()
    return reconstruction + embed_loss, {
        "observation_loss": reconstruction,
        "embed_loss": embed_loss,
        "embed_error": jnp.sqrt(jnp.mean(jnp.square(predicted - target))),
    }


def observation_log_prob(mean: Array, target: Array, std: Array | float) -> Array:
    """Log density `[...]` of the decoder's Gaussian, summed over the observation's dimensions."""
    return jnp.sum(-0.5 * jnp.square((target - mean) / std) - jnp.log(std) - LOG_SQRT_2PI, axis=-1)


def update(
    learner: Learner, nets: Networks, batches: Episode, key: Key, config: WorldModelConfig
) -> tuple[Learner, Inference, Metrics]:
    """One gradient step per batch, `batches [K, T, B, ...]`.

    The inference returned is the last batch's, under the weights before its step; metrics are means over the steps.
    """

    def step(learner: Learner, inputs: tuple[Episode, Key]) -> tuple[Learner, tuple[Inference, Metrics]]:
        learner, inference, metrics = _step(learner, nets, *inputs, config)
        return learner, (inference, metrics)

    count = batches.obs.shape[0]
    learner, (inferences, metrics) = jax.lax.scan(step, learner, (batches, jax.random.split(key, count)))
    last = jax.tree.map(lambda x: x[-1], inferences)
    return learner, last, jax.tree.map(jnp.mean, metrics)


def average(averaged: Params, params: Params, updates: Array, config: WorldModelConfig) -> Params:
    """The moving average of the weights with those of one more update.

    An imagined step by the newest weights errs by what their last few batches were; that of averaged ones leaks less
    through walls. The share that stays rises to `average_decay` with the number of `updates`, int32 `[]`, made before:
    an average as slow as that from the start would long consist of the first, random weights.
    """
    made = updates.astype(jnp.float32)
    stays = jnp.minimum(config.average_decay, (1.0 + made) / (AVERAGE_WARMUP + made))
    return optax.incremental_update(params, averaged, 1.0 - stays)


def infer(nets: Networks, params: Params, batch: Episode, key: Key) -> Inference:
    """What the parameters make of a batch `[T, B, ...]`."""
    embeds = encode(nets, params, batch.obs)
    latents, _, _ = rssm_module.observe(nets.rssm, params["rssm"], embeds, batch.action, key)
    return Inference(latents, embeds)


def _step(
    learner: Learner, nets: Networks, batch: Episode, key: Key, config: WorldModelConfig
) -> tuple[Learner, Inference, Metrics]:
    with_gradient = jax.value_and_grad(loss, has_aux=True)
    (value, (metrics, inference)), grads = with_gradient(learner.params, nets, batch, key, config)
    learner, norm = apply_gradients(learner, grads, config.optimizer, value)
    return learner, inference, metrics | {"model_grad_norm": norm["grad_norm"]}
