"""Heads (conformance tests 5, 7 and 8)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core import distributions as d

SCALE = 0.33840584
LOC = float(np.tanh(1.0))


def test_std_activation() -> None:
    expected = [0.33840584, 0.63788284, 1.1, 1.56211716, 1.86159416]
    np.testing.assert_allclose(d.bounded_std(jnp.array([-4.0, -2.0, 0.0, 2.0, 4.0])), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("loc", "scale", "log_prob", "entropy", "mean"),
    [
        (0.0, 1.1, -0.59997874, 0.68597775, 0.0),
        (0.5, 1.1, -0.50134809, 0.66370491, 0.12207120),
        (LOC, SCALE, -0.49053541, -0.08412433, 0.62289266),
    ],
)
def test_truncated_normal(loc: float, scale: float, log_prob: float, entropy: float, mean: float) -> None:
    dist = d.TruncatedNormal(jnp.array([loc]), jnp.array([scale]))
    np.testing.assert_allclose(dist.log_prob(jnp.array([0.3])), log_prob, atol=2e-6)
    np.testing.assert_allclose(dist.entropy(), entropy, atol=2e-6)
    np.testing.assert_allclose(dist.mean()[0], mean, atol=2e-6)


def test_truncated_normal_mode() -> None:
    assert d.TruncatedNormal(jnp.array([LOC]), jnp.array([SCALE])).mode()[0] == pytest.approx(0.76159416, rel=1e-6)


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.1), (0.5, 1.1), (LOC, SCALE), (1.0, 0.1), (-1.0, 2.1)])
def test_truncated_normal_density_integrates_to_one_with_the_stated_mean_and_entropy(loc: float, scale: float) -> None:
    grid = jnp.linspace(-1.0, 1.0, 20_001)
    dist = d.TruncatedNormal(jnp.array([loc]), jnp.array([scale]))
    log_prob = jax.vmap(dist.log_prob)(grid[:, None])
    density = jnp.exp(log_prob)

    def integral(f: jax.Array) -> float:
        return float(jnp.trapezoid(f, grid))

    assert integral(density) == pytest.approx(1.0, abs=1e-4)
    assert integral(density * grid) == pytest.approx(float(dist.mean()[0]), abs=1e-4)
    assert integral(-density * log_prob) == pytest.approx(float(dist.entropy()), abs=1e-4)


def test_truncated_normal_samples_have_its_mean_and_stay_inside_the_clip() -> None:
    loc, scale = jnp.full((100_000, 1), LOC), jnp.full((100_000, 1), SCALE)
    samples = d.TruncatedNormal(loc, scale).sample_action(jax.random.key(0))
    assert float(jnp.abs(samples).max()) <= 1.0 - 1e-6 + 1e-9
    assert float(samples.mean()) == pytest.approx(0.62289266, abs=5 * float(samples.std()) / 100_000**0.5)


def test_truncated_normal_samples_move_with_their_parameters_also_at_the_clip() -> None:
    """A finite difference with the same noise is the reparameterised gradient."""
    key = jax.random.key(3)

    def mean_sample(loc: jax.Array) -> jax.Array:
        return d.TruncatedNormal(jnp.full((4096, 1), loc), jnp.full((4096, 1), 0.8)).sample_action(key).mean()

    sample_and_gradient = jax.jit(jax.value_and_grad(mean_sample))
    difference = (sample_and_gradient(0.3 + 1e-2)[0] - sample_and_gradient(0.3 - 1e-2)[0]) / 2e-2
    assert float(sample_and_gradient(0.3)[1]) == pytest.approx(float(difference), rel=2e-2)
    assert jnp.isfinite(sample_and_gradient(1.0)[1])


def test_truncated_normal_sums_over_action_dimensions() -> None:
    dist = d.TruncatedNormal(jnp.array([0.0, 0.5]), jnp.array([1.1, 1.1]))
    assert float(dist.log_prob(jnp.array([0.3, 0.3]))) == pytest.approx(-0.59997874 - 0.50134809, abs=4e-6)
    assert float(dist.entropy()) == pytest.approx(0.68597775 + 0.66370491, abs=4e-6)


def test_unit_variance_head() -> None:
    log_prob = d.unit_normal_log_prob(jnp.zeros(2), jnp.array([0.1, -0.2]))
    assert float(log_prob) == pytest.approx(-1.86287707, rel=1e-6)


@pytest.mark.parametrize(("size", "floor"), [(2, 1.8379), (9, 8.2704), (14, 12.8651), (29, 26.6492), (400, 367.5754)])
def test_loss_floors(size: int, floor: float) -> None:
    exact = jnp.arange(size, dtype=jnp.float32)
    assert float(-d.unit_normal_log_prob(exact, exact)) == pytest.approx(floor, rel=2e-6, abs=6e-5)


def test_gaussian_kl_per_dimension_and_in_total() -> None:
    p = jnp.array([[0.0, 1.0], [1.0, 0.5]])
    q = jnp.array([[0.5, -1.0], [1.1, 1.0]])
    per_dim = [d.gaussian_kl((p[0, i : i + 1], p[1, i : i + 1]), (q[0, i : i + 1], q[1, i : i + 1])) for i in (0, 1)]
    np.testing.assert_allclose(per_dim, [0.11183911, 2.31814718], rtol=1e-6)
    assert float(d.gaussian_kl((p[0], p[1]), (q[0], q[1]))) == pytest.approx(2.42998629, rel=1e-6)


def test_categorical_kl_sums_over_the_categoricals() -> None:
    p, q = jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1]])), jnp.log(jnp.array([[0.25, 0.75], [0.9, 0.1]]))
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert float(d.categorical_kl(p, q)) == pytest.approx(expected, rel=1e-5)


def test_straight_through_sample_is_one_hot_with_the_gradient_of_the_probabilities() -> None:
    logits, key = jnp.array([[0.3, -0.2, 1.0], [2.0, 0.0, -1.0]]), jax.random.key(0)
    sample = d.straight_through_one_hot(logits, key)
    np.testing.assert_allclose(jnp.sort(sample), [[0, 0, 1], [0, 0, 1]], atol=1e-6)
    weight = jnp.array([1.0, -2.0, 0.5])
    through = jax.grad(lambda x: jnp.sum(weight * d.straight_through_one_hot(x, key)))(logits)
    direct = jax.grad(lambda x: jnp.sum(weight * jax.nn.softmax(x)))(logits)
    np.testing.assert_allclose(through, direct, rtol=1e-6)


def test_one_hot_actions_are_drawn_with_the_softmax_probabilities() -> None:
    logits = jnp.broadcast_to(jnp.log(jnp.array([0.2, 0.5, 0.3])), (20_000, 3))
    action = d.OneHot(logits).sample_action(jax.random.key(1))
    np.testing.assert_allclose(action.mean(axis=0), [0.2, 0.5, 0.3], atol=5 * 0.5 / 20_000**0.5)
