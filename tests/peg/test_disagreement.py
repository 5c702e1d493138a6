"""Plan2Explore's ensemble (conformance tests 8 and 10; trap T4)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core import nets
from peg_jax.core.nets import MLP, GoalMLP
from peg_jax.peg import disagreement
from peg_jax.peg.config import DisagreementConfig
from peg_jax.peg.rssm import Latent

init_ensemble = jax.jit(nets.init_ensemble, static_argnums=(0, 2))  # faster to compile as one program
PREDICTIONS = jnp.array([[1.0, 2.0, 0.0], [3.0, 2.0, 1.0], [2.0, 2.0, 5.0]])


def test_reward_is_the_population_deviation_averaged_over_dimensions() -> None:
    config = DisagreementConfig()
    np.testing.assert_allclose(PREDICTIONS.std(axis=0), [0.81649658, 0.0, 2.1602469], atol=1e-6)
    assert float(disagreement.intrinsic_reward(PREDICTIONS, config)) == pytest.approx(0.99224783, rel=1e-6)


def test_log_and_scale() -> None:
    logged = disagreement.intrinsic_reward(PREDICTIONS, DisagreementConfig(log=True, scale=3.0))
    assert float(logged) == pytest.approx(3.0 * np.log(0.99224783), rel=1e-4)


NET = MLP(inputs=5, layers=1, units=4, outputs=3)


def test_identical_networks_do_not_disagree_and_different_ones_do() -> None:
    params = init_ensemble(NET, jax.random.key(0), 4)
    inputs = jax.random.normal(jax.random.key(1), (6, 5))
    config = DisagreementConfig(members=4)
    assert bool((disagreement.reward(NET, params, inputs, config) > 0).all())
    same = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), params)
    np.testing.assert_allclose(disagreement.reward(NET, same, inputs, config), 0.0, atol=1e-7)


def test_loss_floor_of_ten_perfect_networks_is_459_469() -> None:
    net = MLP(inputs=5, layers=1, units=4, outputs=50)
    shapes = jax.eval_shape(lambda key: init_ensemble(net, key, 10), jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
    loss = disagreement.loss(params, net, jnp.ones((49, 5)), jnp.zeros((49, 50)))
    assert float(loss) == pytest.approx(459.4693, rel=1e-6)


@pytest.mark.parametrize(("condition", "offset"), [("previous_action", 0), ("next_action", 1)])
def test_inputs_pair_a_feature_with_the_named_action_and_the_target_is_the_next_latent(
    condition: str, offset: int
) -> None:
    length, batch = 5, 2
    times = jnp.broadcast_to(jnp.arange(float(length))[:, None, None], (length, batch, 1))
    latents = Latent(stoch=jnp.concatenate([times, -times], axis=-1), deter=times + 100.0)
    config = DisagreementConfig(condition=condition)  # type: ignore[arg-type]
    inputs, targets = disagreement.training_data(latents, times + 1000.0, 1, config)
    assert inputs.shape == ((length - 1) * batch, 4)
    at = jnp.repeat(jnp.arange(4.0), batch)
    np.testing.assert_array_equal(inputs, jnp.stack([at, -at, at + 100, at + offset + 1000], axis=-1))
    np.testing.assert_array_equal(targets, at[:, None] + 1)


def test_members_that_multiply_state_and_action_read_both() -> None:
    config = DisagreementConfig(members=4)
    net = GoalMLP(inputs=3, layers=2, units=8, outputs=3, context=2, sine_scale=6.0)
    params = init_ensemble(net, jax.random.key(0), 4)
    inputs = jax.random.normal(jax.random.key(1), (6, 5))
    predictions = disagreement.predict(net, params, inputs)
    assert predictions.shape == (4, 6, 3)
    one = jax.tree.map(lambda x: x[2], params)
    by_hand = net.apply(one, inputs[:, :3], net.apply(one, inputs[:, 3:], method="embed_context"))
    np.testing.assert_allclose(predictions[2], by_hand, rtol=1e-5)
    for column in (0, 4):
        moved = disagreement.reward(net, params, inputs.at[:, column].add(0.5), config)
        assert bool((moved != disagreement.reward(net, params, inputs, config)).all())
