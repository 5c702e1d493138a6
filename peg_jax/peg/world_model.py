"""World model: encoder, RSSM, decoder and embed head, trained on replayed sequences (peg.md section 1)."""

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.distributions import LOG_SQRT_2PI, unit_normal_log_prob
from peg_jax.core.nets import init_mlp
from peg_jax.core.optim import Learner, apply_gradients
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.peg import rssm as rssm_module
from peg_jax.peg.config import WorldModelConfig
from peg_jax.peg.networks import Networks
from peg_jax.peg.rssm import RSSM, Latent


@struct.dataclass
class Inference:
    """What the rest of the update reads of a batch, without gradient."""

    latents: Latent  # [T, B, ...] posterior samples
    embeds: Array  # [T, B, E] encoder embeddings


def init(nets: Networks, key: Key) -> Params:
    """Fresh parameters of the four parts."""
    return {
        "encoder": init_mlp(nets.encoder, rng.named(key, "encoder")),
        "rssm": nets.rssm.init(rng.named(key, "rssm"), method=RSSM.initialise),
        "decoder": init_mlp(nets.decoder, rng.named(key, "decoder")),
        "embed_head": init_mlp(nets.embed_head, rng.named(key, "embed_head")),
    }


def encode(nets: Networks, params: Params, obs: Array) -> Array:
    """Embedding `[..., E]` of observations or goals `[..., D]`."""
    config = nets.rssm.config
    return nets.encoder.apply(params["encoder"], fourier_features(obs, config.octaves, config.period))


def fourier_features(obs: Array, octaves: int, period: Array | float) -> Array:
    """Observations with sines and cosines of `octaves` periods each, `[..., D] -> [..., D (1 + 2 octaves)]`.

    Multi-layer perceptrons of raw coordinates learn fine structure last (Tancik et al., NeurIPS 2020); 0 octaves, the
    published encoder, leaves the observation alone.
    """
    if octaves == 0:
        return obs
    angles = obs[..., None] * (2.0 * jnp.pi / period) * 2.0 ** jnp.arange(octaves)
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return jnp.concatenate([obs, waves.reshape(*obs.shape[:-1], -1)], axis=-1)


def decode(nets: Networks, params: Params, feature: Array) -> Array:
    """Observation `[..., D]` that a feature `[..., F]` stands for."""
    return nets.decoder.apply(params["decoder"], feature)


def predict_embed(nets: Networks, params: Params, feature: Array) -> Array:
    """The embed head: the embedding `[..., E]` that an imagined state would have if it were observed."""
    return nets.embed_head.apply(params["embed_head"], feature)


def loss(
    params: Params, nets: Networks, batch: Episode, key: Key, config: WorldModelConfig
) -> tuple[Array, tuple[Metrics, Inference]]:
    """Negative evidence bound plus the embed head's regression (peg.md section 1.5).

    Args:
        params: of the world model.
        nets: the modules.
        batch: time-major sequences `[T, B, ...]`.
        key: for the posterior samples.
        config: weights and free nats.

    Returns:
        `(loss [], (metrics, inference))`. Gaussian constants are kept, so the floors are those of peg.md 1.5.
    """
    embeds = encode(nets, params, batch.obs)
    latents, posterior, prior = rssm_module.observe(nets.rssm, params["rssm"], embeds, batch.action, key)
    feature = latents.feature
    kl, mean_kl = rssm_module.kl_loss(posterior, prior, config)
    reconstruction = -observation_log_prob(decode(nets, params, feature), batch.obs, config.decoder_std).mean()
    target = jax.lax.stop_gradient(embeds)
    predicted = predict_embed(nets, params, jax.lax.stop_gradient(feature))
    embed_loss = -unit_normal_log_prob(predicted, target).mean()
    total = config.kl_scale * kl + reconstruction + embed_loss
    metrics = {
        "model_loss": total,
        "kl_loss": kl,
        "observation_loss": reconstruction,
        "embed_loss": embed_loss,
        "embed_error": jnp.sqrt(jnp.mean(jnp.square(predicted - target))),
        "model_kl": mean_kl,
        "prior_ent": rssm_module.entropy(prior).mean(),
        "post_ent": rssm_module.entropy(posterior).mean(),
    }
    return total, (metrics, jax.lax.stop_gradient(Inference(latents, embeds)))


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


def _step(
    learner: Learner, nets: Networks, batch: Episode, key: Key, config: WorldModelConfig
) -> tuple[Learner, Inference, Metrics]:
    with_gradient = jax.value_and_grad(loss, has_aux=True)
    (value, (metrics, inference)), grads = with_gradient(learner.params, nets, batch, key, config)
    learner, norm = apply_gradients(learner, grads, config.optimizer, value)
    return learner, inference, metrics | {"model_grad_norm": norm["grad_norm"]}
