"""The agent that knows only the gymnax API, which learns on Point Maze, acts and trains in bodies as well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

import envs
from tests.envs import test_point_maze_generic_agent as agent


@pytest.mark.slow
@pytest.mark.parametrize("name", ["walker", "ant_maze"])
def test_an_agent_that_knows_only_gymnax_trains_on_bodies(name, monkeypatch):
    """A few updates; dealing the rewards out anew changes what the walker does, but not before the first of them."""
    env, params = envs.make(name, physics="mujoco", goal_in_observation=True)
    # The agent scales what it sees by its bounds. Bodies have none; those of the planner will do.
    low, high = (jnp.tile(bound, 2) for bound in (env.goal_low, env.goal_high))
    monkeypatch.setattr(env, "observation_space", lambda _: spaces.Box(low, high, low.shape, jnp.float32))
    for constant, value in {"LANES": 8, "STEPS": 10, "UPDATES": 4}.items():
        monkeypatch.setattr(agent, constant, value)
    reward, again, control = (
        np.asarray(agent.train(jax.random.key(0), env, params, shuffle)) for shuffle in (False, False, True)
    )
    assert reward.shape == (4,) and np.isfinite(reward).all() and (reward < 0).all()
    np.testing.assert_array_equal(reward, again)
    assert reward[0] == control[0]
    assert name != "walker" or (reward[1:] != control[1:]).all()
