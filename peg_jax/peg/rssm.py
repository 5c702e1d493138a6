"""Recurrent state-space model: the latent dynamics (PlaNet, Dreamer)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import distributions
from peg_jax.core.nets import GoalMLP, elu, fourier_features
from peg_jax.core.remat import keep, lean
from peg_jax.core.types import Array, Key, Params
from peg_jax.peg.config import WorldModelConfig

GROUNDED_SHARE = 0.1  # of the latents' least deviation, the deviation of an observed entry that is one of them

Stats = dict[str, Array]  # {"mean", "std"} [..., S] of Gaussian latents, or {"logits"} [..., S, C] of categorical ones


@struct.dataclass
class Latent:
    """A latent state; the feature vector that the heads read is `[stoch, deter]`."""

    stoch: Array  # [..., S] (categorical: [..., S * C])
    deter: Array  # [..., H]

    @property
    def feature(self) -> Array:
        """`[..., S + H]`, stochastic part first."""
        return jnp.concatenate([self.stoch, self.deter], axis=-1)


def stoch_size(config: WorldModelConfig) -> int:
    """Length of the flattened stochastic part."""
    return predicted_size(config) + 2 * config.octaves * config.grounded


def predicted_size(config: WorldModelConfig) -> int:
    """Length of the stochastic part that has a distribution; after it come waves of the grounded entries."""
    return config.grounded + config.stoch * max(1, config.classes)


def feature_size(config: WorldModelConfig) -> int:
    """Length of the feature vector."""
    return stoch_size(config) + config.deter


def latent_of(config: WorldModelConfig, feature: Array) -> Latent:
    """The latent whose feature vector is `feature [..., F]`."""
    return Latent(*jnp.split(feature, [stoch_size(config)], axis=-1))


def zero_latent(config: WorldModelConfig, batch: tuple[int, ...]) -> Latent:
    """The state before anything was seen."""
    return Latent(jnp.zeros((*batch, stoch_size(config))), jnp.zeros((*batch, config.deter)))


def gated_update(normalised: Array, deter: Array) -> Array:
    """The GRU's state update from its normalised pre-activations (reset, candidate, update).

    The reset gate multiplies the candidate's pre-activation, and the update gate is biased by -1 toward keeping.

    Args:
        normalised: `[..., 3H]`.
        deter: `[..., H]`.

    Returns:
        `[..., H]` the next deterministic state.
    """
    reset, candidate, update = jnp.split(normalised, 3, axis=-1)
    candidate = jnp.tanh(jax.nn.sigmoid(reset) * candidate)
    update = jax.nn.sigmoid(update - 1.0)
    return update * candidate + (1.0 - update) * deter


class RSSM(nn.Module):
    """One step of the latent dynamics; the caller scans."""

    config: WorldModelConfig
    embed_size: int
    action_size: int
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        """Declare the layers."""

        def dense(units: int) -> nn.Dense:
            return nn.Dense(units, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform())

        inferred, observed = self.config.stoch * (self.config.classes or 2), 2 * self.config.grounded
        if self.config.sine_scale:
            self.input_net = self._product_net()
        else:
            self.input_layer = dense(self.config.hidden)
        self.gru = dense(3 * self.config.deter)
        self.gru_norm = nn.LayerNorm(epsilon=1e-3, dtype=jnp.float32)
        self.prior_hidden, self.prior_out = dense(self.config.hidden), dense(observed + inferred)
        self.posterior_hidden, self.posterior_out = dense(self.config.hidden), dense(inferred)

    def advance(self, latent: Latent, action: Array) -> Array:
        """Next deterministic state `[..., H]` after `action [..., A]`."""
        if self.config.sine_scale:
            x = self.input_net(latent.feature, self.input_net.embed_context(action))
        else:
            x = elu(self.input_layer(jnp.concatenate([latent.stoch, action], axis=-1)))
        normalised = self.gru_norm(self.gru(jnp.concatenate([x, latent.deter], axis=-1)))
        return gated_update(normalised, latent.deter)

    def _product_net(self) -> GoalMLP:
        # Which side of a wall the agent is on is memory more often than observation, so the state's tower reads both.
        config = self.config
        units, context = config.hidden, self.action_size
        return GoalMLP(feature_size(config), 2, units, units, context, config.sine_scale, self.dtype)

    def prior(self, deter: Array, previous: Array) -> Stats:
        """Distribution of the stochastic state before the observation; `previous [..., S]` is the last step's."""
        stats = self._stats(self.prior_out(elu(self.prior_hidden(deter))))
        if not self.config.residual:
            return stats
        return stats | {"mean": previous[..., : predicted_size(self.config)] + stats["mean"]}

    def posterior(self, deter: Array, embed: Array) -> Stats:
        """Distribution of the stochastic state after the observation's embedding `[..., E]`.

        Grounded entries come first: they are the observation, with which the embedding ends.
        """
        hidden = elu(self.posterior_hidden(jnp.concatenate([deter, embed], axis=-1)))
        stats = self._stats(self.posterior_out(hidden))
        if not self.config.grounded:
            return stats
        obs = embed[..., -self.config.grounded :].astype(jnp.float32)
        observed = {"mean": obs, "std": jnp.broadcast_to(GROUNDED_SHARE * self.config.min_std, obs.shape)}
        return {name: jnp.concatenate([observed[name], stats[name]], axis=-1) for name in observed}

    def initialise(self) -> None:
        """Touch every parameter: the method to hand to `init`."""
        deter = self.advance(zero_latent(self.config, ()), jnp.zeros(self.action_size))
        self.prior(deter, zero_latent(self.config, ()).stoch)
        self.posterior(deter, jnp.zeros(self.embed_size))

    def _stats(self, raw: Array) -> Stats:
        raw = raw.astype(jnp.float32)
        if self.config.classes:
            return {"logits": raw.reshape(*raw.shape[:-1], self.config.stoch, self.config.classes)}
        mean, raw_std = jnp.split(raw, 2, axis=-1)
        return {"mean": mean, "std": distributions.bounded_std(raw_std, self.config.min_std)}


