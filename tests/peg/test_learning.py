"""Short, seeded learning with controls that must fail."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.nets import MLP, init_ensemble, init_mlp
from peg_jax.core.optim import OptimizerConfig, init_learner
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array, Key
from peg_jax.peg import disagreement, distance, planner, rollout, rssm, world_model
from peg_jax.peg.config import DisagreementConfig, DistanceConfig, PlannerConfig, WorldModelConfig
from peg_jax.peg.networks import make_networks
from peg_jax.peg.planner import GoalDistribution
from peg_jax.peg.rssm import Latent
from tests.peg import tiny

FAST = OptimizerConfig(learning_rate=3e-3)


# --- world model ---

MODEL = WorldModelConfig(
    deter=16, stoch=4, hidden=16, units=16, encoder_layers=1, decoder_layers=1, decoder_std=0.1, optimizer=FAST
)


def predicts_open_loop(nets: Any, params: Any, episode: Episode, key: Key) -> Array:
    """Mean error of the prediction 4 steps on, given the actions but no observation after the third record."""
    embeds = world_model.encode(nets, params, episode.obs)
    latents, _, _ = rssm.observe(nets.rssm, params["rssm"], embeds[:3], episode.action[:3], key)
    latent = jax.tree.map(lambda x: x[-1], latents)
    for index in range(3, 7):
        latent = rssm.imagine_step(
            nets.rssm, params["rssm"], latent, episode.action[index], jax.random.fold_in(key, index)
        )
    return jnp.abs(world_model.decode(nets, params, latent.feature) - episode.obs[6]).mean()


def one_of(batch: Episode) -> Episode:
    """The batch as the only one of an update."""
    return jax.tree.map(lambda x: x[None], batch)


@pytest.fixture(scope="module")
def trained_model() -> dict[str, np.ndarray]:
    config = tiny.agent_config(world_model=MODEL)
    nets, task = make_networks(config, tiny.spec()), tiny.make_dot(steps=6)

    def batch(key: Key) -> Episode:
        return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rollout.random_episodes(task, 32, key))

    @jax.jit
    def run(key: Key) -> dict[str, Array]:
        learner = init_learner(world_model.init(nets, key), FAST)

        def step(learner: Any, key: Key) -> tuple[Any, Array]:
            learner, _, metrics = world_model.update(learner, nets, one_of(batch(key)), key, MODEL)
            return learner, metrics["observation_loss"]

        trained, losses = jax.lax.scan(step, learner, jax.random.split(key, 600))
        held_out = batch(jax.random.fold_in(key, 1))
        still = jnp.abs(held_out.obs[2] - held_out.obs[6]).mean()
        return {
            "loss": losses,
            "trained": predicts_open_loop(nets, trained.params, held_out, key),
            "untrained": predicts_open_loop(nets, learner.params, held_out, key),
            "standing still": still,
        }

    return jax.tree.map(np.asarray, run(jax.random.key(0)))


def test_the_world_models_loss_decreases(trained_model: dict[str, np.ndarray]) -> None:
    losses = trained_model["loss"]
    assert losses[-50:].mean() < losses[:10].mean() - 1.0


def test_the_world_model_predicts_held_out_futures_and_an_untrained_one_does_not(
    trained_model: dict[str, np.ndarray],
) -> None:
    assert trained_model["trained"] < 0.5 * trained_model["untrained"]
    assert trained_model["untrained"] > trained_model["standing still"]


# --- distance ---

HORIZON = 15


def train_distance(embeds: Array, key: Key) -> Array:
    """Distances predicted at 0, 3, 6, 9 and 12 steps, averaged over rollouts; `embeds [H+1, N, E]`."""
    net = MLP(inputs=embeds.shape[-1], layers=2, units=32, outputs=1, context=embeds.shape[-1])
    config = DistanceConfig(positives=128, optimizer=FAST)
    learner = init_learner(init_mlp(net, key), FAST)
    sequence = jnp.arange(embeds.shape[1])

    def step(learner: Any, key: Key) -> tuple[Any, None]:
        lookup = lambda times, rollouts: embeds[times, rollouts]  # noqa: E731
        return distance.update(learner, net, lookup, HORIZON, sequence, key, config)[0], None

    learner, _ = jax.lax.scan(step, learner, jax.random.split(key, 500))
    return learner.params


def test_distance_orders_near_before_far_and_shuffled_times_do_not() -> None:
    """Imagined rollouts walk at a constant pace in a direction of their own; the control's times are shuffled."""
    key = jax.random.key(0)
    start, angle, shuffle = jax.random.split(key, 3)
    angles = jax.random.uniform(angle, (64,), maxval=2 * jnp.pi)
    direction = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    walk = jax.random.normal(start, (64, 2)) + 0.2 * jnp.arange(HORIZON + 1.0)[:, None, None] * direction
    shuffled = jax.vmap(lambda k, x: jax.random.permutation(k, x), in_axes=(0, 1), out_axes=1)(
        jax.random.split(shuffle, 64), walk
    )
    both = jax.jit(jax.vmap(train_distance, in_axes=(0, None)))(jnp.stack([walk, shuffled]), key)
    net = MLP(inputs=2, layers=2, units=32, outputs=1, context=2)

    def predicted(params: Any) -> np.ndarray:
        steps = (0, 3, 6, 9, 12)
        return np.array([float(distance.between(net, params, walk[1], walk[1 + k]).mean()) for k in steps])

    learnt, control = (predicted(jax.tree.map(lambda x: x[i], both)) for i in (0, 1))  # noqa: B023
    assert (np.diff(learnt) > 0.05).all(), learnt
    assert np.abs(learnt - np.array([0, 3, 6, 9, 12]) / 15).max() < 0.2
    assert control.max() - control.min() < 0.5 * (learnt.max() - learnt.min()), control


