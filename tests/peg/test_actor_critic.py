"""Actor and critic losses, the slow critic, dreams (conformance tests 3 and 22)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.distributions import TruncatedNormal
from peg_jax.core.nets import MLP
from peg_jax.core.returns import lambda_return
from peg_jax.core.types import Array, Key
from peg_jax.peg import actor_critic
from peg_jax.peg.actor_critic import actor_loss, critic_loss, reinforce_share, update_slow
from peg_jax.peg.config import ActorCriticConfig
from peg_jax.peg.imagination import Dream, discount_weights, imagine
from peg_jax.peg.networks import ActorCriticNets
from peg_jax.peg.rssm import Latent

H, N, A = 15, 3, 2


def count_up(latent: Latent, action: Array, key: Key) -> Latent:
    """Dynamics in which the deterministic state counts steps and the stochastic one is the action."""
    del key
    return Latent(stoch=action, deter=latent.deter + 1.0)


@pytest.fixture(scope="module")
def counted() -> tuple[Dream, list]:
    start = Latent(stoch=jnp.zeros((N, A)), deter=jnp.zeros((N, 1)))

    def reward(feature: Array, previous: Array, following: Array) -> Array:
        return feature[:, -1] + 10 * jnp.square(previous - feature[:, :A]).sum(-1)  # the second term vanishes

    dream = imagine(
        start=start,
        action_size=A,
        policy=lambda f: TruncatedNormal(0.01 * f[:, -1:] + jnp.zeros((N, A)), jnp.ones((N, A))),
        dynamics=count_up,
        reward=reward,
        value=lambda f: 100.0 + f[:, -1],
        horizon=H,
        key=jax.random.key(0),
    )
    return dream


def test_a_horizon_of_15_gives_16_latents_15_targets_and_14_actor_terms(counted: Dream) -> None:
    assert counted.feature.shape == (16, N, A + 1)
    returns = lambda_return(counted.reward, counted.value_tp1, 0.99, 0.95)
    assert returns.shape == (15, N)
    weights = discount_weights(H, 0.99)
    entropy_gradient = jax.grad(lambda e: actor_loss(Dream(**{**vars(counted), "entropy": e}), returns, weights, 1.0))(
        counted.entropy
    )
    used = np.asarray(entropy_gradient).any(axis=-1)
    assert used.sum() == 14
    assert not used[14]


def test_weights_are_powers_of_the_discount() -> None:
    weights = discount_weights(H, 0.99)
    np.testing.assert_allclose(weights[:3], [1.0, 0.99, 0.9801], rtol=1e-6)
    np.testing.assert_allclose(weights, 0.99 ** np.arange(15), rtol=1e-5)


def test_the_actor_term_of_t_pairs_its_entropy_with_the_next_return() -> None:
    """With the return one-hot at u and the entropy one-hot at t, the loss shows which weights they meet."""
    weights, zeros = discount_weights(H, 0.9), jnp.zeros((H, 1))

    def loss(returns: Array, entropy: Array) -> float:
        dream = Dream(zeros, zeros, zeros, zeros, entropy=entropy, log_prob=zeros)
        return float(actor_loss(dream, returns, weights, 0.5))

    for t in range(14):
        one = zeros.at[t].set(1.0)
        next_one = zeros.at[t + 1].set(1.0)
        assert loss(zeros, one) == pytest.approx(-0.5 * 0.9**t / 14, rel=1e-5)
        assert loss(next_one, zeros) == pytest.approx(-(0.9**t) / 14, rel=1e-5)
    assert loss(zeros.at[0].set(1.0), zeros) == 0.0


def test_dreams_number_their_latents_rewards_and_values(counted: Dream) -> None:
    np.testing.assert_allclose(counted.feature[..., -1], jnp.broadcast_to(jnp.arange(16.0)[:, None], (16, N)))
    # Rewards belong to latents 0..14 and see the action that led there (zero for latent 0); values to latents 1..15.
    np.testing.assert_allclose(counted.reward[:, 0], jnp.arange(15.0), atol=1e-5)
    np.testing.assert_allclose(counted.value_tp1[:, 0], 101.0 + jnp.arange(15.0))
    np.testing.assert_array_equal(counted.last_action, counted.feature[15, :, :A])


def test_the_policy_reads_features_without_gradient_and_rewards_with() -> None:
    def dream(stoch: Array) -> Dream:
        return imagine(
            start=Latent(stoch, jnp.zeros((N, 1))),
            action_size=A,
            policy=lambda f: TruncatedNormal(0.5 * f[:, :A], jnp.ones((N, A))),
            dynamics=count_up,
            reward=lambda f, previous, following: f[:, :A].sum(-1),
            value=lambda f: f[:, 0],
            horizon=4,
            key=jax.random.key(1),
        )

    @jax.jit
    def gradients(stoch: Array) -> tuple[Array, Array]:
        return jax.grad(lambda s: dream(s).entropy.sum())(stoch), jax.grad(lambda s: dream(s).reward.sum())(stoch)

    of_entropy, of_reward = gradients(jnp.full((N, A), 0.3))
    assert not of_entropy.any()
    np.testing.assert_array_equal(of_reward, jnp.ones((N, A)))  # of the first reward alone: later actions are cut off


def test_rewards_and_values_reach_the_actions_before_them() -> None:
    def loss(shift: Array) -> Array:
        dream = imagine(
            start=Latent(jnp.zeros((N, A)), jnp.zeros((N, 1))),
            action_size=A,
            policy=lambda f: TruncatedNormal(jnp.zeros((N, A)) + shift, jnp.ones((N, A))),
            dynamics=lambda latent, action, key: Latent(latent.stoch + action, latent.deter),
            reward=lambda f, previous, following: f[:, 0],
            value=lambda f: f[:, 1],
            horizon=2,
            key=jax.random.key(1),
        )
        return jnp.stack([dream.reward[0].mean(), dream.reward[1].mean(), dream.value_tp1[1].mean()])

    first, second, value = jax.jit(jax.jacfwd(loss))(0.0)
    assert float(first) == 0.0  # the start latent is given
    assert float(second) > 0.0
    assert float(value) > float(second)  # two actions lead to the last latent


def test_critic_loss_is_a_weighted_unit_gaussian() -> None:
    value, returns = jnp.array([[1.0], [2.0]]), jnp.array([[1.5], [0.0]])
    expected = np.mean([1.0 * (0.125 + 0.9189385), 0.9 * (2.0 + 0.9189385)])
    assert float(critic_loss(value, returns, jnp.array([1.0, 0.9]))) == pytest.approx(expected, rel=1e-6)


def test_the_reinforce_term_is_log_prob_times_a_fixed_advantage() -> None:
    returns = jnp.array([[9.0], [3.0], [5.0]])
    baseline, log_prob = jnp.array([[1.0], [2.0]]), jnp.array([[-0.5], [-0.2], [-7.0]])
    zeros = jnp.zeros((3, 1))

    def loss(log_prob: Array, returns: Array, baseline: Array, share: float) -> Array:
        dream = Dream(zeros, zeros, zeros, zeros, entropy=zeros, log_prob=log_prob)
        return actor_loss(dream, returns, jnp.array([1.0, 0.9, 0.81]), 0.0, share, baseline)

    assert float(loss(log_prob, returns, baseline, 1.0)) == pytest.approx(-(-0.5 * 2.0 + 0.9 * -0.2 * 3.0) / 2)
    mixed = -((0.75 * 3.0 + 0.25 * -0.5 * 2.0) + 0.9 * (0.75 * 5.0 + 0.25 * -0.2 * 3.0)) / 2
    assert float(loss(log_prob, returns, baseline, 0.25)) == pytest.approx(mixed)
    to_returns, to_baseline = jax.grad(loss, argnums=(1, 2))(log_prob, returns, baseline, 1.0)
    assert not to_returns.any()
    assert not to_baseline.any()


@pytest.mark.parametrize(
    ("gradient", "discrete", "share"),
    [
        ("auto", False, 0.0),
        ("auto", True, 1.0),
        ("dynamics", True, 0.0),
        ("reinforce", False, 1.0),
        ("both", False, 0.9),
    ],
)
def test_reinforce_share(gradient: str, discrete: bool, share: float) -> None:
    nets = ActorCriticNets(MLP(1, 1, 1), MLP(1, 1, 1), discrete)
    assert reinforce_share(nets, ActorCriticConfig(gradient=gradient)) == share  # type: ignore[arg-type]


def test_slow_critic_is_copied_at_the_first_update_and_at_multiples_of_100() -> None:
    config = ActorCriticConfig()

    def step(slow: Array, updates: Array) -> tuple[Array, Array]:
        fast = updates + 1.0 / 3.0  # the critic after that update
        slow = update_slow(slow, fast, updates, config)
        return slow, slow == fast

    _, copied = jax.lax.scan(step, jnp.asarray(-1.0), jnp.arange(301))
    assert np.flatnonzero(copied).tolist() == [0, 100, 200, 300]


def test_slow_critic_moves_by_a_fraction_where_asked() -> None:
    config = ActorCriticConfig(slow_every=2, slow_fraction=0.25)
    moved = update_slow(jnp.asarray(1.0), jnp.asarray(5.0), jnp.asarray(4), config)
    kept = update_slow(jnp.asarray(1.0), jnp.asarray(5.0), jnp.asarray(5), config)
    assert (float(moved), float(kept)) == (2.0, 1.0)


def test_the_policy_head_is_tanh_and_a_bounded_deviation() -> None:
    nets = ActorCriticNets(MLP(3, 1, 4, 4), MLP(3, 1, 4, 1), discrete=False)
    state = jax.jit(lambda key: actor_critic.init(nets, key, ActorCriticConfig()))(jax.random.key(0))
    feature = jax.random.normal(jax.random.key(1), (5, 3))
    dist = actor_critic.make_policy(nets, state.actor.params, ActorCriticConfig())(feature)
    raw = nets.actor.apply(state.actor.params, feature)
    np.testing.assert_allclose(dist.mode(), jnp.tanh(raw[:, :2]), rtol=1e-6)
    np.testing.assert_allclose(dist.scale, 2 * jax.nn.sigmoid(raw[:, 2:] / 2) + 0.1, rtol=1e-6)
    for slow, fast in zip(jax.tree.leaves(state.slow_critic), jax.tree.leaves(state.critic.params), strict=True):
        np.testing.assert_array_equal(slow, fast)
