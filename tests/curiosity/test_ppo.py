"""PPO's parts; numbers of episodic_curiosity.md section 9, points 10 to 12 and 14."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.curiosity import networks, ppo
from peg_jax.curiosity.config import NetworkConfig, PPOConfig
from peg_jax.curiosity.methods import METHODS

REWARD, VALUE = jnp.array([1.0, 0, 0, 2]), jnp.array([0.5, 0.4, 0.3, 0.2])


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ([0, 0, 0, 0], [2.28870268, 1.48081093, 1.6840095, 1.899]),
        ([0, 1, 0, 0], [0.5198, -0.4, 1.6840095, 1.899]),
    ],
)
def test_advantages(done: list[int], expected: list[float]) -> None:
    advantage = ppo.advantages(REWARD, VALUE, jnp.array(done, bool), jnp.array(0.1), 0.99, 0.95)
    np.testing.assert_allclose(advantage, expected, rtol=1e-6)
    if any(done):
        normalized = [-0.43740461, -1.42859062, 0.81715962, 1.04883561]
        np.testing.assert_allclose(ppo.normalize(advantage), normalized, rtol=1e-5)
        np.testing.assert_allclose(advantage + VALUE, [1.0198, 0, 1.9840095, 2.099], atol=1e-6)


def test_losses() -> None:
    sample = ppo.policy_loss(jnp.array([1.3, 0.7, 1.05]), jnp.array([1.0, -1.0, 0.5]), 0.1)
    np.testing.assert_allclose(sample, [-1.1, 0.9, -0.525], rtol=1e-6)
    assert float(sample.mean()) == pytest.approx(-0.2416666667)
    loss = ppo.value_loss(jnp.array([1.0, 0.2]), jnp.array([0.5, 0.5]), jnp.array([1.2, 0.0]), 0.1)
    assert float(loss) == pytest.approx(0.13)


def test_schedule() -> None:
    config = PPOConfig()
    total = ppo.num_updates(config, 20_000_000)
    assert total == 7161
    assert total * config.num_envs * config.rollout == 21_998_592
    left = {u: float(ppo.remaining(config, u, total)) for u in (1, 3580, 6511, 7161)}
    assert left[1] == 1.0
    assert left[3580] == pytest.approx(0.5002094680, abs=1e-6)
    assert left[6511] == pytest.approx(0.0909090909, abs=1e-6)
    assert left[7161] == pytest.approx(1.396453e-4, abs=1e-7)
    rate = METHODS["ppo"].numbers["ppo.learning_rate"]
    assert rate == pytest.approx(1.930698e-4, rel=1e-6)
    assert rate * left[3580] == pytest.approx(9.657533e-5, rel=1e-5)
    assert config.clip * left[3580] == pytest.approx(0.0500209, abs=1e-6)
    assert METHODS["ppo_plus_grid_oracle"].numbers["ppo.learning_rate"] * left[6511] == pytest.approx(2.272727e-5)


@pytest.mark.parametrize(
    ("shape", "actions", "discrete", "count"),
    [((84, 84, 3), 9, True, 1_687_210), ((84, 84, 3), 8, True, 1_686_697), ((27,), 8, False, 12_497)],
)
def test_parameter_counts(shape: tuple[int, ...], actions: int, discrete: bool, count: int) -> None:
    network = networks.make_network(NetworkConfig(), shape, actions, discrete)
    params = jax.eval_shape(lambda: networks.init_params(network, shape, jax.random.key(0)))
    assert sum(x.size for x in jax.tree.leaves(params)) == count


def test_seeds_draw_their_kernels_one_after_the_other_and_the_same_as_alone() -> None:
    """No factorisation in the program has a batch."""

    def draw(key: jax.Array) -> jax.Array:
        return networks.orthogonal(2.0)(key, (6, 4))

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(draw))
    np.testing.assert_array_equal(together(keys), jnp.stack([jax.jit(draw)(key) for key in keys]))
    factored = [
        line for line in together.lower(keys).as_text().splitlines() if "geqrf" in line and "custom_call" in line
    ]
    assert factored and all("tensor<6x4xf32>" in line and "tensor<3x6x4xf32>" not in line for line in factored)


def test_initialisation_has_the_published_gains() -> None:
    network = networks.make_network(NetworkConfig(), (27,), 8, False)
    params = networks.init_params(network, (27,), jax.random.key(0))["params"]
    kernels = [params[f"Dense_{index}"]["kernel"] for index in range(6)]
    for kernel, gain in zip(kernels, (2**0.5, 2**0.5, 0.01, 2**0.5, 2**0.5, 1.0), strict=True):
        narrow = kernel if kernel.shape[0] >= kernel.shape[1] else kernel.T
        np.testing.assert_allclose(narrow.T @ narrow, gain**2 * np.eye(narrow.shape[1]), atol=1e-4)


@pytest.mark.parametrize("log_std", [jnp.zeros(0), jnp.array([0.1, -0.3])])
def test_log_probabilities_and_entropies_fit_the_samples(log_std: jax.Array) -> None:
    policy = networks.Policy(jnp.array([0.3, -1.0]), log_std, jnp.zeros(()))
    policies = jax.tree.map(lambda x: jnp.broadcast_to(x, (20_000, *x.shape)), policy).replace(log_std=log_std)
    actions = networks.sample(policies, jax.random.key(0))
    mean = -networks.log_prob(policies, actions).mean()
    assert float(mean) == pytest.approx(float(networks.entropy(policy)), abs=0.02)
