"""Temporal distance: pairs, labels, loss (conformance test 9)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.nets import MLP, init_mlp
from peg_jax.core.optim import Learner, init_learner
from peg_jax.core.types import Array
from peg_jax.peg import distance
from peg_jax.peg.config import DistanceConfig

HORIZON, BATCH, LENGTH = 15, 45, 50
SEQUENCE = jnp.tile(jnp.arange(BATCH), LENGTH)  # time-major, as `choose_starts` lays it out
MANY = 240_000


@pytest.fixture(scope="module")
def positives() -> distance.Pairs:
    return jax.jit(lambda key: distance.sample_positives(key, HORIZON, BATCH * LENGTH, MANY))(jax.random.key(0))


@pytest.fixture(scope="module")
def negatives() -> distance.Pairs:
    return jax.jit(lambda key: distance.sample_negatives(key, HORIZON, SEQUENCE, MANY))(jax.random.key(1))


def test_positives_are_the_120_ordered_pairs_equally_often(positives: distance.Pairs) -> None:
    pairs = np.stack([positives.current[0], positives.goal[0]], axis=-1)
    seen, counts = np.unique(pairs, axis=0, return_counts=True)
    assert seen.tolist() == [[i, j] for i in range(15) for j in range(i, 15)]
    assert len(seen) == 120
    np.testing.assert_allclose(counts, MANY / 120, atol=5 * (MANY / 120) ** 0.5)


def test_positives_stay_within_one_rollout_and_cover_all_of_them(positives: distance.Pairs) -> None:
    np.testing.assert_array_equal(positives.current[1], positives.goal[1])
    assert len(np.unique(positives.current[1])) == BATCH * LENGTH


def test_positive_labels(positives: distance.Pairs) -> None:
    label = np.asarray(positives.label)
    np.testing.assert_allclose(label, (positives.goal[0] - positives.current[0]) / 15, rtol=1e-6)
    share = np.bincount(np.rint(15 * label).astype(int)) / MANY
    expected = (15 - np.arange(15)) / 120
    np.testing.assert_allclose(share, expected, atol=5 * (expected.max() / MANY) ** 0.5)
    assert label.mean() == pytest.approx(0.31111111, abs=5 * (0.05876543 / MANY) ** 0.5)
    assert label.var() == pytest.approx(0.05876543, rel=0.02)
    assert label.max() == pytest.approx(14 / 15)
    assert label.min() == 0.0


def test_negatives_never_share_a_replay_sequence(negatives: distance.Pairs) -> None:
    assert bool((SEQUENCE[negatives.current[1]] != SEQUENCE[negatives.goal[1]]).all())


def test_negatives_use_all_16_latents_and_all_rollouts_evenly(negatives: distance.Pairs) -> None:
    for times, rollouts in (negatives.current, negatives.goal):
        np.testing.assert_allclose(np.bincount(times), MANY / 16, atol=5 * (MANY / 16) ** 0.5)
        assert len(np.unique(rollouts)) == BATCH * LENGTH
        per_sequence = np.bincount(SEQUENCE[rollouts])
        np.testing.assert_allclose(per_sequence, MANY / BATCH, atol=5 * (MANY / BATCH) ** 0.5)


def test_negative_label(negatives: distance.Pairs) -> None:
    np.testing.assert_allclose(negatives.label, 1.0667, atol=5e-5)
    np.testing.assert_allclose(negatives.label, 16 / 15, rtol=1e-6)


def test_negatives_find_the_one_other_sequence() -> None:
    sequence = jnp.array([0] * 30 + [1])
    pairs = jax.jit(lambda key: distance.sample_negatives(key, 3, sequence, 2000))(jax.random.key(0))
    assert bool((sequence[pairs.current[1]] != sequence[pairs.goal[1]]).all())


def test_pairs_are_drawn_afresh_for_every_key() -> None:
    """Trap T3: the original drew them once."""
    first, second = (distance.sample_positives(jax.random.key(seed), HORIZON, 10, 256) for seed in (0, 1))
    assert bool((first.current[0] != second.current[0]).any())


NET = MLP(inputs=3, layers=1, units=4, outputs=1, context=3)


@pytest.fixture(scope="module")
def params() -> dict:
    return jax.jit(init_mlp, static_argnums=0)(NET, jax.random.key(0))


@pytest.mark.parametrize(("factor", "groups"), [(0.1, [256, 25]), (0.0, [256])])
def test_an_update_uses_256_positives_and_25_or_no_negatives_as_two_means(
    params: dict, factor: float, groups: list[int]
) -> None:
    embeds = jax.random.normal(jax.random.key(1), (HORIZON + 1, BATCH * LENGTH, 3))
    config = DistanceConfig(negative_factor=factor)

    @jax.jit
    def run(key: Array) -> tuple[Learner, dict, list[tuple[Array, Array]]]:
        asked: list[tuple[Array, Array]] = []

        def embeds_at(times: Array, rollouts: Array) -> Array:
            asked.append((times, rollouts))
            return embeds[times, rollouts]

        learner = init_learner(params, config.optimizer)
        return *distance.update(learner, NET, embeds_at, HORIZON, SEQUENCE, key, config), asked

    learner, metrics, asked = run(jax.random.key(2))
    assert [len(times) for times, _ in asked] == [n for n in groups for _ in range(2)]

    positive = distance.between(NET, params, embeds[asked[0]], embeds[asked[1]])
    label = (asked[1][0] - asked[0][0]) / 15
    expected = float(jnp.square(positive - label).mean())
    if factor:
        negative = distance.between(NET, params, embeds[asked[2]], embeds[asked[3]])
        expected += float(jnp.square(negative - 16 / 15).mean())
    assert float(metrics["dyn_dist_loss"]) == pytest.approx(expected, rel=1e-5)
    assert int(learner.skipped) == 0
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), learner.params, params)
    assert all(jax.tree.leaves(changed))


def test_distance_depends_on_the_order_of_its_arguments(params: dict) -> None:
    a, b = jnp.array([1.0, 0.0, 2.0]), jnp.array([-1.0, 3.0, 0.5])
    assert float(distance.between(NET, params, a, b)) != float(distance.between(NET, params, b, a))


def test_normalising_is_per_row(params: dict) -> None:
    """Trap T15: the original divided by the norm of the whole tensor, so that other rows mattered."""
    rows = jax.random.normal(jax.random.key(3), (4, 3))
    together = distance.between(NET, params, rows, 2.0 * rows[::-1], normalize=True)
    alone = distance.between(NET, params, 7.0 * rows[1], rows[2], normalize=True)
    assert float(together[1]) == pytest.approx(float(alone), rel=1e-5)


def test_a_constant_predictor_cannot_beat_an_error_of_0_0588(positives: distance.Pairs, params: dict) -> None:
    zeroed = jax.tree.map(jnp.zeros_like, params)
    zeroed["params"]["out"]["bias"] = positives.label.mean()[None]
    data = jnp.zeros((MANY, 3))
    assert float(distance.loss(zeroed, NET, data, data, positives.label, DistanceConfig())) == pytest.approx(
        0.0588, abs=1e-3
    )


def test_the_published_counts_are_the_defaults() -> None:
    assert DistanceConfig().positives == 256


@pytest.mark.parametrize(("expectile", "expected"), [(0.5, 0.4), (0.1, 0.04 / 0.58)])
def test_a_constant_predictor_learns_the_expectile(params: dict, expectile: float, expected: float) -> None:
    """Of labels 0 and 1, two in five being 1: the mean 0.4, or where 0.1 * 0.4 (1 - m) = 0.9 * 0.6 m."""
    labels = jnp.array([0.0, 0.0, 0.0, 1.0, 1.0])
    config, data = DistanceConfig(expectile=expectile), jnp.zeros((5, 3))
    zeroed = jax.tree.map(jnp.zeros_like, params)

    def loss(constant: Array) -> Array:
        zeroed["params"]["out"]["bias"] = constant[None]
        return distance.loss(zeroed, NET, data, data, labels, config)

    grid = jnp.linspace(0.0, 1.0, 1001)
    best = float(grid[jnp.argmin(jax.vmap(loss)(grid))])
    assert best == pytest.approx(expected, abs=1.5e-3)
