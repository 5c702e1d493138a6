"""Latent dynamics (conformance tests 4, 6, 20, 23; trap T1)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.nets import fourier_features
from peg_jax.core.types import Array
from peg_jax.peg import rssm
from peg_jax.peg.config import WorldModelConfig
from peg_jax.peg.rssm import RSSM, Latent

GAUSSIAN = WorldModelConfig(deter=5, stoch=3, hidden=6, units=4)
CATEGORICAL = WorldModelConfig(deter=5, stoch=3, classes=4, hidden=6, units=4)
PUBLISHED = WorldModelConfig(kl_free=1.0, kl_balance=0.8)


def stats(mean: list[float], std: list[float]) -> rssm.Stats:
    return {"mean": jnp.array(mean)[None, None], "std": jnp.array(std)[None, None]}


POST, PRIOR = stats([0.0, 1.0], [1.0, 0.5]), stats([0.5, -1.0], [1.1, 1.0])


def kl_gradients(post: rssm.Stats, prior: rssm.Stats) -> tuple[Array, Array, Array]:
    def loss(post_mean: Array, prior_mean: Array) -> Array:
        return rssm.kl_loss(post | {"mean": post_mean}, prior | {"mean": prior_mean}, PUBLISHED)[0]

    value, (to_post, to_prior) = jax.value_and_grad(loss, argnums=(0, 1))(post["mean"], prior["mean"])
    return value, to_post[0, 0], to_prior[0, 0]


def test_kl_loss_and_its_balanced_gradients() -> None:
    value, to_post, to_prior = kl_gradients(POST, PRIOR)
    assert float(value) == pytest.approx(2.42998629, rel=1e-6)
    np.testing.assert_allclose(to_post, [-0.08264463, 0.4], rtol=1e-5)
    np.testing.assert_allclose(to_prior, [0.33057851, -1.6], rtol=1e-5)


def test_below_the_free_nats_the_loss_is_one_and_nothing_moves() -> None:
    first_dim = [{k: v[..., :1] for k, v in s.items()} for s in (POST, PRIOR)]
    assert float(rssm.kl_loss(*first_dim, PUBLISHED)[1]) == pytest.approx(0.11183911, rel=1e-6)
    value, to_post, to_prior = kl_gradients(*first_dim)
    assert float(value) == 1.0
    assert not to_post.any()
    assert not to_prior.any()


@pytest.mark.parametrize(("average", "expected"), [(True, 1.2), (False, 1.6)])
def test_free_nats_apply_to_the_average_or_to_each_element(average: bool, expected: float) -> None:
    mean = jnp.sqrt(2.0 * jnp.array([0.2, 2.2]))[
        None, :, None
    ]  # KL between unit Gaussians is half the squared distance
    post, prior = {"mean": mean, "std": jnp.ones_like(mean)}, {"mean": 0 * mean, "std": jnp.ones_like(mean)}
    loss, mean_kl = rssm.kl_loss(post, prior, WorldModelConfig(kl_free_average=average))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(mean_kl) == pytest.approx(1.2, rel=1e-5)


def test_gru_gates() -> None:
    updated = rssm.gated_update(jnp.array([0.26702293, -1.33511467, 1.06809174]), jnp.array([0.5]))
    assert float(updated[0]) == pytest.approx(-0.08878258, rel=1e-5)


def test_gru_step_normalises_the_whole_pre_activation_with_epsilon_1e_3() -> None:
    """Zero kernels leave the linear layer's bias as the pre-activation: the worked example runs through the module."""
    module = RSSM(WorldModelConfig(deter=1, stoch=1, hidden=1, units=1), embed_size=1, action_size=1)
    params = module.init(jax.random.key(0), method=RSSM.initialise)["params"]
    gru = {"kernel": jnp.zeros_like(params["gru"]["kernel"]), "bias": jnp.array([0.2, -1.0, 0.8])}
    latent = Latent(stoch=jnp.ones(1), deter=jnp.array([0.5]))
    following = module.apply({"params": params | {"gru": gru}}, latent, jnp.ones(1), method=RSSM.advance)
    assert float(following[0]) == pytest.approx(-0.08878258, rel=1e-5)


@pytest.fixture(scope="module", params=[GAUSSIAN, CATEGORICAL], ids=["gaussian", "categorical"])
def model(request: pytest.FixtureRequest) -> tuple[RSSM, dict]:
    module = RSSM(request.param, embed_size=4, action_size=2)
    return module, jax.jit(lambda key: module.init(key, method=RSSM.initialise))(jax.random.key(0))


