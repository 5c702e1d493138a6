"""Multi-layer perceptrons and the score that keeps only its input gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from peg_jax.core import nets
from peg_jax.core.nets import MLP, GoalMLP, elu, fourier_features, init_ensemble, score_with_gradient

init_mlp = jax.jit(nets.init_mlp, static_argnums=0)  # faster to compile as one program

POINTS = jnp.array([-30.0, -3.0, -1.0, -1e-3, -0.0, 0.0, 1e-3, 1.0, 40.0, 200.0])


def test_elu_has_the_values_and_gradients_of_jax() -> None:
    np.testing.assert_allclose(elu(POINTS), jax.nn.elu(POINTS), rtol=1e-5, atol=1e-7)
    ours, theirs = jax.vmap(jax.grad(elu))(POINTS), jax.vmap(jax.grad(jax.nn.elu))(POINTS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_hidden_layers_are_elu_and_the_output_is_linear() -> None:
    net = MLP(inputs=3, layers=2, units=4, outputs=2)
    params = init_mlp(net, jax.random.key(0))
    p, x = params["params"], jnp.array([0.5, -1.0, 2.0])
    for layer in ("hidden_0", "hidden_1"):
        x = nn.elu(x @ p[layer]["kernel"] + p[layer]["bias"])
    expected = x @ p["out"]["kernel"] + p["out"]["bias"]
    np.testing.assert_allclose(net.apply(params, jnp.array([0.5, -1.0, 2.0])), expected, rtol=1e-5)


def test_without_outputs_the_last_layer_is_activated() -> None:
    net = MLP(inputs=3, layers=2, units=64)
    y = net.apply(init_mlp(net, jax.random.key(0)), 5.0 * jnp.ones((8, 3)))
    assert y.shape == (8, 64)
    assert float(y.min()) >= -1.0
    assert bool((y < 0).any())


def test_context_equals_a_dense_layer_on_the_concatenation() -> None:
    net = MLP(inputs=3, layers=2, units=5, outputs=1, context=4)
    params = init_mlp(net, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (6, 3))
    context = jax.random.normal(jax.random.key(2), (6, 4))
    ours = net.apply(params, x, net.apply(params, context, method=MLP.embed_context))

    p = dict(params["params"])
    kernel = jnp.concatenate([p["hidden_0"]["kernel"], p.pop("hidden_context")["kernel"]])
    plain = MLP(inputs=7, layers=2, units=5, outputs=1)
    joined = {"params": p | {"hidden_0": {"kernel": kernel, "bias": p["hidden_0"]["bias"]}}}
    np.testing.assert_allclose(ours, plain.apply(joined, jnp.concatenate([x, context], axis=-1)), rtol=1e-5, atol=1e-6)


def test_kernels_are_glorot_uniform_of_the_whole_fan_in_and_biases_zero() -> None:
    net = MLP(inputs=100, layers=2, units=200, outputs=50, context=300)
    p = init_mlp(net, jax.random.key(0))["params"]
    limits = {"hidden_0": 600, "hidden_context": 600, "hidden_1": 400, "out": 250}
    for layer, fans in limits.items():
        limit, kernel = (6.0 / fans) ** 0.5, p[layer]["kernel"]
        assert 0.98 * limit < float(jnp.abs(kernel).max()) <= limit
        assert float(kernel.std()) == pytest.approx(limit / 3**0.5, rel=0.03)
        assert not p[layer].get("bias", jnp.zeros(1)).any()


def test_ensemble_members_differ_and_have_a_leading_axis() -> None:
    kernel = init_ensemble(MLP(2, 1, 3, 1), jax.random.key(0), 4)["params"]["hidden_0"]["kernel"]
    assert kernel.shape == (4, 2, 3)
    assert len(np.unique(np.asarray(kernel)[:, 0, 0])) == 4


def test_bfloat16_networks_keep_float32_parameters_and_outputs() -> None:
    net = MLP(2, 1, 3, 1, dtype=jnp.bfloat16)
    params = init_mlp(net, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    assert net.apply(params, jnp.ones(2)).dtype == jnp.float32


def test_score_with_gradient_has_value_and_gradient_of_the_score() -> None:
    x = jax.random.normal(jax.random.key(0), (5, 3))
    weight = jnp.arange(5.0)

    def score(rows: jax.Array) -> jax.Array:
        return jnp.sin(rows).prod(axis=-1) + rows[:, 0] ** 3

    np.testing.assert_allclose(score_with_gradient(score, x), score(x), rtol=1e-6)
    ours = jax.grad(lambda x: weight @ score_with_gradient(score, x))(x)
    np.testing.assert_allclose(ours, jax.grad(lambda x: weight @ score(x))(x), rtol=1e-5)


def test_score_with_gradient_gives_its_parameters_none() -> None:
    x = jnp.ones((2, 3))
    gradient = jax.grad(lambda scale: score_with_gradient(lambda r: scale * r.sum(-1), x).sum())(2.0)
    assert float(gradient) == 0.0


def goal_net() -> GoalMLP:
    return GoalMLP(inputs=2, layers=2, units=32, outputs=1, context=2, sine_scale=6.0)


def test_a_goal_network_is_the_product_of_two_towers() -> None:
    net = goal_net()
    params = init_mlp(net, jax.random.key(0))
    x, goal = jax.random.normal(jax.random.key(1), (2, 5, 2))
    layers = params["params"]

    def dense(name: str, y: jax.Array) -> jax.Array:
        return y @ layers[name]["kernel"] + layers[name]["bias"]

    def tower(name: str, y: jax.Array) -> jax.Array:
        z = dense(f"{name}_0", y)
        return dense(f"{name}_1", jnp.concatenate([jax.nn.elu(z), jnp.sin(6.0 * z)], axis=-1))

    product = jax.nn.elu(tower("state_tower", x)) * tower("goal_tower", goal)
    expected = dense("out", jax.nn.elu(dense("joint", product)))
    ours = net.apply(params, x, net.apply(params, goal, method="embed_context"))
    np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=1e-5)


def test_a_goal_network_learns_a_relation_of_state_and_goal_that_a_plain_one_does_not() -> None:
    """Whether both lie on the same side of both of two walls, as +1 or -1; the control is as wide and as deep."""

    def target(x: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.prod(jnp.sign(x * goal), axis=-1)

    def error(net: MLP | GoalMLP) -> float:
        optimizer = optax.adam(3e-3)

        def loss(params: dict, key: jax.Array) -> jax.Array:
            x, goal = jax.random.uniform(key, (2, 256, 2), minval=-1.0, maxval=1.0)
            predicted = net.apply(params, x, net.apply(params, goal, method="embed_context"))[..., 0]
            return jnp.mean((predicted - target(x, goal)) ** 2)

        def step(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
            params, opt_state = carry
            value, grads = jax.value_and_grad(loss)(params, key)
            updates, opt_state = optimizer.update(grads, opt_state)
            return (optax.apply_updates(params, updates), opt_state), value

        params = init_mlp(net, jax.random.key(0))
        keys = jax.random.split(jax.random.key(1), 600)
        _, losses = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))((params, optimizer.init(params)))
        return float(losses[-50:].mean())

    plain = MLP(inputs=2, layers=3, units=32, outputs=1, context=2)
    assert error(goal_net()) < 0.5 * error(plain)


def test_without_octaves_a_vector_stays_as_it_is() -> None:
    x = jnp.array([[0.3, -4.0]])
    np.testing.assert_array_equal(fourier_features(x, 0, 32.0), x)


def test_octaves_add_sines_and_cosines_of_halved_periods() -> None:
    waves = np.asarray(fourier_features(jnp.array([2.0]), 2, 8.0))
    angles = np.array([np.pi / 2, np.pi])  # a quarter of 8, half of 4
    np.testing.assert_allclose(waves, [2.0, *np.sin(angles), *np.cos(angles)], atol=1e-6)
