"""The reachability network learns what it is for, on a history and under vmap over seeds, against shuffled labels."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.optim import OptimizerConfig
from peg_jax.core.types import Array, Key
from peg_jax.curiosity import r_training
from peg_jax.curiosity.history import History, append, init_history
from peg_jax.curiosity.r_network import RNetworkState, init_state
from peg_jax.curiosity.reachability_config import OfflineConfig, OnlineConfig, PairConfig
from tests.curiosity.small import FRAME, NET

ENVS, ROWS, EPISODE = 16, 480, 80
OPTIMIZER = OptimizerConfig(learning_rate=1e-2, epsilon=1e-8, clip=float("inf"), weight_decay=0.0)
ONLINE = OnlineConfig(pairs=PairConfig(mode="v2"), passes=5, held_out=0.2, batch=32, optimizer=OPTIMIZER)
OFFLINE = OfflineConfig(updates=15, batch=32, optimizer=OPTIMIZER)


# A convolution in a loop runs ten times slower in code that is not optimised, as the rest of the tests is compiled.
optimized = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 2})


def panoramas(key: Key) -> History:
    """Walks along walls of random colours, a new wall each episode; a frame shows 8 columns, a step is one column.

    Colours are averages over 16 columns of noise, so frames look alike if and only if they are few steps apart.
    """
    noise = jax.random.normal(key, (ROWS // EPISODE, EPISODE + FRAME[1] + 16, ENVS, 3))
    summed = jnp.cumsum(noise, axis=1)
    walls = jnp.clip(127.5 + 60 * (summed[:, 16:] - summed[:, :-16]) / 4, 0, 255)
    columns = jnp.arange(EPISODE)[:, None] + jnp.arange(FRAME[1])
    views = jnp.moveaxis(walls[:, columns], 3, 2).reshape(ROWS, ENVS, 1, FRAME[1], 3)
    frames = jnp.broadcast_to(views, (ROWS, ENVS, *FRAME)).astype(jnp.uint8)
    done = jnp.broadcast_to((jnp.arange(ROWS) % EPISODE == 0)[:, None], (ROWS, ENVS))
    return append(init_history(ROWS, ENVS, FRAME), frames, done, jnp.zeros_like(done))


def accuracy(state: RNetworkState, history: History, key: Key) -> Array:
    """On pairs of walls that were not trained on."""
    pairs = r_training.history_pairs(key, history, ONLINE.pairs)
    order = r_training.shuffle(key, pairs.valid)
    return r_training.measure(NET, state.variables, history, pairs, order, 32, batches=12)["val_acc"]


def online(key: Key, shuffled: Array) -> dict[str, Any]:
    """A round of ECO from a fresh network, and how it does on other walls."""
    history, others = panoramas(key), panoramas(jax.random.fold_in(key, 1))
    pairs = r_training.history_pairs(key, history, ONLINE.pairs)
    wrong = r_training.shuffled_labels(key, pairs).label
    pairs = dataclasses.replace(pairs, label=jnp.where(shuffled, wrong, pairs.label))
    state = init_state(NET, key, FRAME, OPTIMIZER)
    trained, metrics = r_training.train_online(state, NET, history, pairs, key, ONLINE)
    both = jax.tree.map(lambda *x: jnp.stack(x), state, trained)
    before, after = jax.lax.map(lambda state: accuracy(state, others, key), both)
    return metrics | {"unseen": after, "unseen_before": before}


@pytest.fixture(scope="module")
def rounds() -> dict[str, np.ndarray]:
    """Two seeds with the true labels, then the same two with labels that say nothing."""
    keys = jax.random.split(jax.random.key(0), 2)
    run = optimized(lambda keys, shuffled: jax.lax.map(lambda args: online(*args), (keys, shuffled)))
    results = run(jnp.concatenate([keys, keys]), jnp.array([False, False, True, True]))
    return jax.tree.map(np.asarray, results)


def test_a_round_teaches_what_is_reachable_elsewhere(rounds: dict[str, np.ndarray]) -> None:
    assert (rounds["unseen"][:2] > 0.7).all(), rounds["unseen"]
    assert (rounds["val_acc"][:2] > 0.7).all(), rounds["val_acc"]


def test_without_training_or_true_labels_it_does_not_know(rounds: dict[str, np.ndarray]) -> None:
    """Within four standard errors of chance: 384 unseen pairs, 256 held out."""
    assert (np.abs(rounds["unseen_before"] - 0.5) < 0.1).all(), rounds["unseen_before"]
    assert (np.abs(rounds["unseen"][2:] - 0.5) < 0.1).all(), rounds["unseen"]
    assert (np.abs(rounds["val_acc"][2:] - 0.5) < 0.12).all(), rounds["val_acc"]


def test_a_round_passes_over_the_training_share_in_whole_batches(rounds: dict[str, np.ndarray]) -> None:
    training = rounds["pairs"] - np.floor(0.2 * rounds["pairs"])
    np.testing.assert_array_equal(rounds["updates"], ONLINE.passes * (training // ONLINE.batch))
    assert rounds["updates"].min() > 100


def test_held_out_pairs_are_a_share_apart() -> None:
    valid = jnp.arange(1000).reshape(4, 250) % 4 != 0
    training, held_out = r_training.hold_out(jax.random.key(0), valid, 0.2)
    assert not bool((training & held_out).any())
    np.testing.assert_array_equal(training | held_out, valid)
    assert int(held_out.sum()) == 150
    assert 0 < int(held_out[0].sum()) < 75  # spread at random, not the last ones


def test_epochs_of_ec_learn_and_each_seed_is_alone() -> None:
    def run(key: Key) -> Array:
        history = panoramas(key)
        state = init_state(NET, key, FRAME, OPTIMIZER)

        def epoch(state: RNetworkState, key: Key) -> tuple[RNetworkState, Array]:
            pairs = r_training.history_pairs(key, history, OFFLINE.pairs)
            state, metrics = r_training.train_offline(state, NET, history, pairs, key, OFFLINE)
            return state, metrics["loss"]

        return jax.lax.scan(epoch, state, jax.random.split(key, 2))[1]

    keys = jax.random.split(jax.random.key(7), 2)
    program = optimized(jax.vmap(run))
    losses = program(keys)
    assert (losses[:, -1] < 0.97 * losses[:, 0]).all(), losses
    np.testing.assert_allclose(program(keys[::-1])[1], losses[0], rtol=1e-3)
    assert not np.allclose(losses[0], losses[1], rtol=1e-2)