def random_latent(config: WorldModelConfig, key: Array, batch: int) -> Latent:
    zero = rssm.zero_latent(config, (batch,))
    return jax.tree.map(lambda x: 3.0 * jax.random.normal(key, x.shape), zero)


def test_a_first_record_forgets_any_previous_state_and_action(model: tuple[RSSM, dict]) -> None:
    """Per element: with a batch of 4 and one first record, that one alone equals a fresh start (trap T1)."""
    module, params = model
    step = jax.jit(lambda *args: rssm.observe_step(module, params, *args, jax.random.key(2)))
    embed = jax.random.normal(jax.random.key(1), (4, 4))
    is_first = jnp.array([False, True, False, False])
    fresh, fresh_stats = step(rssm.zero_latent(module.config, (4,)), jnp.zeros((4, 2)), embed, is_first)
    for seed in (3, 4):
        carried = random_latent(module.config, jax.random.key(seed), 4)
        latent, latent_stats = step(carried, jax.random.normal(jax.random.key(seed), (4, 2)), embed, is_first)
        for ours, theirs in zip(
            jax.tree.leaves((latent, latent_stats)), jax.tree.leaves((fresh, fresh_stats)), strict=True
        ):
            np.testing.assert_array_equal(ours[1], theirs[1])
        assert bool((latent.deter[0] != fresh.deter[0]).any())  # the others do remember


def test_a_sequence_starts_as_a_first_record_and_then_carries_its_state(model: tuple[RSSM, dict]) -> None:
    module, params = model
    embeds = jax.random.normal(jax.random.key(1), (3, 2, 4))
    actions = jax.random.normal(jax.random.key(2), (3, 2, 2))
    observe = jax.jit(lambda a: rssm.observe(module, params, embeds, a, jax.random.key(3)))
    latents, posterior, prior = observe(actions)
    changed_first, _, _ = observe(actions.at[0].set(9.0))
    changed_second, _, _ = observe(actions.at[1].set(9.0))
    np.testing.assert_array_equal(latents.feature, changed_first.feature)  # the action before the cut is not read
    np.testing.assert_array_equal(latents.feature[0], changed_second.feature[0])
    assert bool((latents.deter[1] != changed_second.deter[1]).all(axis=-1).all())
    assert jax.tree.map(jnp.shape, posterior) == jax.tree.map(jnp.shape, prior)


def test_the_prior_does_not_see_the_observation_of_its_own_time(model: tuple[RSSM, dict]) -> None:
    module, params = model
    actions = jax.random.normal(jax.random.key(2), (3, 2, 2))
    embeds = jax.random.normal(jax.random.key(1), (3, 2, 4))
    observe = jax.jit(lambda e: rssm.observe(module, params, e, actions, jax.random.key(3)))
    (_, post, prior), (_, post_other, prior_other) = observe(embeds), observe(embeds.at[1].set(5.0))
    for a, b in zip(jax.tree.leaves(prior), jax.tree.leaves(prior_other), strict=True):
        np.testing.assert_array_equal(a[:2], b[:2])
        assert bool((a[2] != b[2]).any())
    assert bool(jnp.any(jax.tree.leaves(post)[0][1] != jax.tree.leaves(post_other)[0][1]))


def test_categorical_samples_are_one_of_each_categorical_in_batches() -> None:
    """Losses and gradients with them are looked at in test_discrete.py."""
    logits = jax.random.normal(jax.random.key(0), (3, 5, 3, 4))
    sample = rssm.sample_stoch({"logits": logits}, jax.random.key(1))
    assert sample.shape == (3, 5, 12)
    np.testing.assert_allclose(jnp.sort(sample.reshape(logits.shape))[..., :3], 0.0, atol=1e-6)
    np.testing.assert_allclose(jnp.sort(sample.reshape(logits.shape))[..., 3], 1.0, atol=1e-6)


def test_features_hold_the_stochastic_part_first() -> None:
    latent = Latent(stoch=jnp.ones(2), deter=jnp.zeros(3))
    np.testing.assert_array_equal(latent.feature, [1.0, 1.0, 0.0, 0.0, 0.0])


def test_gaussian_entropy() -> None:
    value = rssm.entropy({"mean": jnp.zeros(2), "std": jnp.array([1.0, 2.0])})
    assert float(value) == pytest.approx(2 * 1.4189385 + np.log(2.0), rel=1e-6)


# --- what is imagined ---