# --- disagreement ---


def test_disagreement_is_higher_where_there_were_no_data() -> None:
    """Features inside a ball are trained on; the control is the untrained ensemble on the same two sets."""
    net, config = MLP(inputs=4, layers=2, units=32, outputs=2), DisagreementConfig(members=5, optimizer=FAST)

    def data(key: Key, centre: float) -> Latent:
        return Latent(stoch=centre + 0.3 * jax.random.normal(key, (2, 64, 2)), deter=jnp.zeros((2, 64, 0)))

    @jax.jit
    def run(key: Key) -> Array:
        learner = init_learner(init_ensemble(net, key, 5), FAST)

        def step(learner: Any, key: Key) -> tuple[Any, None]:
            latents = data(key, 0.0)
            latents = dataclasses.replace(latents, stoch=latents.stoch.at[1].set(jnp.sin(3.0 * latents.stoch[0])))
            return disagreement.update(learner, net, latents, jnp.zeros((2, 64, 2)), config)[0], None

        trained, _ = jax.lax.scan(step, learner, jax.random.split(key, 500))
        rows = [jnp.concatenate([data(key, c).stoch[0], jnp.zeros((64, 2))], axis=-1) for c in (0.0, 2.0)]
        return jnp.array(
            [[disagreement.reward(net, x.params, row, config).mean() for row in rows] for x in (trained, learner)]
        )

    (seen, unseen), (seen_before, unseen_before) = np.asarray(run(jax.random.key(0)))
    assert unseen > 5.0 * seen
    assert seen < 0.5 * seen_before
    assert unseen / seen > 2.0 * unseen_before / seen_before


# --- planner ---


def test_cem_beats_random_goals_at_the_same_budget() -> None:
    """Six dimensions, five iterations of 100 candidates against the best of 500 uniform ones, 50 times."""
    target = jnp.array([0.7, -0.3, 0.1, -0.8, 0.5, 0.0])
    config = PlannerConfig(kind="cem", candidates=100, iterations=5, elite_ratio=0.2)
    low, high = jnp.full(6, -1.0), jnp.full(6, 1.0)

    def fitness(goals: Array, key: Key) -> Array:
        del key
        return -jnp.square(goals - target).sum(axis=-1)

    def one(key: Key) -> tuple[Array, Array]:
        start = GoalDistribution(jnp.zeros(6), jnp.full(6, 1.0))
        plan = planner.search(fitness, start, low, high, jnp.zeros((0, 6)), key, config)
        random = jax.random.uniform(key, (500, 6), minval=low, maxval=high)
        return fitness(plan.distribution.mean[None], key)[0], fitness(random, key).max()

    ours, control = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 50))
    assert float(jnp.mean(ours > control)) == 1.0
    assert float(ours.mean()) > 0.2 * float(control.mean())
