"""Acting in a batch of environments that are not reset: what episodes are played with that nothing learns from."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from peg_jax.core import rng
from peg_jax.core.types import Array, Key, Params
from peg_jax.curiosity import networks
from peg_jax.curiosity.networks import Apply
from peg_jax.curiosity.task import EnvParams, EnvState, Task

Act = Callable[[Array, Key], Array]
"""From observations `[N, ...]` to actions `[N, ...]`."""


def by_policy(apply: Apply, params: Params) -> Act:
    """Sampled actions of a network."""
    return lambda obs, key: networks.sample(apply(params, obs), key)


def at_random(task: Task) -> Act:
    """Actions drawn uniformly over the action space."""
    space = task.env.action_space(task.params)
    return lambda obs, key: jax.vmap(space.sample)(jax.random.split(key, obs.shape[0]))


def always(action: Array) -> Act:
    """The same action at each step."""
    return lambda obs, _: jnp.broadcast_to(action, (obs.shape[0], *action.shape))


def begin(task: Task, params: EnvParams, num_envs: int, key: Key) -> tuple[Array, EnvState]:
    """Start an episode in each environment: `(obs [N, ...], env [N, ...])`."""
    keys = jax.random.split(rng.named(key, "reset"), num_envs)
    return jax.vmap(task.env.reset_env, in_axes=(0, None))(keys, params)


def step(
    task: Task, act: Act, params: EnvParams, obs: Array, env: EnvState, key: Key
) -> tuple[Array, EnvState, Array, Array, dict[str, Array]]:
    """One step in each environment: `(action, obs, env, done, info)`, where an episode that is over simply goes on."""
    act_key, env_key = rng.split(key, "act", "env")
    action = act(obs, act_key)
    keys = jax.random.split(env_key, obs.shape[0])
    obs, env, _, terminated, info = jax.vmap(task.env.step_env, in_axes=(0, 0, 0, None))(keys, env, action, params)
    done = terminated | jax.vmap(task.env.is_truncated, in_axes=(0, None))(env, params)
    return action, obs, env, done, info
