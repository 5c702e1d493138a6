"""Environments by name."""

import jax
import pytest

import envs
from envs.base import ExplorationEnvironment, GoalEnvironment

TO_EXPLORE = [name for name in envs.registered() if not envs.has_goals(name)]


@pytest.mark.parametrize("name", TO_EXPLORE)
def test_environments_without_goals_are_to_be_explored(name):
    env, params = envs.make(name)
    assert isinstance(env, ExplorationEnvironment)
    obs, state = jax.eval_shape(env.reset_env, jax.random.key(0), params)
    assert (obs.shape, obs.dtype) == (env.observation_space(params).shape, env.observation_space(params).dtype)
    action = env.action_space(params).sample(jax.random.key(0))
    assert env.num_actions == (action.size if action.ndim else env.action_space(params).n)
    after = jax.eval_shape(
        lambda: env.step(jax.random.key(0), env.reset_env(jax.random.key(0), params)[1], action, params)
    )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after[1]) == jax.tree.map(lambda x: (x.shape, x.dtype), state)


@pytest.mark.parametrize("name", sorted(set(envs.registered()) - set(TO_EXPLORE)))
def test_make_gives_an_environment_that_resets(name):
    env, params = envs.make(name)
    assert isinstance(env, GoalEnvironment)
    obs, state = env.reset(jax.random.key(0), params)
    assert env.observation_space(params).contains(obs)
    assert env.desired_goal(state).shape == env.goal_space(params).shape
    goals = env.eval_goals(params)
    assert len(env.eval_goal_names) == len(goals)
    assert sorted(index for group in env.goal_groups.values() for index in group) == list(range(len(goals)))


def test_options_reach_the_constructor():
    env, params = envs.make("point_maze", goal_in_observation=True)
    assert env.observation_space(params).shape == (4,)
    with pytest.raises(TypeError, match="no_such_option"):
        envs.make("point_maze", no_such_option=1)


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(
        ValueError, match=r"unknown environment 'point-maze'. Did you mean 'point_maze'\? Known: .*point_maze"
    ):
        envs.make("point-maze")
    with pytest.raises(ValueError, match=r"unknown environment 'zzz'. Known: "):
        envs.make("zzz")


def test_the_protocol_cannot_be_left_half_done():
    class Half(GoalEnvironment):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half()
