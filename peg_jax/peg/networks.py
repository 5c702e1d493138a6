"""All networks of the agent, built from the configuration; their parameters live in the agent's state."""

from typing import NamedTuple

import jax.numpy as jnp

from peg_jax.core.nets import MLP
from peg_jax.peg.config import ActorCriticConfig, AgentConfig
from peg_jax.peg.rssm import RSSM, feature_size, stoch_size


class Spec(NamedTuple):
    """Sizes that the environment dictates. Goals are full observations in every environment here."""

    obs_size: int
    action_size: int
    discrete: bool = False


class ActorCriticNets(NamedTuple):
    """A policy and its value function over `[feature, context]`; the explorer has no context."""

    actor: MLP
    critic: MLP
    discrete: bool


class Networks(NamedTuple):
    """Module definitions, without parameters."""

    encoder: MLP
    rssm: RSSM
    decoder: MLP
    embed_head: MLP
    distance: MLP
    achiever: ActorCriticNets
    explorer: ActorCriticNets
    member: MLP  # one network of the disagreement ensemble


def make_networks(config: AgentConfig, spec: Spec) -> Networks:
    """Every module, with the layer sizes of peg.md sections 1-3."""
    dtype = jnp.dtype(config.dtype)
    model = config.world_model
    feature, embed = feature_size(model), model.units

    def mlp(inputs: int, layers: int, units: int, outputs: int = 0, context: int = 0) -> MLP:
        return MLP(inputs, layers, units, outputs, context, dtype)

    def actor_critic(ac: ActorCriticConfig, context: int) -> ActorCriticNets:
        actor_outputs = spec.action_size * (1 if spec.discrete else 2)
        actor = mlp(feature, ac.layers, ac.units, actor_outputs, context)
        return ActorCriticNets(actor, mlp(feature, ac.layers, ac.units, 1, context), spec.discrete)

    ensemble = config.disagreement
    return Networks(
        encoder=mlp(spec.obs_size * (1 + 2 * model.octaves), model.encoder_layers, model.units),
        rssm=RSSM(model, embed, spec.action_size, dtype),
        decoder=mlp(feature, model.decoder_layers, model.units, spec.obs_size),
        embed_head=mlp(feature, model.decoder_layers, model.units, embed),
        distance=mlp(embed, config.distance.layers, config.distance.units, 1, context=embed),
        achiever=actor_critic(config.achiever, embed),
        explorer=actor_critic(config.explorer, 0),
        member=mlp(feature + spec.action_size, ensemble.layers, ensemble.units, stoch_size(model)),
    )
