"""Comparing actions by what they lead to, against worked values and a control."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.distributions import OneHot, TruncatedNormal
from peg_jax.core.types import Array, Key
from peg_jax.peg import lookahead
from peg_jax.peg.imagination import PolicyFn

STATES = jnp.linspace(-1.0, 1.0, 64)[:, None]


def policy(feature: Array) -> TruncatedNormal:
    return TruncatedNormal(0.5 * feature, jnp.full_like(feature, 0.2))


def move(feature: Array, action: Array, key: Key) -> Array:
    return feature + 0.1 * action


def test_weights_are_a_softmax_of_standardised_values() -> None:
    """Values 0, 1, 2 have mean 1 and deviation sqrt(2/3); at temperature 1 the logits are 0 and +-1.2247."""
    weights = lookahead.action_weights(jnp.array([0.0, 1.0, 2.0]), 1.0)
    expected = np.exp([-1.22474487, 0.0, 1.22474487])
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-4)


def test_weights_ignore_scale_and_offset_of_each_states_values_and_sharpen_as_it_cools() -> None:
    values = jax.random.normal(jax.random.key(0), (8, 5))
    weights = lookahead.action_weights(values, 0.3)
    scaled = lookahead.action_weights(values * jnp.array([1.0, 10.0, 0.1, 3.0, 7.0]) - jnp.arange(5.0), 0.3)
    np.testing.assert_allclose(weights, scaled, rtol=1e-3)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, rtol=1e-6)
    colder = lookahead.action_weights(values, 0.05)
    assert (colder.max(axis=0) > weights.max(axis=0)).all()
    assert (colder.argmax(axis=0) == values.argmax(axis=0)).all()


def test_equal_values_give_equal_weights() -> None:
    np.testing.assert_allclose(lookahead.action_weights(jnp.full((4, 3), 7.0), 0.3), 0.25, rtol=1e-6)


def test_half_of_the_tries_are_the_policys_and_half_are_uniform() -> None:
    actions = np.asarray(lookahead.propose(policy, jnp.ones((2000, 1)), jax.random.key(0), 5))[..., 0]
    assert actions.shape == (5, 2000)
    own, uniform = actions[:2], actions[2:]
    expected = float(policy(jnp.ones((1, 1))).mean()[0, 0])
    np.testing.assert_allclose(own.mean(axis=1), expected, atol=5 * 0.2 / 2000**0.5)
    np.testing.assert_allclose(uniform.mean(axis=1), 0.0, atol=5 * 0.58 / 2000**0.5)
    np.testing.assert_allclose(uniform.std(axis=1), 3**-0.5, atol=0.05)
    assert len(set(actions[:, 0].tolist())) == 5


def test_the_best_of_the_tries_is_taken_and_the_mode_where_it_is_best() -> None:
    """Towards 0 a move of at most 0.1: the further it is, the larger the best action."""

    def value(feature: Array) -> Array:
        return -jnp.abs(feature[..., 0])

    best = lookahead.best_action(policy, value, move, STATES, jax.random.key(0), 16)
    assert float(value(STATES + 0.1 * best).mean()) > float(value(STATES + 0.1 * policy(STATES).mode()).mean()) + 0.05
    mode = policy(STATES).mode()
    np.testing.assert_array_equal(
        lookahead.best_action(
            policy, lambda x: -jnp.abs(x - STATES - 0.1 * mode)[..., 0], move, STATES, jax.random.key(0), 4
        ),
        mode,
    )


def test_discrete_tries_are_one_hot_and_cover_what_the_policy_never_does() -> None:
    logits = jnp.broadcast_to(jnp.array([20.0, 0.0, 0.0]), (500, 3))
    actions = np.asarray(lookahead.propose(lambda feature: OneHot(logits), jnp.zeros((500, 1)), jax.random.key(0), 4))
    np.testing.assert_allclose(np.sort(actions, axis=-1), np.broadcast_to([0.0, 0.0, 1.0], actions.shape), atol=1e-6)
    assert (actions[:2, :, 0] > 0.5).all()
    np.testing.assert_allclose(actions[2:].mean(axis=(0, 1)), 1 / 3, atol=0.08)


def test_weights_follow_the_value_of_the_state_after_the_action() -> None:
    actions, weights = lookahead.try_actions(
        policy, lambda feature: feature[..., 0], move, STATES, jax.random.key(0), 16, 0.3
    )
    assert actions.shape == (16, 64, 1) and weights.shape == (16, 64)
    assert (weights.argmax(axis=0) == actions[..., 0].argmax(axis=0)).all()


def test_tries_carry_no_gradient() -> None:
    def total(shift: Array) -> Array:
        tries = lookahead.try_actions(
            lambda f: policy(f + shift), lambda f: f[..., 0] * shift, move, STATES, jax.random.key(0), 4, 0.3
        )
        return sum(jnp.sum(x**2) for x in tries)

    assert float(jax.grad(total)(jnp.ones(()))) == 0.0


@pytest.mark.parametrize(("sign", "learns"), [(1.0, True), (-1.0, False)])
def test_imitating_the_better_actions_finds_the_one_that_no_gradient_shows(sign: float, learns: bool) -> None:
    """A value with a single step: 1 where the action exceeds 0.6, else 0. Its gradient is 0 almost everywhere.

    Control: the value with its sign turned.
    """

    def value(feature: Array) -> Array:
        return sign * (feature[..., 0] > 0.6).astype(jnp.float32)

    def of(params: Array) -> PolicyFn:
        return lambda feature: TruncatedNormal(jnp.tanh(params[0]) + 0 * feature, jnp.exp(params[1]) + 0 * feature)

    def step(params: Array, key: Key) -> tuple[Array, None]:
        feature = jnp.zeros((64, 1))
        tries = lookahead.try_actions(of(params), value, lambda f, a, k: f + a, feature, key, 8, 0.3)
        gradient = jax.grad(lambda p: lookahead.imitation_loss(of(p), feature, *tries, 1e-2))(params)
        return params - 0.05 * gradient, None

    params, _ = jax.lax.scan(step, jnp.array([0.0, -0.5]), jax.random.split(jax.random.key(0), 300))
    assert (float(jnp.tanh(params[0])) > 0.6) == learns


def test_entropy_widens_the_policy() -> None:
    tries = jnp.zeros((4, 64, 1)), jnp.full((4, 64), 0.25)

    def loss(log_scale: Array, entropy: float) -> Array:
        def of(feature: Array) -> TruncatedNormal:
            return TruncatedNormal(0 * feature, jnp.exp(log_scale) + 0 * feature)

        return lookahead.imitation_loss(of, STATES, *tries, entropy)

    gradients = [float(jax.grad(loss)(jnp.log(0.2), entropy)) for entropy in (0.0, 2.0)]
    assert gradients[0] > 0 > gradients[1]
