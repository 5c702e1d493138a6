"""The reachability network: golden value 14 of the reference, its halves, its statistics, its update."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.optim import OptimizerConfig
from peg_jax.core.types import Array
from peg_jax.curiosity import r_network
from peg_jax.curiosity.r_network import PairBatch, RNetwork, RNetworkState, Variables, init_state
from peg_jax.curiosity.reachability_config import RNetworkConfig
from tests.curiosity.small import CONFIG, FRAME, NET

PAPER_FRAME = (120, 160, 3)
OPTIMIZER = OptimizerConfig(learning_rate=1e-2, epsilon=1e-8, clip=float("inf"), weight_decay=0.0)


def count(tree: Any) -> int:
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))


def test_the_published_network_has_the_published_sizes() -> None:
    net = RNetwork(RNetworkConfig())
    variables = jax.eval_shape(lambda key: r_network.init_variables(net, key, PAPER_FRAME), jax.random.key(0))
    assert count(variables.params["encoder"]) == 11_442_176
    assert count(variables.params["comparator"]) == 1_319_938
    assert count(variables.params) == 12_762_114
    assert count(variables.stats["encoder"]) == 7_808
    assert count(variables.stats["comparator"]) == 6_144
    assert count(variables.stats) == 13_952


def test_the_published_network_has_the_published_shapes() -> None:
    net = RNetwork(RNetworkConfig())
    frames = jax.ShapeDtypeStruct((2, *PAPER_FRAME), jnp.uint8)

    def run(frames: Array) -> Any:
        variables = net.init(jax.random.key(0), frames, frames, False)
        return net.apply(variables, frames, method="embed", capture_intermediates=True)

    embedding, captured = jax.eval_shape(run, frames)
    assert embedding.shape == (2, 512)
    layers = captured["intermediates"]["encoder"]
    spatial = [layers[name]["__call__"][0].shape[1:] for name in ("stem", *(f"stage_{i}_block_1" for i in range(4)))]
    assert spatial == [(60, 80, 64), (30, 40, 64), (15, 20, 128), (8, 10, 256), (4, 5, 512)]
    assert layers["stage_0_block_0"]["__call__"][0].shape[1:] == (30, 40, 64)


def similarities(variables: Variables, current: Array, remembered: Array) -> Array:
    halves = r_network.half_of_entry(NET, variables, remembered)
    return jax.vmap(lambda embedding: r_network.similarity(NET, variables, embedding, halves))(current)


class Ran:
    """What one compiled program shows."""

    def __init__(self) -> None:
        keys = jax.random.split(jax.random.key(0), 3)
        frames = jax.random.randint(keys[0], (2, 16, *FRAME), 0, 256).astype(jnp.uint8)
        self.batch = PairBatch(frames[0], frames[1], jnp.arange(16) % 2)
        self.fresh = jax.jit(lambda key: init_state(NET, key, FRAME, OPTIMIZER))(keys[1])
        self.state, self.metrics = self.update(self.fresh, self.batch)
        variables = self.state.variables
        self.embedding = jax.jit(lambda x: r_network.embed(NET, variables, x))(frames)
        self.similarity = jax.jit(similarities)(variables, *self.embedding)
        self.compared = jax.jit(lambda a, b: r_network.compare(NET, variables, a, b))
        self.frames = frames

    @staticmethod
    @jax.jit
    def update(state: RNetworkState, batch: PairBatch) -> tuple[RNetworkState, Any]:
        return r_network.update(state, NET, batch, CONFIG, OPTIMIZER)


@pytest.fixture(scope="module")
def ran() -> Ran:
    return Ran()


def test_similarity_by_halves_is_that_of_the_whole_network(ran: Ran) -> None:
    pairs = ran.compared(*ran.frames)
    np.testing.assert_allclose(np.diag(ran.similarity), pairs, rtol=1e-4)
    assert np.std(pairs) > 1e-3
    assert not np.allclose(ran.compared(ran.frames[1], ran.frames[0]), pairs, rtol=1e-3)  # the order matters


@pytest.mark.parametrize("encoder", ["residual", "plain"])
def test_a_comparator_of_differences_takes_equal_frames_alike_and_knows_no_order(ran: Ran, encoder: str) -> None:
    # Of residual networks whose norms know nothing yet, bright pixels drive the output to its ends.
    widths, darker = {"residual": (CONFIG.widths, 64), "plain": ((8, 8, 8), 1)}[encoder]
    net = RNetwork(dataclasses.replace(CONFIG, encoder=encoder, widths=widths, compares="difference"))
    frames = ran.frames // darker
    first, second = frames

    @jax.jit
    def both(key: Array) -> tuple[Array, ...]:
        variables = r_network.init_variables(net, key, FRAME)
        embedding = r_network.embed(net, variables, frames)
        halves = r_network.half_of_entry(net, variables, embedding[1])
        by_halves = jax.vmap(lambda one: r_network.similarity(net, variables, one, halves))(embedding[0])
        pairs = ((first, second), (second, first), (first, first))
        return by_halves, *(r_network.compare(net, variables, *pair) for pair in pairs)

    by_halves, one_way, other_way, same = map(np.asarray, both(jax.random.key(3)))
    np.testing.assert_allclose(np.diag(by_halves), one_way, rtol=1e-4)
    np.testing.assert_allclose(one_way, other_way, rtol=1e-4)
    np.testing.assert_allclose(same, same[0], rtol=1e-5)
    assert np.std(one_way) > 1e-3


def test_inference_does_not_depend_on_the_rest_of_the_batch(ran: Ran) -> None:
    changed = ran.frames.at[:, 1:].set(0)
    np.testing.assert_allclose(ran.compared(*changed)[0], ran.compared(*ran.frames)[0], rtol=1e-4)
    assert ran.embedding.shape == (2, 16, CONFIG.embedding)


def test_running_statistics_move_towards_the_batch(ran: Ran) -> None:
    pixels = jnp.concatenate([ran.batch.current, ran.batch.other]).astype(jnp.float32)
    stem = ran.fresh.learner.params["encoder"]["stem"]
    convolved = jax.lax.conv_general_dilated(
        pixels, stem["kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    stats = ran.state.stats["encoder"]["stem_norm"]["norm"]
    np.testing.assert_allclose(stats["mean"], 0.05 * convolved.mean((0, 1, 2)), rtol=1e-3)
    np.testing.assert_allclose(stats["var"], 0.95 + 0.05 * convolved.var((0, 1, 2)), rtol=1e-3)


def test_an_update_lowers_the_loss_on_its_batch(ran: Ran) -> None:
    state, losses = ran.state, []
    for _ in range(20):
        state, metrics = ran.update(state, ran.batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0]
    assert float(metrics["accuracy"]) > 0.9


def test_only_convolution_kernels_are_decayed(ran: Ran) -> None:
    params = ran.state.learner.params
    kernels = [x for x in jax.tree.leaves(params["encoder"]) if x.ndim == 4]
    loss = jax.jit(lambda l2: r_network.loss(params, ran.state.stats, NET, ran.batch, l2)[0])
    values = [float(loss(l2)) for l2 in (0.0, 1e-2)]
    expected = 1e-2 * sum(float((x**2).sum()) for x in kernels)
    assert values[1] - values[0] == pytest.approx(expected, rel=1e-3)


def test_a_gradient_that_is_not_finite_changes_nothing(ran: Ran) -> None:
    learner = ran.state.learner
    params = jax.tree.map(lambda x: x, learner.params)
    params["encoder"]["stem"]["bias"] = params["encoder"]["stem"]["bias"].at[0].set(jnp.nan)
    broken = ran.state.replace(learner=learner.replace(params=params))  # type: ignore[attr-defined]
    after, _ = ran.update(broken, ran.batch)
    assert int(after.learner.skipped) == int(learner.skipped) + 1
    jax.tree.map(np.testing.assert_array_equal, after.stats, broken.stats)
    jax.tree.map(np.testing.assert_array_equal, after.learner.params, broken.learner.params)
