"""Intrinsic curiosity; numbers of episodic_curiosity.md section 9, point 15."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.curiosity import icm, training
from peg_jax.curiosity.config import CuriosityConfig, ICMConfig, NetworkConfig, PPOConfig, RewardConfig
from peg_jax.curiosity.rollout import Rollout
from peg_jax.curiosity.task import make_task
from peg_jax.curiosity.training import SEED_AXES
from tests.curiosity.corridor import LENGTH, Corridor, Params, State

SMALL = ICMConfig(size=8, layers=2, channels=8, units=32, learning_rate=3e-3, eta=0.01)
CONFIG = CuriosityConfig(
    network=NetworkConfig(channels=(8,), kernels=(3,), strides=(2,), units=16),
    ppo=PPOConfig(num_envs=4, rollout=30, epochs=2, minibatches=2),
    reward=RewardConfig(task=0.0, bonus=1.0),
    icm=SMALL,
)
PICTURES = np.random.default_rng(0).integers(0, 256, (LENGTH, 8, 8, 3), np.uint8)


class SeenCorridor(Corridor):
    """The corridor, each place of which looks like a picture of its own."""

    def observation_space(self, params: Any = None) -> Any:
        return type(super().observation_space())(0, 255, PICTURES.shape[1:], jnp.uint8)

    def observe(self, key: Any, state: State, action: Any, params: Any) -> jax.Array:
        return jnp.asarray(PICTURES)[state.place]


TASK = make_task(SeenCorridor(), Params(), CONFIG.oracle)


def test_worked_values() -> None:
    features = jnp.zeros(288)
    errors = jnp.stack([icm.forward_error(features, features + off) for off in (0.1, 0.2)])
    np.testing.assert_allclose(errors, [1.44, 5.76], rtol=1e-6)
    published, trained = ICMConfig(eta=0.55, forward_share=0.96), ICMConfig(eta=0.01, forward_share=0.2)
    np.testing.assert_allclose(icm.pay(errors, published), [0.792, 1.0], rtol=1e-6)  # 3.168 is clipped
    np.testing.assert_allclose(icm.pay(errors[0], trained), 0.0144, rtol=1e-6)
    uniform = icm.inverse_loss(jnp.zeros((1, 9)), jnp.array([4]))[0]
    assert float(uniform) == pytest.approx(2.1972246, abs=1e-6)
    assert float(icm.auxiliary_loss(errors[0], uniform, trained)) == pytest.approx(20.4577966, abs=1e-5)
    assert float(icm.auxiliary_loss(errors[0], uniform, published)) == pytest.approx(14.7028898, abs=1e-5)


def test_the_published_features_are_288_numbers() -> None:
    net, picture = icm.ICM(9, ICMConfig()), jnp.zeros((2, 84, 84, 3), jnp.uint8)
    steps = icm.Transitions(picture, picture, jnp.zeros(2, jnp.int32), jnp.ones(2, bool))
    seen = jax.eval_shape(lambda key: net.init_with_output(key, steps)[0], jax.random.key(0))
    assert seen.features.shape == seen.predicted.shape == (2, 288)
    assert icm.num_features(ICMConfig()) == 288 and seen.logits.shape == (2, 9)


def test_vectors_and_torques_are_refused() -> None:
    with pytest.raises(ValueError, match="discrete actions and pictures"):
        icm.icm(make_task(Corridor(), Params(), CONFIG.oracle), CONFIG)


def walk(key: jax.Array, limit: int, shuffled: jax.Array) -> tuple[Rollout, Any]:
    """Random steps among the first `limit` places, or the last if it is negative; and what the last one led to.

    Where `shuffled`, the actions told are not those that were taken.
    """
    steps, count = 16, 16
    keys = jax.random.split(key, 3)
    action = jax.random.randint(keys[0], (steps, count), 0, 2)
    low, high = (0, limit - 1) if limit > 0 else (LENGTH + limit, LENGTH - 1)
    start = jax.random.randint(keys[1], (count,), low, high + 1)

    def step(place: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.clip(place + 2 * action - 1, low, high), place

    end, place = jax.lax.scan(step, start, action)
    told = jnp.where(shuffled, jax.random.permutation(keys[2], action.reshape(-1)).reshape(action.shape), action)
    nothing, never = jnp.zeros(action.shape), jnp.zeros(action.shape, bool)
    pictures = jnp.asarray(PICTURES)
    rollout = Rollout(pictures[place], told, nothing, nothing, nothing, never, never, never, nothing, None)
    return rollout, type("Ended", (), {"obs": pictures[end]})


def test_it_learns_what_shuffled_actions_cannot_teach_and_where_it_has_not_been_surprises() -> None:
    """Trained on the left half of the corridor, on true actions and on shuffled ones, in one program."""
    bonus, net = icm.icm(TASK, CONFIG), icm.ICM(TASK.actions, SMALL)

    def run(shuffled: jax.Array) -> tuple:
        def once(state: icm.ICMState, key: jax.Array) -> tuple[icm.ICMState, Any]:
            judged = bonus.judge(state, *walk(key, LENGTH // 2, shuffled), jnp.int32(0), key)
            return judged.state, judged.metrics

        start = bonus.init(jax.random.key(0), None)  # type: ignore[arg-type]  # environments are of no account
        state, metrics = jax.lax.scan(once, start, jax.random.split(jax.random.key(1), 40))

        def surprise(state: icm.ICMState, limit: int) -> jax.Array:
            rollout, ended = walk(jax.random.key(2), limit, shuffled)
            frames = jnp.concatenate([rollout.obs, ended.obs[None]])
            return icm.forward_errors(net, state.learner.params, frames, rollout.action).mean()

        half = LENGTH // 2
        return metrics["icm_inverse"], [surprise(seen, -half) / surprise(seen, half) for seen in (start, state)]

    inverse, (before, after) = jax.jit(jax.vmap(run))(jnp.array([False, True]))
    assert inverse[0, -5:].mean() < 0.2 < 0.65 < inverse[1, -5:].mean()
    assert before[0] < 3 < 20 < after[0]


@pytest.fixture(scope="module")
def runs() -> tuple:
    """Two seeds for two updates; and again with numbers of the first seed's module that are none."""

    def epoch(state: training.TrainState) -> tuple:
        return training.epoch(TASK, CONFIG, "ppo_plus_icm", 10, state, 2)

    run = jax.jit(jax.vmap(epoch, (SEED_AXES,), (SEED_AXES, 0)))
    keys = jnp.stack([jax.random.key(seed) for seed in (0, 1)])
    start = jax.vmap(lambda key: training.init(TASK, CONFIG, "ppo_plus_icm", key), out_axes=SEED_AXES)(keys)
    learner = start.seed.bonus.learner
    params = jax.tree.map(lambda x: x.at[0].set(jnp.nan), learner.params)
    bonus = dataclasses.replace(start.seed.bonus, learner=dataclasses.replace(learner, params=params))
    hurt = dataclasses.replace(start, seed=dataclasses.replace(start.seed, bonus=bonus))
    return start, run(start), run(hurt)


