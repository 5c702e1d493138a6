"""The bridges, with the real libraries at the other end."""

import dataclasses
import functools
import warnings

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brax import envs as brax_envs
from brax.envs.wrappers import training as brax_training
from brax.training.agents.ppo import train as ppo

import envs
from envs.interop import BraxEnvironment, Goals, from_brax, from_gymnax
from peg_jax.core.environment import make_task
from peg_jax.peg import config as peg_config
from peg_jax.peg import training


def near(achieved, desired):
    return jnp.linalg.norm(achieved - desired, axis=-1) < 0.3


def pendulum():
    env, params = gymnax.make("Pendulum-v1")
    upright = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], np.float32)
    goals = Goals(
        upright, np.array([-1.0, -1, -8], np.float32), np.array([1.0, 1, 8], np.float32), near, ("up", "down")
    )
    return env, params, from_gymnax(env, params, goals, episode_steps=6)


@functools.cache
def their_cart_pole():
    """The smallest of brax's own, on the physics that compiles in the shortest time."""
    with warnings.catch_warnings(action="ignore"):  # brax advises to use MJX
        env = brax_envs.get_environment("inverted_pendulum", backend="spring")
    env.reset, env.step = jax.jit(env.reset), jax.jit(env.step)  # nearly all that the tests cost is their compilation
    return env


def cart_pole():
    """It, with the goal to be upright half a metre to the left or to the right."""
    places = np.array([[-0.5, 0, 0, 0], [0.5, 0, 0, 0]], np.float32)
    span = np.array([1.0, 0.3, 3.0, 3.0], np.float32)
    return from_brax(their_cart_pole(), Goals(places, -span, span, near), episode_steps=6)


def tiny_config():
    policy = peg_config.ActorCriticConfig(layers=1, units=6)
    agent = peg_config.AgentConfig(
        world_model=peg_config.WorldModelConfig(
            deter=6, stoch=4, hidden=6, units=6, encoder_layers=1, decoder_layers=1
        ),
        imagination=peg_config.ImaginationConfig(horizon=3),
        distance=peg_config.DistanceConfig(layers=1, units=6, positives=8),
        achiever=policy,
        explorer=policy,
        disagreement=peg_config.DisagreementConfig(members=3, layers=1, units=6),
    )
    return peg_config.PEGConfig(
        agent=agent,
        planner=peg_config.PlannerConfig(candidates=10, iterations=2, horizon=4, final_steps=2),
        replay=peg_config.ReplayConfig(capacity=60, batch=3, length=4),
        loop=peg_config.LoopConfig(num_envs=2, prefill=4, pretrain=1, train_every=3, updates_per_burst=1),
    )


def pendulum_through_brax():
    """The gymnax pendulum as one of ours, that as one of brax's, and that as one of ours again."""
    inner = pendulum()[2]
    goals = inner.goals
    low, high = (np.tile(bound, 2) for bound in (goals.low, goals.high))  # brax sees the observation with the goal
    theirs = BraxEnvironment(inner)
    return from_brax(theirs, Goals(np.tile(goals.eval_goals, 2), low, high, near), episode_steps=6)


@pytest.mark.slow
@pytest.mark.parametrize("make", [pendulum_through_brax, cart_pole])
def test_their_environments_run_under_peg(make):
    """One of gymnax over both bridges, and one of brax."""
    env = make()
    task = make_task(env, env.default_params)
    config = tiny_config()
    state = jax.jit(lambda key: training.init(task, config, "peg", key))(jax.random.key(0))
    trained, log = jax.jit(lambda s: training.epoch(task, config, "peg", s, cycles=1))(state)
    assert int(trained.progress.env_steps) == (4 + 2) * 6
    assert all(np.isfinite(value).all() for value in log.metrics.values())
    obs = np.asarray(trained.seed.replay.experience.obs)
    assert np.abs(np.diff(obs, axis=2)).max() > 1e-3 and np.isfinite(obs).all()


def test_a_gymnax_environment_keeps_its_dynamics():
    env, params, ours = pendulum()

    def play(env, params):
        """The first observation, and observations, rewards and infos of three steps; the last state."""

        def step(state, _):
            obs, state, reward, _, info = env.step_env(key, state, jnp.array([1.5]), params)
            return state, (obs, reward, info)

        key = jax.random.key(3)
        first, state = env.reset_env(key, params)
        state, steps = jax.lax.scan(step, state, length=3)
        return first, steps, state

    (first, (obs, reward, info), state), (theirs_first, (theirs_obs, theirs_reward, _), _) = (
        jax.jit(play, static_argnums=0)(*pair) for pair in ((ours, ours.default_params), (env, params))
    )
    np.testing.assert_array_equal(first, theirs_first)
    np.testing.assert_array_equal(obs, theirs_obs)
    np.testing.assert_array_equal(reward, theirs_reward)
    assert info["metric_success"].dtype == bool and int(state.time) == 3
    picture = np.asarray(jax.jit(ours.render)(obs[-1], ours.eval_goals()[0], ours.default_params))
    assert (picture == (255, 0, 0)).all(axis=-1).sum() > 3


