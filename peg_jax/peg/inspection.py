"""What a trained agent believes about episodes it has seen, for pictures."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from peg_jax.core import rng
from peg_jax.core.environment import Task
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array, Key
from peg_jax.peg import actor_critic, rollout, rssm, world_model
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.networks import make_networks
from peg_jax.peg.rssm import Latent

CONTEXT = 5  # records that the model sees before it predicts in open loop


class Inspection(NamedTuple):
    """Beliefs about B episodes and N places."""

    predicted: Array  # [S, T+1, D], observations of the last S episodes: reconstructed, then predicted in open loop
    value: Array  # [B, T+1], what the explorer expects from each state on
    steps: Array  # [N], predicted steps from each place to the goal


def inspect(
    task: Task,
    config: PEGConfig,
    agent: AgentState,
    episodes: Episode,
    places: Array,
    goal: Array,
    key: Key,
    sequences: int = 6,
) -> Inspection:
    """Look at `episodes [B, T+1, ...]`, and at the way from `places [N, D]` to `goal [D]`.

    Args:
        task: the environment.
        config: the agent's options.
        agent: whose beliefs.
        episodes: what happened; record 0 is the reset.
        places: observations.
        goal: one goal.
        key: for the latent samples.
        sequences: S, episodes predicted in open loop.
    """
    nets, params = make_networks(config.agent, rollout.task_spec(task)), agent.model
    observe_key, imagine_key = rng.split(key, "observe", "imagine")
    episodes = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), episodes)
    embeds = world_model.encode(nets, params, episodes.obs)
    latents, _, _ = rssm.observe(nets.rssm, params["rssm"], embeds, episodes.action, observe_key)
    value = actor_critic.make_value(nets.explorer, agent.explorer.slow_critic)

    def step(latent: Latent, inputs: tuple[Array, Key]) -> tuple[Latent, Array]:
        latent = rssm.imagine_step(nets.rssm, params["rssm"], latent, *inputs, config.agent.imagination.sample)
        return latent, latent.feature

    first = jax.tree.map(lambda x: x[:CONTEXT, -sequences:], latents)
    actions = episodes.action[CONTEXT:, -sequences:]
    start = jax.tree.map(lambda x: x[-1], first)
    _, imagined = jax.lax.scan(step, start, (actions, jax.random.split(imagine_key, actions.shape[0])))
    predicted = world_model.decode(nets, params, jnp.concatenate([first.feature, imagined]))
    steps = rollout.predicted_steps(nets, config.agent, agent, places, jnp.broadcast_to(goal, places.shape))
    return Inspection(jnp.swapaxes(predicted, 0, 1), value(latents.feature).T, steps)
