"""World-model loss: floors, metrics and who gets gradient (peg.md 1.4 and 1.5)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array
from peg_jax.peg import world_model
from peg_jax.peg.config import AgentConfig
from peg_jax.peg.networks import Networks, make_networks
from peg_jax.peg.rssm import GROUNDED_SHARE
from tests.peg import tiny

CONFIG = tiny.agent_config()
LOG_SQRT_2PI = 0.9189385


@pytest.fixture(scope="module")
def nets() -> Networks:
    return make_networks(CONFIG, tiny.spec())


@pytest.fixture(scope="module")
def params(nets: Networks) -> dict:
    return jax.jit(lambda key: world_model.init(nets, key))(jax.random.key(0))


@pytest.fixture(scope="module")
def loss_and_gradients(nets: Networks, params: dict) -> tuple[Array, dict, dict, dict]:
    """The loss, its metrics, its whole gradient, and the gradient of its embedding part alone."""
    batch = tiny.random_batch(jax.random.key(1))

    def total(params: dict) -> tuple[Array, dict]:
        value, (metrics, _) = world_model.loss(params, nets, batch, jax.random.key(2), CONFIG.world_model)
        return value, metrics

    @jax.jit
    def both(params: dict) -> tuple:
        (value, metrics), gradient = jax.value_and_grad(total, has_aux=True)(params)
        return value, metrics, gradient, jax.grad(lambda p: total(p)[1]["embed_loss"])(params)

    return both(params)


def test_the_loss_is_kl_plus_reconstruction_plus_embedding(loss_and_gradients: tuple) -> None:
    value, metrics, _, _ = loss_and_gradients
    parts = metrics["kl_loss"] + metrics["observation_loss"] + metrics["embed_loss"]
    assert float(value) == pytest.approx(float(parts), rel=1e-6)
    assert float(value) == pytest.approx(float(metrics["model_loss"]), rel=1e-6)


def test_losses_respect_their_floors(loss_and_gradients: tuple) -> None:
    _, metrics, _, _ = loss_and_gradients
    assert float(metrics["kl_loss"]) >= 1.0
    assert float(metrics["observation_loss"]) > 2 * LOG_SQRT_2PI
    assert float(metrics["embed_loss"]) > 6 * LOG_SQRT_2PI


def test_the_embed_head_sends_no_gradient_into_the_model(loss_and_gradients: tuple) -> None:
    *_, embed_gradient = loss_and_gradients
    moved = {part: any(bool(x.any()) for x in jax.tree.leaves(g)) for part, g in embed_gradient.items()}
    assert moved == {"encoder": False, "rssm": False, "decoder": False, "embed_head": True}


def test_every_parameter_gets_a_gradient(loss_and_gradients: tuple) -> None:
    _, _, gradient, _ = loss_and_gradients
    still = [jax.tree_util.keystr(path) for path, g in jax.tree.leaves_with_path(gradient) if not g.any()]
    # Random data lie below one free nat of KL, where the prior is not trained.
    assert all("prior" in path for path in still), still


@pytest.mark.parametrize(("std", "expected"), [(1.0, 1.8379), (0.1, 1.8379 + 2 * -2.302585)])
def test_perfect_reconstruction_costs_the_gaussian_constant(std: float, expected: float) -> None:
    x = jnp.array([0.3, -4.0])
    assert float(-world_model.observation_log_prob(x, x, std)) == pytest.approx(expected, abs=6e-5)


def test_defaults_are_the_published_ones() -> None:
    model = AgentConfig().world_model
    assert (model.deter, model.stoch, model.hidden, model.units) == (200, 50, 200, 400)
    assert (model.kl_free, model.kl_balance, model.kl_scale, model.optimizer.learning_rate) == (1.0, 0.8, 1.0, 3e-4)


def test_grounded_latents_need_no_heads_and_decode_to_the_observation() -> None:
    config = tiny.replace(tiny.agent_config(), "world_model.grounded", tiny.SIZE)
    nets, batch = make_networks(config, tiny.spec()), tiny.random_batch(jax.random.key(1))
    params = world_model.init(nets, jax.random.key(0))
    assert params.keys() == {"encoder", "rssm"}
    _, (metrics, inference) = world_model.loss(params, nets, batch, jax.random.key(2), config.world_model)
    assert float(metrics["model_loss"]) == pytest.approx(float(metrics["kl_loss"]))
    decoded = world_model.decode(nets, params, inference.latents.feature)
    deviation = config.world_model.min_std * GROUNDED_SHARE
    assert 0.5 * deviation < float(jnp.std(decoded - batch.obs)) < 1.5 * deviation
    embeds = world_model.predict_embed(nets, params, inference.latents.feature)
    np.testing.assert_allclose(embeds, world_model.encode(nets, params, decoded), rtol=1e-5)