def test_a_brax_environment_keeps_its_dynamics():
    ours, theirs, key, push = cart_pole(), their_cart_pole(), jax.random.key(3), jnp.ones(1)
    params, ends = ours.default_params, []
    (obs, state), their_state = ours.reset_env(key, params), theirs.reset(key)
    np.testing.assert_array_equal(obs, their_state.obs)
    for _ in range(30):
        obs, state, reward, terminated, info = ours.step_env(key, state, push, params)
        their_state = theirs.step(their_state, push)
        np.testing.assert_array_equal(obs, their_state.obs)
        assert (reward, terminated) == (their_state.reward, their_state.done) and terminated.dtype == bool
        ends.append(bool(terminated))
    assert any(ends) and not all(ends)
    assert info["metric_success"].dtype == bool and int(state.time) == 30


def test_goals_of_another_size_are_refused():
    env, params, _ = pendulum()
    goals = Goals(np.zeros((1, 2), np.float32), np.zeros(2), np.ones(2), near)
    with pytest.raises(ValueError, match=r"of shape \(3,\), but they have \(2,\)"):
        from_gymnax(env, params, goals, 5)


@pytest.mark.parametrize(("name", "size", "actions", "best"), [("walker", 9, 6, -1.01), ("ant_maze", 29, 8, -1)])
def test_braxs_wrappers_take_ours(name, size, actions, best):
    """Episodes, their ends and brax's automatic reset, in several worlds of the C engine."""
    inner, params = envs.make(name, physics="mujoco")
    env = BraxEnvironment(inner, dataclasses.replace(params, goal_index=len(inner.goals) - 1))
    wrapped = brax_training.wrap(env, episode_length=3)
    assert (env.observation_size, env.action_size) == (2 * size, actions)
    state = jax.jit(wrapped.reset)(jax.random.split(jax.random.PRNGKey(0), 4))  # brax counts on keys of the old type
    first, step, done = state.obs, jax.jit(wrapped.step), []
    for _ in range(3):
        before = state.obs
        state = step(state, jnp.ones((4, actions)))
        done.append(np.asarray(state.done))
    np.testing.assert_array_equal(done, [[0] * 4, [0] * 4, [1] * 4])
    np.testing.assert_array_equal(state.obs, first)
    assert np.abs(before - first)[:, :size].max(axis=1).min() > 1e-2
    np.testing.assert_array_equal(before[:, size:], np.tile(inner.goals[-1], (4, 1)))
    assert np.all(np.asarray(state.reward) <= best) and np.unique(np.asarray(first), axis=0).shape[0] == 4


def test_what_braxs_agents_miss_in_jax_is_put_back(monkeypatch):
    monkeypatch.delattr(jax, "device_put_replicated", raising=False)
    BraxEnvironment(cart_pole())
    found = jax.device_put_replicated({"a": jnp.arange(3.0), "key": jax.random.key(0)}, jax.local_devices()[:1])
    np.testing.assert_array_equal(found["a"], [[0.0, 1.0, 2.0]])
    assert found["key"].shape == (1,)
    theirs = object()
    monkeypatch.setattr(jax, "device_put_replicated", theirs)
    BraxEnvironment(cart_pole())
    assert jax.device_put_replicated is theirs


@pytest.mark.slow
def test_braxs_ppo_trains_on_the_walker():
    env = BraxEnvironment(envs.make("walker", physics="mujoco")[0])
    seen = []
    _, weights, metrics = ppo.train(
        env, num_timesteps=640, episode_length=150, num_envs=16, batch_size=16, unroll_length=10, num_minibatches=2,
        num_updates_per_batch=1, num_evals=2, num_eval_envs=4, normalize_observations=True,
        progress_fn=lambda steps, figures: seen.append((steps, float(figures["eval/episode_reward"]))),
    )  # fmt: skip
    assert [steps for steps, _ in seen] == [0, 640]
    assert all(np.isfinite(reward) and reward < 0 for _, reward in seen)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights) if hasattr(leaf, "shape"))
    assert metrics["eval/episode_metric_success"] >= 0