def with_waves(config: WorldModelConfig, stoch: Array) -> Array:
    """The stochastic state `[..., P]` followed by waves of its grounded entries, `[..., S]`.

    All that reads the latent then sees the imagined observation as the encoder sees a real one.
    """
    if not config.grounded:
        return stoch
    obs = stoch[..., : config.grounded]
    return jnp.concatenate([stoch, fourier_features(obs, config.octaves, config.period)[..., config.grounded :]], -1)


def sample_stoch(stats: Stats, key: Key) -> Array:
    """Reparameterised (Gaussian) or straight-through (categorical) sample, flattened to `[..., S or S * C]`."""
    if "logits" in stats:
        sample = distributions.straight_through_one_hot(stats["logits"], key)
        return sample.reshape(*sample.shape[:-2], -1)
    return stats["mean"] + stats["std"] * keep(jax.random.normal(key, stats["mean"].shape))


def mean_stoch(stats: Stats) -> Array:
    """Mean of the stochastic state, flattened to `[..., S or S * C]`."""
    if "logits" in stats:
        mean = jax.nn.softmax(stats["logits"])
        return mean.reshape(*mean.shape[:-2], -1)
    return stats["mean"]


def kl_divergence(p: Stats, q: Stats) -> Array:
    """KL(p || q) `[...]`, summed over the latents, in float32."""
    if "logits" in p:
        return distributions.categorical_kl(p["logits"], q["logits"])
    return distributions.gaussian_kl((p["mean"], p["std"]), (q["mean"], q["std"]))


def entropy(stats: Stats) -> Array:
    """Entropy `[...]`, summed over the latents."""
    if "logits" in stats:
        log_p = jax.nn.log_softmax(stats["logits"])
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=(-2, -1))
    return jnp.sum(0.5 + distributions.LOG_SQRT_2PI + jnp.log(stats["std"]), axis=-1)


