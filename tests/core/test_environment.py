"""What the agents read off an environment. The environments here show that nothing but the methods is asked of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from peg_jax.core.environment import make_task


class Box(NamedTuple):
    low: Any
    high: Any
    shape: tuple[int, ...]


class Discrete(NamedTuple):
    n: int


class Params(NamedTuple):
    max_steps_in_episode: int = 7


class Spaces:
    """The part of an environment that `make_task` looks at."""

    def __init__(self, actions: Any) -> None:
        self.actions = actions

    def action_space(self, params: Params) -> Any:
        return self.actions

    def observation_space(self, params: Params) -> Box:
        return Box(-1.0, 1.0, (3,))

    def goal_space(self, params: Params) -> Box:
        return Box(-2.0, jnp.array([1.0, 2.0, 3.0]), (3,))


def test_sizes_and_bounds_are_read_once() -> None:
    task = make_task(Spaces(Box(jnp.array([-1.0, 0.0]), jnp.array([1.0, 10.0]), (2,))), Params())
    assert (task.episode_steps, task.obs_size, task.action_size, task.discrete) == (7, 3, 2, False)
    np.testing.assert_array_equal(task.goal_low, [-2.0, -2.0, -2.0])
    np.testing.assert_array_equal(task.goal_high, [1.0, 2.0, 3.0])


def test_continuous_actions_are_stretched_to_the_bounds() -> None:
    task = make_task(Spaces(Box(jnp.array([-1.0, 0.0]), jnp.array([1.0, 10.0]), (2,))), Params())
    actions = jax.vmap(task.env_action)(jnp.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [0.5, -0.5]]))
    np.testing.assert_allclose(actions, [[-1.0, 0.0], [0.0, 5.0], [1.0, 10.0], [0.5, 2.5]])


def test_one_hot_actions_become_indices() -> None:
    task = make_task(Spaces(Discrete(4)), Params())
    assert (task.action_size, task.discrete) == (4, True)
    np.testing.assert_array_equal(jax.vmap(task.env_action)(jnp.eye(4)), [0, 1, 2, 3])
