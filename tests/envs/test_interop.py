"""The bridges, with the real libraries at the other end."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brax.envs import base as brax_base
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


class Cart(brax_base.Env):
    """A mass on a line, pushed: small enough to compile in seconds, where brax's own take minutes."""

    observation_size, action_size, backend = 2, 1, "none"

    def reset(self, rng):
        obs = jax.random.uniform(rng, (2,), minval=-0.1, maxval=0.1)
        return brax_base.State(None, obs, jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        velocity = state.obs[1] + 0.1 * action[0]
        obs = jnp.stack([state.obs[0] + 0.1 * velocity, velocity])
        return state.replace(obs=obs, reward=-jnp.abs(obs[0]), done=(jnp.abs(obs[0]) > 2).astype(jnp.float32))


def cart():
    span = np.array([2.0, 1.0], np.float32)
    return from_brax(Cart(), Goals(np.array([[1.0, 0], [-1.0, 0]], np.float32), -span, span, near), episode_steps=6)


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
def test_their_environments_run_under_peg():
    """Over both bridges in one run, since most of it is the compilation of what PEG learns."""
    env = pendulum_through_brax()
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
    ours, theirs, key = cart(), Cart(), jax.random.key(3)

    @jax.jit
    def play(push):
        def step(states, _):
            obs, state, reward, terminated, info = ours.step_env(key, states[0], push, ours.default_params)
            their_state = theirs.step(states[1], push)
            expected = their_state.obs, their_state.reward, their_state.done
            return (state, their_state), ((obs, reward, terminated), expected, info)

        first, state = ours.reset_env(key, ours.default_params)
        their_state = theirs.reset(key)
        return first, their_state.obs, jax.lax.scan(step, (state, their_state), length=30)

    first, their_first, ((state, _), (found, expected, info)) = play(jnp.ones(1))
    np.testing.assert_array_equal(first, their_first)
    for ours_one, theirs_one in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours_one, theirs_one)
    assert found[2].dtype == bool and found[2].any() and not found[2].all()
    assert info["metric_success"].dtype == bool and int(state.time) == 30


def test_goals_of_another_size_are_refused():
    env, params, _ = pendulum()
    goals = Goals(np.zeros((1, 2), np.float32), np.zeros(2), np.ones(2), near)
    with pytest.raises(ValueError, match=r"of shape \(3,\), but they have \(2,\)"):
        from_gymnax(env, params, goals, 5)


def test_braxs_wrappers_take_ours():
    """Episodes, their ends and brax's automatic reset, in several worlds of the C engine."""
    env = BraxEnvironment(envs.make("walker", physics="mujoco")[0])
    wrapped = brax_training.wrap(env, episode_length=3)
    assert (env.observation_size, env.action_size) == (18, 6)
    state = jax.jit(wrapped.reset)(jax.random.split(jax.random.PRNGKey(0), 4))  # brax counts on keys of the old type
    first, step, done = state.obs, jax.jit(wrapped.step), []
    for _ in range(3):
        state = step(state, jnp.zeros((4, 6)))
        done.append(np.asarray(state.done))
    np.testing.assert_array_equal(done, [[0] * 4, [0] * 4, [1] * 4])
    np.testing.assert_array_equal(state.obs, first)
    assert np.all(np.asarray(state.reward) < -1) and np.unique(np.asarray(first), axis=0).shape[0] == 4


def replicate(tree, devices):
    return jax.tree.map(lambda x: jnp.stack([x] * len(devices)), tree)


@pytest.mark.slow
def test_braxs_ppo_trains_on_the_walker(monkeypatch):
    # brax 0.14.2 calls a function that the jax of our constraints no longer has.
    monkeypatch.setattr(jax, "device_put_replicated", replicate, raising=False)
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
