"""Adam in the Keras form, weight decay, clipping and skipped updates (conformance test 12)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from peg_jax.core.optim import OptimizerConfig, apply_gradients, init_learner, make_optimizer, scale_by_keras_adam

PLAIN = OptimizerConfig(learning_rate=3e-4, weight_decay=0.0)


def first_step(gradient: float, config: OptimizerConfig = PLAIN) -> float:
    learner, _ = apply_gradients(init_learner(jnp.zeros(()), config), jnp.asarray(gradient), config)
    return -float(learner.params)


@pytest.mark.parametrize(
    ("gradient", "keras", "textbook"),
    [(1e-3, 2.279241e-4, 2.970297e-4), (1e-5, 9.196029e-6, 1.5e-4), (1e-6, 9.456928e-7, 2.727273e-5)],
)
def test_first_step_has_the_keras_epsilon(gradient: float, keras: float, textbook: float) -> None:
    # float32 holds 1 - 0.999 to 5e-5 of itself, and the square root halves that.
    assert first_step(gradient) == pytest.approx(keras, rel=1e-4)
    updates, _ = optax.adam(3e-4, eps=1e-5).update(gradient, optax.adam(3e-4, eps=1e-5).init(0.0))
    assert -float(updates) == pytest.approx(textbook, rel=1e-4)


def test_many_steps_follow_the_published_formula() -> None:
    gradients = np.array([1e-4, -3e-4, 2e-4, 5e-5, 1e-3])
    m = v = 0.0
    optimizer = scale_by_keras_adam(1e-5)
    state = optimizer.init(jnp.zeros(()))
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected = np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-5)
        update, state = optimizer.update(jnp.asarray(g, jnp.float32), state)
        assert float(update) == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("learning_rate", [1e-6, 3e-4, 1.0])
def test_weight_decay_is_one_factor_per_update_whatever_the_learning_rate(learning_rate: float) -> None:
    config = OptimizerConfig(learning_rate=learning_rate, weight_decay=1e-6)
    params = {"kernel": jnp.array([3.0, -2.0]), "bias": jnp.array([1.0])}
    learner, _ = apply_gradients(init_learner(params, config), jax.tree.map(jnp.zeros_like, params), config)
    ratio = np.concatenate([np.float64(learner.params[k]) / np.float64(params[k]) for k in params])
    np.testing.assert_allclose(1.0 - ratio, 1e-6, atol=6e-8)  # half a unit in the last place of float32


def test_decay_divides_the_step_size_by_one_plus_decay_times_updates() -> None:
    config = dataclasses.replace(PLAIN, decay=0.5, epsilon=0.0)
    learner, steps = init_learner(jnp.zeros(()), config), []
    for _ in range(3):
        following, _ = apply_gradients(learner, jnp.asarray(1.0), config)  # Adam moves by its step size
        steps.append(float(learner.params - following.params))
        learner = following
    np.testing.assert_allclose(steps, 3e-4 / np.array([1.0, 1.5, 2.0]), rtol=1e-3)


def test_400_000_updates_shrink_an_ungradiented_weight_by_0_6703() -> None:
    config = OptimizerConfig()

    def step(_: int, params: jax.Array) -> jax.Array:
        learner, _ = apply_gradients(init_learner(params, config), jnp.zeros_like(params), config)
        return learner.params

    weight = jax.jit(lambda: jax.lax.fori_loop(0, 400_000, step, jnp.ones(())))()
    assert float(weight) == pytest.approx(0.6703, abs=5e-4)


def test_decay_applies_to_the_weight_before_the_step() -> None:
    config = OptimizerConfig(learning_rate=0.5, weight_decay=0.1)
    learner, _ = apply_gradients(init_learner(jnp.ones(()), config), jnp.asarray(1e3), config)
    assert float(learner.params) == pytest.approx(0.9 * 1.0 - 0.5, rel=1e-3)


def test_a_global_norm_of_250_is_scaled_by_0_4() -> None:
    gradients = {"a": jnp.array([150.0]), "b": jnp.array([200.0])}
    clip = optax.clip_by_global_norm(OptimizerConfig().clip)
    clipped, _ = clip.update(gradients, clip.init(gradients))
    assert float(clipped["a"][0]) == pytest.approx(0.4 * 150.0, rel=1e-6)
    # The same inside our chain: the first moment is a tenth of the clipped gradient.
    _, state = make_optimizer(PLAIN).update(gradients, make_optimizer(PLAIN).init(gradients), gradients)
    moments = optax.tree.get(state, "mu")
    np.testing.assert_allclose([moments["a"][0], moments["b"][0]], [0.1 * 60.0, 0.1 * 80.0], rtol=1e-5)


def test_the_norm_reported_is_the_one_before_clipping() -> None:
    gradients = {"a": jnp.array([150.0]), "b": jnp.array([200.0])}
    _, metrics = apply_gradients(init_learner(gradients, PLAIN), gradients, PLAIN)
    assert float(metrics["grad_norm"]) == pytest.approx(250.0)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_bad_gradient_is_skipped_and_counted_and_nothing_else_changes(bad: float) -> None:
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])}
    good = {"a": jnp.array([0.1, 0.2]), "b": jnp.array([0.3])}
    learner, _ = apply_gradients(init_learner(params, PLAIN), good, PLAIN)
    after, _ = apply_gradients(learner, good | {"b": jnp.array([bad])}, PLAIN)
    assert int(after.skipped) == 1
    for old, new in zip(
        jax.tree.leaves(dataclasses.replace(learner, skipped=after.skipped)), jax.tree.leaves(after), strict=True
    ):
        np.testing.assert_array_equal(old, new)
    recovered, _ = apply_gradients(after, good, PLAIN)
    assert int(recovered.skipped) == 1
    assert float(recovered.params["b"][0]) < float(after.params["b"][0])


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_bad_loss_is_skipped_and_counted_though_its_gradient_is_finite(bad: float) -> None:
    learner, gradient = init_learner(jnp.array([1.0]), PLAIN), jnp.array([0.1])
    after, _ = apply_gradients(learner, gradient, PLAIN, jnp.asarray(bad))
    assert (int(after.skipped), float(after.params[0])) == (1, 1.0)
    assert float(apply_gradients(learner, gradient, PLAIN, jnp.asarray(3.0))[0].params[0]) < 1.0


def test_gradients_of_another_structure_are_refused() -> None:
    with pytest.raises(AssertionError):
        apply_gradients(init_learner({"a": jnp.ones(1)}, PLAIN), {"b": jnp.ones(1)}, PLAIN)
