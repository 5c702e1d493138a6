"""What an agent sees in mazes of a kind, and the reachability network trained and judged on it.

EC walks at random through one stream of mazes to learn, and through another to be judged. Walks follow from their key
and are not worth keeping on disk.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.curiosity import r_training
from peg_jax.curiosity.history import History
from peg_jax.curiosity.r_network import RNetwork, RNetworkState, Variables, init_state
from peg_jax.curiosity.reachability_config import PairConfig, ReachabilityConfig
from peg_jax.curiosity.task import EnvParams, EnvState, Task


@struct.dataclass
class OfflineSeed:
    """Everything of one seed."""

    key: Key
    network: RNetworkState


@struct.dataclass
class OfflineState:
    """All that a resume needs, once the walks are walked again."""

    seed: OfflineSeed
    updates: Array  # int32 [], shared by all seeds


@struct.dataclass
class Walking:
    """Environments in the middle of a walk."""

    obs: Array  # [N, ...]
    env: EnvState  # [N]


OFFLINE_AXES = cast(Any, OfflineState)(seed=0, updates=None)
"""Where `vmap` finds the seeds in an `OfflineState`."""


def init(task: Task, config: ReachabilityConfig, key: Key) -> OfflineState:
    """A network that has made no update."""
    network = init_state(RNetwork(config.network), rng.named(key, "init"), task.frame_shape, config.offline.optimizer)
    network = jax.tree.map(lambda x: x.astype(x.dtype), network)  # weakly typed leaves would compile anew
    return OfflineState(OfflineSeed(key, network), jnp.zeros((), jnp.int32))


def begin_walk(task: Task, params: EnvParams, num_envs: int, key: Key) -> Walking:
    """`num_envs` environments at the start of an episode; `params` say the stream of mazes."""
    obs, env = jax.vmap(task.env.reset_env, in_axes=(0, None))(jax.random.split(key, num_envs), params)
    return Walking(obs, env)


def random_walk(task: Task, params: EnvParams, walking: Walking, rows: int, key: Key) -> tuple[Walking, History]:
    """What environments show whose actions are uniform over the action space, as the published data were collected.

    Args:
        task: the environment.
        params: its parameters, which say the stream of mazes.
        walking: where the walk begins, or where an earlier part of it ended.
        rows: vector steps.
        key: PRNG key.

    Returns:
        `(where it ended, what was seen)`.
    """
    space, num_envs = task.env.action_space(task.params), walking.obs.shape[0]

    def step(walking: Walking, key: Key) -> tuple[Walking, tuple[Array, ...]]:
        env, (act_key, env_key) = walking.env, rng.split(key, "act", "env")
        actions = jax.vmap(space.sample)(jax.random.split(act_key, num_envs))
        obs, env, _, terminated, truncated, info = jax.vmap(task.env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, num_envs), env, actions, params
        )
        return Walking(obs, env), (task.frames(obs, env), terminated | truncated, info["respawned"])

    walking, (frames, done, respawned) = jax.lax.scan(step, walking, jax.random.split(key, rows))
    return walking, History(frames, done, respawned, jnp.asarray(rows, jnp.int32))


def epoch(
    config: ReachabilityConfig, training: History, validation: History, state: OfflineState
) -> tuple[OfflineState, Metrics]:
    """`offline.updates` gradient steps on pairs drawn afresh, and the accuracy on walks that are not learnt from.

    Returns:
        `(state, {"loss", "accuracy", "grad_norm", "val_loss", "val_acc"})`; labels are shuffled for training alone.
    """
    net, numbers = RNetwork(config.network), config.offline
    key = jax.random.fold_in(state.seed.key, state.updates)
    pairs_key, label_key, order_key, validation_key = rng.split(key, "pairs", "labels", "order", "validation")
    pairs = r_training.history_pairs(pairs_key, training, numbers.pairs, config.parity)
    if config.control == "shuffled_labels":
        pairs = r_training.shuffled_labels(label_key, pairs)
    network, metrics = r_training.train_offline(state.seed.network, net, training, pairs, order_key, numbers)
    metrics |= judge(net, network.variables, validation, numbers.pairs, numbers.batch, validation_key)
    return OfflineState(OfflineSeed(state.seed.key, network), state.updates + numbers.updates), metrics


def judge(net: RNetwork, variables: Variables, walked: History, config: PairConfig, batch: int, key: Key) -> Metrics:
    """`{"val_loss", "val_acc"}` on pairs of a walk."""
    pairs = r_training.history_pairs(rng.named(key, "pairs"), walked, config)
    order = r_training.shuffle(rng.named(key, "order"), pairs.valid)
    return r_training.measure(net, variables, walked, pairs, order, batch)