@pytest.mark.parametrize("config", [GAUSSIAN, CATEGORICAL])
def test_without_sampling_a_step_goes_on_with_the_priors_mean(config: WorldModelConfig) -> None:
    net = RSSM(config, embed_size=4, action_size=2)
    params = net.init(jax.random.key(0), method=RSSM.initialise)
    latent = jax.tree.map(lambda x: x + 0.3, rssm.zero_latent(config, (2000,)))
    action = jnp.full((2000, 2), 0.5)
    mean = rssm.imagine_step(net, params, latent, action, jax.random.key(1), sample=False)
    np.testing.assert_array_equal(mean.stoch, jnp.broadcast_to(mean.stoch[0], mean.stoch.shape))
    sampled = rssm.imagine_step(net, params, latent, action, jax.random.key(1))
    np.testing.assert_array_equal(sampled.deter, mean.deter)
    assert float(sampled.stoch.std(axis=0).min()) > 0.1
    np.testing.assert_allclose(sampled.stoch.mean(axis=0), mean.stoch[0], atol=5 * 1.1 / 2000**0.5)


def test_with_sines_the_same_action_does_different_things_in_different_memories() -> None:
    """The gates see products of state and action; the published input layer does not read the memory at all."""

    def effect(sine_scale: float) -> Array:
        config = WorldModelConfig(deter=5, stoch=3, hidden=6, units=4, sine_scale=sine_scale)
        net = RSSM(config, embed_size=4, action_size=2)
        params = net.init(jax.random.key(0), method=RSSM.initialise)
        captured = net.apply(
            params,
            Latent(jnp.ones((2, 3)), jnp.array([[0.5] * 5, [-0.5] * 5])),
            jnp.ones((2, 2)),
            method=RSSM.advance,
            capture_intermediates=lambda module, _: module.name in ("input_net", "input_layer"),
            mutable=["intermediates"],
        )[1]
        (layer,) = captured["intermediates"].values()
        x = layer["__call__"][0]
        return jnp.abs(x[0] - x[1]).max()

    assert float(effect(0.0)) == 0.0
    assert float(effect(6.0)) > 0.01


def test_a_residual_prior_predicts_the_change_of_the_state() -> None:
    """In the filter as in dreams: each prior starts from the state sampled a step earlier, the first from zero."""
    plain = RSSM(GAUSSIAN, embed_size=4, action_size=2)
    residual = RSSM(dataclasses.replace(GAUSSIAN, residual=True), embed_size=4, action_size=2)
    params = plain.init(jax.random.key(0), method=RSSM.initialise)
    embeds, actions = (jax.random.normal(jax.random.key(i), (3, 2, size)) for i, size in ((1, 4), (2, 2)))
    latents, _, change = rssm.observe(plain, params, embeds, actions, jax.random.key(3))
    same, _, prior = rssm.observe(residual, params, embeds, actions, jax.random.key(3))
    np.testing.assert_array_equal(latents.feature, same.feature)
    np.testing.assert_allclose(prior["mean"][0], change["mean"][0], atol=1e-6)
    np.testing.assert_allclose(prior["mean"][1:], latents.stoch[:-1] + change["mean"][1:], atol=1e-6)
    second = jax.tree.map(lambda x: x[1], latents)
    dreamt = rssm.imagine_step(residual, params, second, actions[2], jax.random.key(4), sample=False)
    np.testing.assert_allclose(dreamt.stoch, prior["mean"][2], atol=1e-6)


def test_grounded_entries_are_the_observation_and_bring_the_waves_of_what_is_imagined() -> None:
    config = dataclasses.replace(GAUSSIAN, grounded=2, octaves=3, period=8.0, residual=True)
    net = RSSM(config, embed_size=6, action_size=2)
    params = net.init(jax.random.key(0), method=RSSM.initialise)
    embeds = jax.random.normal(jax.random.key(1), (3, 4, 6))
    actions = jax.random.normal(jax.random.key(2), (3, 4, 2))
    latents, posterior, prior = rssm.observe(net, params, embeds, actions, jax.random.key(3))
    np.testing.assert_array_equal(posterior["mean"][..., :2], embeds[..., -2:])
    assert prior["mean"].shape == posterior["mean"].shape == (3, 4, 5)
    dreamt = rssm.imagine_step(net, params, jax.tree.map(lambda x: x[-1], latents), actions[0], jax.random.key(4))
    assert dreamt.stoch.shape[-1] == rssm.stoch_size(config) == 5 + 2 * 2 * 3
    waves = fourier_features(dreamt.stoch[:, :2], 3, 8.0)[:, 2:]
    np.testing.assert_array_equal(dreamt.stoch[:, 5:], waves)
