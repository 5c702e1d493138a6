"""Evaluation: success over time, per goal (peg.md sections 2.8 and 8)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.peg import agent, evaluation
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.evaluation import Evaluation
from tests.peg import tiny

TASK = tiny.make_dot(steps=8)
REPEATS = 3


def evaluate(config: PEGConfig) -> Evaluation:
    """An achiever that always moves right: goal (1, 0) comes near, goal (0, 0) is near at once."""

    @jax.jit
    def run(key: jax.Array) -> Evaluation:
        state = agent.init(config.agent, tiny.spec(), key)
        params = state.achiever.actor.params["params"]
        out = {"kernel": jnp.zeros_like(params["out"]["kernel"]), "bias": jnp.array([20.0, 0.0, 0.0, 0.0])}
        state = tiny.replace(state, "achiever.actor.params", {"params": params | {"out": out}})
        return evaluation.evaluate(TASK, config, state, key, repeats=REPEATS)

    return run(jax.random.key(0))


@pytest.fixture(scope="module")
def evaluated() -> Evaluation:
    return evaluate(tiny.config())


def test_the_control_acts_at_random_in_the_same_episodes(evaluated: Evaluation) -> None:
    control = jax.jit(lambda key: evaluation.evaluate_random(TASK, key, REPEATS))(jax.random.key(0))
    np.testing.assert_array_equal(control.obs[0], evaluated.obs[0])
    np.testing.assert_array_equal(control.goal, evaluated.goal)
    moves = np.diff(control.obs, axis=0)
    assert np.abs(moves).max() <= 0.1 + 1e-6
    assert (np.abs(moves.mean(axis=(0, 1))) < 0.05).all()  # 16 moves: 3.5 deviations of their mean
    assert 0.04 < moves.std() < 0.08  # uniform actions have 0.1 / sqrt(3)


def test_the_modes_are_executed_and_the_trajectories_kept(evaluated: Evaluation) -> None:
    assert evaluated.obs.shape == (9, 2, 2)
    np.testing.assert_allclose(
        jnp.diff(evaluated.obs, axis=0), jnp.broadcast_to(jnp.array([0.1, 0.0]), (8, 2, 2)), atol=1e-5
    )
    np.testing.assert_array_equal(evaluated.goal, [[1.0, 0.0], [0.0, 0.0]])


def test_the_best_of_several_actions_is_executed_where_the_achiever_counts_steps() -> None:
    config = tiny.replace(tiny.replace(tiny.config(), "agent.reaching.enabled", True), "agent.reaching.acting", 4)
    moves = np.diff(evaluate(config).obs, axis=0)
    assert moves.shape == (8, 2, 2) and np.all(np.abs(moves) <= 0.1 + 1e-6)
    assert moves[..., 1].std() > 0.005  # the mode is always to the right


def test_success_is_the_maximum_over_time(evaluated: Evaluation) -> None:
    np.testing.assert_array_equal(evaluated.success["near"], [1.0, 1.0])
    assert all(0.0 <= float(x) <= 1.0 for x in evaluated.success["success"])
    assert float(evaluated.success["success"][0]) == 0.0  # 0.8 to the right is not yet at 1


def test_steps_count_to_the_first_success_or_the_whole_episode() -> None:
    held = jnp.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])[..., None] * jnp.ones(2)
    goal = jnp.zeros((2, 2))
    visited = jnp.where(held > 0, 0.0, 2.0)  # at the goal, or far from it; [3 steps, 2 episodes, 2]
    result = evaluation._summarise(TASK, jnp.zeros((2, 2)), visited, -held[..., 0], goal, 2)
    np.testing.assert_array_equal(result.steps, [2.0, 1.0])
    np.testing.assert_array_equal(result.success["success"], [1.0, 1.0])
    np.testing.assert_array_equal(result.closest, [0.0, 0.0])
    np.testing.assert_array_equal(result.reward, [-2.0, -2.0])  # what each step paid, summed
    never = evaluation._summarise(TASK, jnp.zeros((2, 2)), jnp.full((3, 2, 2), 2.0), -held[..., 0], goal, 2)
    np.testing.assert_array_equal(never.steps, [3.0, 3.0])  # starting at the goal does not count
    np.testing.assert_allclose(never.closest, 2 * np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(never.success["success"], [0.0, 0.0])


def test_repeats_are_averaged_goal_by_goal() -> None:
    np.testing.assert_array_equal(evaluation._per_goal(jnp.array([1.0, 0.0, 0.0, 0.0]), 2), [0.5, 0.0])


def test_metrics_carry_the_originals_names(evaluated: Evaluation) -> None:
    metrics = evaluation.evaluation_metrics(evaluated)
    assert float(metrics["max_eval_metric_near/goal_all"]) == 1.0
    assert float(metrics["max_eval_metric_success/goal_0"]) == 0.0
    ours = ("eval_closest", "sum_eval_metric_reward")
    expected = {"eval_length"} | {f"{name}/goal_{goal}" for name in ours for goal in (0, 1, "all")}
    expected |= {f"max_eval_metric_{name}/goal_{goal}" for name in ("success", "near") for goal in (0, 1, "all")}
    assert set(metrics) == expected
