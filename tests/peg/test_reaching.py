"""The achiever that counts steps: returns and pairs against worked values, then learning with controls."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.nets import MLP, init_mlp
from peg_jax.core.optim import OptimizerConfig
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.peg import actor_critic, agent, reaching, world_model
from peg_jax.peg.actor_critic import ActorCriticState
from peg_jax.peg.config import ActorCriticConfig, ReachingConfig
from peg_jax.peg.imagination import Dream, PolicyFn, imagine
from peg_jax.peg.networks import ActorCriticNets, make_networks
from peg_jax.peg.reaching import Lesson, Pairs
from peg_jax.peg.rssm import Latent
from peg_jax.peg.world_model import Inference
from tests.peg import tiny

# --- returns ---


def test_a_return_counts_the_steps_of_a_rollout_and_bootstraps_at_its_end() -> None:
    """At lambda 1 only the last estimate counts: 7 steps from the end, so 10, 9 and 8 before it."""
    returns = reaching.steps_return(jnp.array([[50.0], [2.0], [33.0], [7.0]]), jnp.zeros((4, 1), bool), 1.0)
    np.testing.assert_allclose(returns[:, 0], [10.0, 9.0, 8.0])


def test_at_lambda_0_a_return_is_one_step_and_the_next_estimate() -> None:
    returns = reaching.steps_return(jnp.array([[50.0], [2.0], [33.0], [7.0]]), jnp.zeros((4, 1), bool), 0.0)
    np.testing.assert_allclose(returns[:, 0], [3.0, 34.0, 8.0])


def test_lambda_mixes_the_two() -> None:
    """R_1 = 1 + 4 = 5 at the end; R_0 = 1 + 0.25 * 8 + 0.75 * 5 = 6.75."""
    returns = reaching.steps_return(jnp.array([[9.0], [8.0], [4.0]]), jnp.zeros((3, 1), bool), 0.75)
    np.testing.assert_allclose(returns[:, 0], [6.75, 5.0])


def test_what_comes_after_arriving_does_not_count() -> None:
    """Arrived at the third latent, whose return is 0: two steps from the first, however far it wanders afterwards."""
    arrived = jnp.array([[False], [False], [True], [False], [False]])
    estimates = jnp.array([[5.0], [4.0], [20.0], [30.0], [40.0]])
    returns = reaching.steps_return(estimates, arrived, 1.0)
    np.testing.assert_allclose(returns[:, 0], [2.0, 1.0, 0.0, 41.0])
    returns = reaching.steps_return(estimates, arrived, 0.9)  # 1 + 0.1 * 4 + 0.9 * 1
    np.testing.assert_allclose(returns[:, 0], [2.3, 1.0, 0.0, 41.0], rtol=1e-6)


def test_who_arrives_at_the_last_latent_is_told_so() -> None:
    returns = reaching.steps_return(jnp.array([[9.0], [9.0], [15.0]]), jnp.array([[False], [False], [True]]), 1.0)
    np.testing.assert_allclose(returns[:, 0], [2.0, 1.0])


# --- pairs ---

FEATURES = 10


def where(rows: Array, table: Array) -> Array:
    """For each row its index in `table [n, F]`, whose rows are distinct."""
    distance = np.abs(np.asarray(rows)[:, None] - np.asarray(table)[None]).sum(-1)
    assert distance.min(axis=1).max() < 1e-4
    return distance.argmin(axis=1)


def test_pairs_of_a_dream_are_later_in_the_same_rollout_and_count_the_steps() -> None:
    horizon, rollouts = 5, 40
    keys = jax.random.split(jax.random.key(1), 3)
    feature = jax.random.normal(keys[0], (horizon + 1, rollouts, FEATURES))
    embeds = jax.random.normal(keys[1], (horizon + 1, rollouts, 6))
    pairs = reaching.dream_pairs(feature, embeds, keys[2])
    now = np.divmod(where(pairs.feature, feature.reshape(-1, FEATURES)), rollouts)
    then = np.divmod(where(pairs.goal_embed, embeds.reshape(-1, 6)), rollouts)
    np.testing.assert_array_equal(now[1], then[1])
    np.testing.assert_array_equal(then[0] - now[0], pairs.steps)
    assert pairs.steps.shape == (horizon * rollouts,)
    assert set(np.asarray(pairs.steps).tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
    assert (pairs.steps == 0).mean() == pytest.approx(1 / reaching.SAME_PLACE_EVERY, abs=0.01)
    assert set(now[0].tolist()) == set(range(horizon))


def test_pairs_of_the_replay_have_observed_goals() -> None:
    length, size = 6, 30
    keys = jax.random.split(jax.random.key(3), 3)
    latents = Latent(jax.random.normal(keys[0], (length, size, 4)), jax.random.normal(keys[1], (length, size, 6)))
    inference = Inference(latents, jax.random.normal(keys[2], (length, size, 6)))
    pairs = reaching.replay_pairs(inference, jax.random.key(4))
    now = np.divmod(where(pairs.feature, latents.feature.reshape(-1, FEATURES)), size)
    then = np.divmod(where(pairs.goal_embed, inference.embeds.reshape(-1, 6)), size)
    np.testing.assert_array_equal(now[1], then[1])
    np.testing.assert_array_equal(then[0] - now[0], pairs.steps)
    assert set(np.asarray(pairs.steps).tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}


# --- loss ---


def line_nets(units: int = 32) -> ActorCriticNets:
    """A state and a goal of one dimension each."""
    return ActorCriticNets(MLP(1, 2, units, 2, 1), MLP(1, 2, units, 1, 1), discrete=False)


def test_an_untrained_critic_expects_about_one_horizon_of_steps() -> None:
    nets = line_nets()
    params = jax.tree.map(lambda x: 0.0 * x, init_mlp(nets.critic, jax.random.key(0)))
    np.testing.assert_allclose(reaching.make_steps(nets, params, jnp.ones((3, 1)), 15)(jnp.zeros((3, 1))), 15.0)


@pytest.mark.parametrize("expectile", [0.1, 0.5])
def test_loss_is_squared_errors_in_horizons_with_short_ways_weighted(expectile: float) -> None:
    """The critic says 15 everywhere. Returns 0 and 30: errors of one horizon. Pairs of 0 and 30 steps: likewise, the
    shorter weighted 2 (1 - expectile) and the longer 2 expectile, so their mean is 1 for either expectile."""
    nets = line_nets()
    params = jax.tree.map(lambda x: 0.0 * x, init_mlp(nets.critic, jax.random.key(0)))
    dream = jnp.zeros((1, 2, 1)), jnp.zeros((2, 1)), jnp.array([[0.0, 30.0]])

    def loss(steps: list[float]) -> float:
        pairs = Pairs(jnp.zeros((len(steps), 1)), jnp.zeros((len(steps), 1)), jnp.array(steps))
        return float(reaching.critic_loss(nets, params, dream, pairs, 15, expectile))

    assert loss([0.0, 30.0]) == pytest.approx(1.0 + 1.0)
    assert loss([0.0]) == pytest.approx(1.0 + 2.0 * (1.0 - expectile))
    assert loss([30.0]) == pytest.approx(1.0 + 2.0 * expectile)
    assert loss([15.0]) == pytest.approx(1.0)


# --- learning: a line from -10 to 10, a step of at most 1, dreams of 4 steps ---

HORIZON, ROLLOUTS = 4, 64
RATE = OptimizerConfig(learning_rate=3e-3)
LEARN = ActorCriticConfig(entropy=1e-2, slow_every=1, slow_fraction=0.1, actor=RATE, critic=RATE)
COUNT = ReachingConfig(enabled=True, states=128, actions=8)


def advance(sign: float, feature: Array, action: Array, key: Key) -> Array:
    return jnp.clip(feature + 0.1 * sign * action, -1.0, 1.0)


def learn(nets: ActorCriticNets, planned_with: float, key: Key, follow: bool = False) -> ActorCriticState:
    """600 updates; actions are compared, or returns followed, where moves are multiplied with `planned_with`."""

    def step(state: ActorCriticState, key: Key) -> tuple[ActorCriticState, Metrics]:
        start_key, goal_key, dream_key, pair_key, update_key = jax.random.split(key, 5)
        start = jax.random.uniform(start_key, (ROLLOUTS, 1), minval=-1.0)
        goal = jax.random.uniform(goal_key, (ROLLOUTS, 1), minval=-1.0)
        policy = actor_critic.make_policy(nets, state.actor.params, LEARN, goal)

        def dreamt(sign: float, policy: PolicyFn) -> Dream:
            def dynamics(latent: Latent, action: Array, key: Key) -> Latent:
                return Latent(latent.stoch[..., :0], advance(sign, latent.deter, action, key))

            latent = Latent(start[..., :0], start)
            return imagine(latent, 1, policy, dynamics, agent.no_reward, agent.no_value, HORIZON, dream_key)

        dream = dreamt(1.0, policy)
        gap = jax.random.randint(pair_key, (ROLLOUTS,), 0, HORIZON + 1)
        later = dream.feature[gap, jnp.arange(ROLLOUTS)]
        pairs = Pairs(dream.feature[0], later, gap.astype(jnp.float32))
        lesson = Lesson(dream, goal, jnp.abs(dream.feature - goal)[..., 0] < 0.1, pairs)
        if follow:
            loss = reaching.follow_loss(state, nets, lesson, partial(dreamt, planned_with), LEARN, COUNT)
        else:
            world = partial(advance, planned_with)
            loss = reaching.compare_loss(state, nets, lesson, world, update_key, LEARN, COUNT)
        return reaching.update(state, nets, lesson, loss, LEARN, COUNT)

    state = actor_critic.init(nets, key, LEARN)
    return jax.lax.scan(step, state, jax.random.split(key, 600))[0]


def arrives(nets: ActorCriticNets, state: ActorCriticState, key: Key) -> Array:
    """Share of 200 random starts and goals from which the mode action comes within a step of the goal in 30."""
    start, goal = jax.random.uniform(key, (2, 200, 1), minval=-1.0)
    policy = actor_critic.make_policy(nets, state.actor.params, LEARN, goal)

    def move(place: Array, _: None) -> tuple[Array, Array]:
        place = advance(1.0, place, policy(place).mode(), key)
        return place, jnp.abs(place - goal)[:, 0] < 0.1

    return jax.lax.scan(move, start, None, length=30)[1].any(axis=0).mean()


@pytest.fixture(scope="module")
def trained() -> dict[str, float]:
    nets = line_nets()

    @jax.jit
    def run(key: Key) -> dict[str, Array]:
        ours, mistaken = learn(nets, 1.0, key), learn(nets, -1.0, key)
        places = jnp.linspace(-0.9, 0.9, 13)
        start, goal = (x.reshape(-1, 1) for x in jnp.meshgrid(places, places))
        steps = reaching.make_steps(nets, ours.critic.params, goal, HORIZON)(start)
        return {
            "trained": arrives(nets, ours, key),
            "untrained": arrives(nets, actor_critic.init(nets, key, LEARN), key),
            "wrong world": arrives(nets, mistaken, key),
            "followed": arrives(nets, learn(nets, 1.0, key, follow=True), key),
            "followed in a wrong world": arrives(nets, learn(nets, -1.0, key, follow=True), key),
            "order": jnp.corrcoef(steps, jnp.abs(start - goal)[:, 0])[0, 1],
            "longest": steps.max(),
        }

    return {name: float(value) for name, value in run(jax.random.key(0)).items()}


def test_learns_to_reach_goals_further_than_any_dream(trained: dict[str, float]) -> None:
    assert trained["trained"] > 0.9
    assert trained["untrained"] < 0.5
    assert trained["wrong world"] < 0.5


def test_learns_it_from_the_gradient_of_the_steps_as_well(trained: dict[str, float]) -> None:
    assert trained["followed"] > 0.9
    assert trained["followed in a wrong world"] < 0.5


def test_a_compared_action_may_be_kept() -> None:
    """Three steps at once are three steps one after the other."""
    config = replace(tiny.agent_config(), reaching=ReachingConfig(enabled=True, hold=3))
    config = replace(config, imagination=replace(config.imagination, sample=False))
    nets = make_networks(config, tiny.spec())
    params = world_model.init(nets, jax.random.key(0))
    feature, action = jax.random.normal(jax.random.key(1), (4, 10)), jnp.ones((4, 2))
    once = agent.make_advance(replace(config, reaching=ReachingConfig(enabled=True)), nets, params)
    kept = agent.make_advance(config, nets, params)
    expected = feature
    for _ in range(3):
        expected = once(expected, action, jax.random.key(2))
    np.testing.assert_allclose(kept(feature, action, jax.random.key(3)), expected, rtol=1e-5, atol=1e-6)


def test_steps_grow_with_the_distance_beyond_the_horizon(trained: dict[str, float]) -> None:
    assert trained["order"] > 0.9
    assert trained["longest"] > 2 * HORIZON
