"""Training of the reachability network on a history: a round of ECO, an epoch of EC.

Of the original's bugs, one concerns this: its splits were swapped, so that a network of EC was trained on the stream of
mazes meant for validation and validated on the one meant for training. Here a caller hands over the history of
each; both are streams of random mazes, so there is nothing for `parity` to bring back.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.curiosity.history import History, take_pairs, trajectory_starts
from peg_jax.curiosity.pairs import Pairs, sample_pairs
from peg_jax.curiosity.r_network import RNetwork, RNetworkState, Variables, evaluate, update
from peg_jax.curiosity.reachability_config import OfflineConfig, OnlineConfig, PairConfig

_NOTHING = {"loss": 0.0, "accuracy": 0.0, "grad_norm": 0.0}


@struct.dataclass
class Order:
    """Some of the pairs, shuffled."""

    slots: Array  # int32 [P], indices into all slots; the first `count` are meant
    count: Array  # int32 []


def history_pairs(
    key: Key, history: History, config: PairConfig, parity: bool = False, ends_late: bool = False
) -> Pairs:
    """Pairs of a history drawn anew, leaves `[N, T]`; times count from the oldest step kept.

    With `parity` as the original drew them, offline or, with `ends_late` as well, online.
    """
    starts = trajectory_starts(history, ends_late, across_lives=parity).T
    keys = jax.random.split(key, starts.shape[0])
    return jax.vmap(lambda key, starts: sample_pairs(key, starts, config, parity))(keys, starts)


def shuffle(key: Key, chosen: Array) -> Order:
    """A random order of the slots that are `chosen`, bool of any shape, flattened."""
    flat = chosen.reshape(-1)
    order = jnp.argsort(jnp.where(flat, jax.random.uniform(key, flat.shape), jnp.inf))
    return Order(order.astype(jnp.int32), jnp.sum(flat, dtype=jnp.int32))


def hold_out(key: Key, valid: Array, share: float) -> tuple[Array, Array]:
    """Split the valid slots at random into a training part and `share` of them to measure on; bools like `valid`."""
    order = shuffle(key, valid)
    place = jnp.zeros_like(order.slots).at[order.slots].set(jnp.arange(order.slots.size, dtype=jnp.int32))
    place = place.reshape(valid.shape)
    training = order.count - (share * order.count).astype(jnp.int32)
    return place < training, (place >= training) & (place < order.count)


def shuffled_labels(key: Key, pairs: Pairs) -> Pairs:
    """The same pairs with labels that say nothing: what a network learns from them is a control."""
    return dataclasses.replace(pairs, label=jax.random.bernoulli(key, shape=pairs.label.shape).astype(jnp.int32))


def train_online(
    state: RNetworkState, net: RNetwork, history: History, pairs: Pairs, key: Key, config: OnlineConfig
) -> tuple[RNetworkState, Metrics]:
    """One round of ECO: `passes` over the history's pairs, each in another order; partial batches are dropped.

    Weights and moments go on from the round before. With fewer pairs than a batch nothing is learned.

    Returns:
        `(state, metrics)`: loss, accuracy and gradient norm averaged over the round, those on pairs held out before and
        after it (`val_loss_before`, `val_acc_before`, `val_loss`, `val_acc`), and the number of pairs and updates.
    """
    split_key, order_key, measure_key = rng.split(key, "split", "order", "measure")
    training, held_out = hold_out(split_key, pairs.valid, config.held_out)
    batches = jnp.sum(training) // config.batch
    measured = shuffle(measure_key, held_out)

    def one_pass(index: Array, carry: tuple[RNetworkState, Metrics]) -> tuple[RNetworkState, Metrics]:
        order = shuffle(jax.random.fold_in(order_key, index), training)
        return _updates(carry, net, history, pairs, order, batches, config)

    before = state.variables
    zeros = {name: jnp.asarray(value) for name, value in _NOTHING.items()}
    state, sums = jax.lax.fori_loop(0, config.passes, one_pass, (state, zeros))
    both = jax.tree.map(lambda *x: jnp.stack(x), before, state.variables)  # one program for the two of them
    found = jax.lax.map(lambda variables: measure(net, variables, history, pairs, measured, config.batch), both)
    trained = {name: values[1] for name, values in found.items()}
    updates = config.passes * batches
    metrics = {name: value / jnp.maximum(updates, 1) for name, value in sums.items()}
    counts = {"pairs": jnp.sum(pairs.valid), "updates": updates}
    return state, metrics | counts | trained | {f"{name}_before": values[0] for name, values in found.items()}


def train_offline(
    state: RNetworkState, net: RNetwork, history: History, pairs: Pairs, key: Key, config: OfflineConfig
) -> tuple[RNetworkState, Metrics]:
    """One epoch of EC: `updates` batches of a history of random behaviour; draw its pairs afresh for each epoch.

    Returns:
        `(state, {"loss", "accuracy", "grad_norm"})`, averaged over the epoch.
    """
    order = shuffle(key, pairs.valid)
    zeros = {name: jnp.asarray(value) for name, value in _NOTHING.items()}
    state, sums = _updates((state, zeros), net, history, pairs, order, config.updates, config)
    return state, {name: value / config.updates for name, value in sums.items()}


def measure(
    net: RNetwork, variables: Variables, history: History, pairs: Pairs, order: Order, batch: int, batches: int = 8
) -> Metrics:
    """`{"val_loss", "val_acc"}` on the first `batches` batches of an order, which starts again where it ends."""

    def one(index: Array) -> Metrics:
        return evaluate(net, variables, take_pairs(history, pairs, _batch(order, index, batch)))

    results = jax.lax.map(one, jnp.arange(batches))
    return {"val_loss": results["loss"].mean(), "val_acc": results["accuracy"].mean()}


def _updates(
    carry: tuple[RNetworkState, Metrics],
    net: RNetwork,
    history: History,
    pairs: Pairs,
    order: Order,
    batches: Array | int,
    config: OnlineConfig | OfflineConfig,
) -> tuple[RNetworkState, Metrics]:
    """Gradient steps on `batches` consecutive batches of an order; sums up their metrics."""

    def one(index: Array, carry: tuple[RNetworkState, Metrics]) -> tuple[RNetworkState, Metrics]:
        state, sums = carry
        batch = take_pairs(history, pairs, _batch(order, index, config.batch))
        state, metrics = update(state, net, batch, net.config, config.optimizer)
        return state, {name: sums[name] + metrics[name] for name in sums}

    return jax.lax.fori_loop(0, batches, one, carry)


def _batch(order: Order, index: Array, size: int) -> Array:
    return order.slots[(index * size + jnp.arange(size)) % jnp.maximum(order.count, 1)]