def kl_loss(posterior: Stats, prior: Stats, config: WorldModelConfig) -> tuple[Array, Array]:
    """Balanced KL with free nats.

    The gradient is shared `1 - balance` to the posterior and `balance` to the prior, and vanishes for both while the
    KL averaged over the batch is below the free nats.

    Returns:
        `(loss [], mean KL [])`.
    """
    stopped = jax.lax.stop_gradient
    to_posterior = kl_divergence(posterior, stopped(prior))
    to_prior = kl_divergence(stopped(posterior), prior)

    def free(kl: Array) -> Array:
        if config.kl_free_average:
            return jnp.maximum(kl.mean(), config.kl_free)
        return jnp.maximum(kl, config.kl_free).mean()

    loss = (1.0 - config.kl_balance) * free(to_posterior) + config.kl_balance * free(to_prior)
    return loss, to_posterior.mean()


def observe_step(
    rssm: RSSM, params: Params, latent: Latent, action: Array, embed: Array, is_first: Array, key: Key
) -> tuple[Latent, Stats]:
    """Filter one observation: `[B, ...]` in, the sampled posterior out.

    Where `is_first`, the previous state and action are masked to zero, by broadcasting, so that categorical latents
    work for any batch.

    Args:
        rssm: the module.
        params: its parameters.
        latent: previous latent, `[B, ...]`.
        action: `[B, A]` the action that led here.
        embed: `[B, E]` embedding of the observation.
        is_first: bool `[B]`.
        key: for the sample.

    Returns:
        `(posterior latent, posterior statistics)`.
    """
    goes_on = 1.0 - is_first.astype(jnp.float32)[..., None]
    latent, action = jax.tree.map(lambda x: x * goes_on, (latent, action))
    deter = rssm.apply(params, latent, action, method=RSSM.advance)
    stats = rssm.apply(params, deter, embed, method=RSSM.posterior)
    return Latent(with_waves(rssm.config, sample_stoch(stats, key)), deter), stats


def observe(rssm: RSSM, params: Params, embeds: Array, actions: Array, key: Key) -> tuple[Latent, Stats, Stats]:
    """Filter whole sequences whose first record is a first one.

    Args:
        rssm: the module.
        params: its parameters.
        embeds: `[T, B, E]`.
        actions: `[T, B, A]`, each the action that led into its record.
        key: for the samples.

    Returns:
        `(posterior latents [T, B, ...], posterior statistics, prior statistics)`.
    """
    length, batch = embeds.shape[:2]
    is_first = jnp.zeros((length, batch), bool).at[0].set(True)

    def step(latent: Latent, inputs: tuple[Array, Array, Array, Key]) -> tuple[Latent, tuple[Latent, Stats]]:
        action, embed, first, step_key = inputs
        latent, stats = observe_step(rssm, params, latent, action, embed, first, step_key)
        return latent, (latent, stats)

    start = zero_latent(rssm.config, (batch,))
    keys = jax.random.split(key, length)
    _, (latents, posterior) = jax.lax.scan(lean(step), start, (actions, embeds, is_first, keys))
    # No prior is needed to filter, so one batched product serves all times.
    previous = jnp.concatenate([start.stoch[None], latents.stoch[:-1]])
    prior = rssm.apply(params, latents.deter, previous, method=RSSM.prior)
    return latents, posterior, prior


def imagine_step(rssm: RSSM, params: Params, latent: Latent, action: Array, key: Key, sample: bool = True) -> Latent:
    """One step of the prior: `latent [N, ...]` and `action [N, A]` to the next latent, sampled or the prior's mean."""
    deter = rssm.apply(params, latent, action, method=RSSM.advance)
    stats = rssm.apply(params, deter, latent.stoch, method=RSSM.prior)
    stoch = sample_stoch(stats, key) if sample else mean_stoch(stats)
    return Latent(with_waves(rssm.config, stoch), deter)