def leaves(tree: Any, seed: int) -> list[np.ndarray]:
    numbers = (x for x in jax.tree.leaves(tree) if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key))
    return [np.asarray(x)[seed] for x in numbers]


def test_a_run_pays_it_and_carries_what_it_learned(runs: tuple) -> None:
    start, (after, metrics), _ = runs
    assert int(after.seed.bonus.learner.opt_state[1].step[0]) == 2 * CONFIG.ppo.epochs * CONFIG.ppo.minibatches
    for seed in (0, 1):
        pairs = zip(*(leaves(state.seed.bonus.learner.params, seed) for state in (start, after)), strict=True)
        assert all(np.isfinite(new).all() and (new != old).any() for old, new in pairs)
    assert (metrics["epbonusmean"] > 0).all() and (metrics["rewardmean"] > 0).all()
    assert (metrics["icm_forward"][0] != metrics["icm_forward"][1]).all()
    np.testing.assert_array_equal(after.seed.bad_updates, 0)


def test_numbers_gone_bad_are_counted_and_touch_no_other_seed(runs: tuple) -> None:
    _, (healthy, _), (hurt, _) = runs
    np.testing.assert_array_equal(hurt.seed.bonus.bad_updates, [2, 0])
    np.testing.assert_array_equal(hurt.seed.bad_updates, [2, 0])
    for one, other in zip(leaves(hurt.seed, 1), leaves(healthy.seed, 1), strict=True):
        np.testing.assert_array_equal(one, other)
