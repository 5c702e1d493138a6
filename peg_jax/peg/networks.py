"""All networks of the agent, built from the configuration; their parameters live in the agent's state."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from peg_jax.core.nets import MLP, GoalMLP, Network
from peg_jax.peg.config import ActorCriticConfig, AgentConfig, DisagreementConfig, DistanceConfig
from peg_jax.peg.rssm import RSSM, feature_size, predicted_size

Sizes = ActorCriticConfig | DisagreementConfig | DistanceConfig


class Spec(NamedTuple):
    """Sizes that the environment dictates. Goals are full observations in every environment here."""

    obs_size: int
    action_size: int
    discrete: bool = False


class ActorCriticNets(NamedTuple):
    """A policy and its value function over `[feature, context]`; the explorer has no context."""

    actor: Network
    critic: Network
    discrete: bool


class Networks(NamedTuple):
    """Module definitions, without parameters."""

    encoder: MLP
    rssm: RSSM
    decoder: MLP | None  # None, and no embed head: the latent state holds the observation itself
    embed_head: MLP | None
    distance: Network
    achiever: ActorCriticNets
    explorer: ActorCriticNets
    member: Network  # one network of the disagreement ensemble


def make_networks(config: AgentConfig, spec: Spec) -> Networks:
    """Every module, with the configured layer sizes."""
    dtype = jnp.dtype(config.dtype)
    model = config.world_model
    feature, embed = feature_size(model), model.units + model.grounded

    def mlp(inputs: int, layers: int, units: int, outputs: int = 0, context: int = 0) -> MLP:
        return MLP(inputs, layers, units, outputs, context, dtype)

    def product(inputs: int, sizes: Sizes, outputs: int, context: int) -> GoalMLP:
        return GoalMLP(inputs, sizes.layers, sizes.units, outputs, context, sizes.sine_scale, dtype)

    def of_goal(inputs: int, sizes: ActorCriticConfig | DistanceConfig, outputs: int) -> Network:
        if sizes.sine_scale:
            return product(inputs, sizes, outputs, context=embed)
        return mlp(inputs, sizes.layers, sizes.units, outputs, context=embed)

    def actor_critic(make: Callable[[int, ActorCriticConfig, int], Network], ac: ActorCriticConfig) -> ActorCriticNets:
        actor_outputs = spec.action_size * (1 if spec.discrete else 2)
        return ActorCriticNets(make(feature, ac, actor_outputs), make(feature, ac, 1), spec.discrete)

    def plain(inputs: int, sizes: ActorCriticConfig, outputs: int) -> Network:
        return mlp(inputs, sizes.layers, sizes.units, outputs)

    def head(outputs: int) -> MLP | None:
        return None if model.grounded else mlp(feature, model.decoder_layers, model.units, outputs)

    ensemble, stoch, action = config.disagreement, predicted_size(model), spec.action_size
    member = mlp(feature + action, ensemble.layers, ensemble.units, stoch)
    return Networks(
        encoder=mlp(spec.obs_size * (1 + 2 * model.octaves), model.encoder_layers, model.units),
        rssm=RSSM(model, embed, spec.action_size, dtype),
        decoder=head(spec.obs_size),
        embed_head=head(embed),
        distance=of_goal(embed, config.distance, 1),
        achiever=actor_critic(of_goal, config.achiever),
        explorer=actor_critic(plain, config.explorer),
        member=product(feature, ensemble, stoch, context=action) if ensemble.sine_scale else member,
    )
