"""Goal search: fitness, refits, bounds, seeds (conformance tests 13, 14, 15, 25; traps T6, T9, T17)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.returns import lambda_return
from peg_jax.core.types import Array, Key
from peg_jax.peg import planner
from peg_jax.peg.config import PlannerConfig
from peg_jax.peg.planner import GoalDistribution, Plan

NO_SEEDS = jnp.zeros((0, 2))
LOW, HIGH = jnp.zeros(2), jnp.full(2, 10.0)


# --- 13: fitness ---

REWARD = 0.1 * jnp.arange(13.0)[:, None]
VALUE = jnp.ones((12, 1))


def test_lambda_returns_of_the_worked_go_phase() -> None:
    returns = lambda_return(REWARD[:12], VALUE, 0.99, 0.95)[:, 0]
    np.testing.assert_allclose(returns[jnp.array([0, 1, 10, 11])], [5.0943137, 5.36396991, 3.015145, 2.09], rtol=1e-6)


@pytest.mark.parametrize(
    ("final_steps", "use_value", "expected"),
    [(10, True, 45.73159822), (0, True, 56.18988182), (12, True, 56.18988182), (10, False, 7.8)],
)
def test_goal_fitness(final_steps: int, use_value: bool, expected: float) -> None:
    config = PlannerConfig(horizon=12, discount=0.99, final_steps=final_steps, use_value=use_value)
    reward = REWARD[:12] if use_value else REWARD  # the plain sum has all H + 1 rewards
    assert float(planner.goal_fitness(reward, VALUE, config)[0]) == pytest.approx(expected, rel=1e-6)


# --- 14: refits ---

CANDIDATES = jnp.arange(10.0)[:, None]
FITNESS = -jnp.square(CANDIDATES[:, 0] - 6.2)


def test_cem_refit_takes_6_and_7() -> None:
    fitted = planner.refit_cem(CANDIDATES, FITNESS, planner.elite_count(PlannerConfig(candidates=10, elite_ratio=0.2)))
    assert float(fitted.mean[0]) == 6.5
    assert float(fitted.std[0]) == pytest.approx(0.500001, abs=1e-6)


@pytest.mark.parametrize(
    ("gamma", "mean", "std"),
    [(2.0, 6.17860694, 0.48849129), (10.0, 6.00247179, 0.04967233), (0.1, 5.89063795, 1.94002011)],
)
def test_mppi_refit(gamma: float, mean: float, std: float) -> None:
    fitted = planner.refit_mppi(CANDIDATES, FITNESS, gamma)
    assert float(fitted.mean[0]) == pytest.approx(mean, rel=1e-6)
    assert float(fitted.std[0]) == pytest.approx(std, rel=1e-4)


def test_mppi_deviation_collapses_without_a_floor_and_stops_at_one() -> None:
    fitness = 1e4 * FITNESS
    bare = planner.refit(CANDIDATES, fitness, PlannerConfig(kind="mppi"))
    floored = planner.refit(CANDIDATES, fitness, PlannerConfig(kind="mppi", min_std=0.3))
    assert (float(bare.std[0]), float(floored.std[0])) == (0.0, pytest.approx(0.3))
    assert float(bare.mean[0]) == float(floored.mean[0]) == 6.0


# --- 15: end to end ---

REPETITIONS = 200
# The bands are mean +- deviation over 200 repetitions of a reference; ours are 200 more. The difference of the two
# means has a standard error of deviation * sqrt(2 / 200). We allow four, and half a unit of the last digit printed.
STANDARD_ERRORS = 4 * (2 / REPETITIONS) ** 0.5


def quadratic(goals: Array, key: Key) -> Array:
    del key
    return -jnp.square(goals - jnp.array([7.0, 3.0])).sum(axis=-1)


@pytest.fixture(scope="module", params=["cem", "mppi"])
def repeated(request: pytest.FixtureRequest) -> tuple[str, Plan]:
    config = PlannerConfig(kind=request.param, candidates=500, iterations=5, elite_ratio=0.2, temperature=2.0)
    start = GoalDistribution(jnp.zeros(2), jnp.full(2, 4.0))

    def one(key: Key) -> Plan:
        return planner.search(quadratic, start, LOW, HIGH, NO_SEEDS, key, config)

    return request.param, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), REPETITIONS))


BANDS = {  # kind -> iteration -> field -> (means, deviations over repetitions or None where none is stated, digit)
    "cem": {
        1: {"mean": ([5.43, 1.48], [0.26, 0.19], 0.01), "std": ([1.79, 1.83], None, 0.01)},
        5: {"mean": ([6.9993, 3.0], [0.0035, 0.0035], 1e-4), "std": ([0.0307, 0.0306], [0.0044, 0.0041], 1e-4)},
    },
    "mppi": {
        1: {"mean": ([6.86, 2.92], [0.30, 0.27], 0.01)},
        5: {"mean": ([6.953, 2.970], [0.108, 0.111], 1e-3), "std": ([0.209, 0.210], [0.024, 0.026], 1e-3)},
    },
}


def test_end_to_end_bands(repeated: tuple[str, Plan]) -> None:
    kind, plan = repeated
    for iteration, fields in BANDS[kind].items():
        for field, (means, deviations, digit) in fields.items():
            runs = np.asarray(getattr(plan.history, field))[:, iteration - 1]
            spread = runs.std(axis=0)
            tolerance = STANDARD_ERRORS * np.asarray(spread if deviations is None else deviations) + digit / 2
            error = np.abs(runs.mean(axis=0) - np.asarray(means))
            assert (error < tolerance).all(), (iteration, field, runs.mean(axis=0), tolerance)
            if deviations is not None:
                # A sample deviation of 200 runs has a relative error near 1 / sqrt(400); two of them, four sigmas.
                # MPPI's first mean has heavier tails, hence the factor of two.
                np.testing.assert_allclose(spread, deviations, rtol=2 * 4 * (2 / 400) ** 0.5)


def test_candidates_are_clipped_before_they_are_scored(repeated: tuple[str, Plan]) -> None:
    _, plan = repeated
    assert float(plan.goals.min()) >= 0.0
    assert float(plan.goals.max()) <= 10.0


def test_the_plan_lists_its_last_candidates_best_first(repeated: tuple[str, Plan]) -> None:
    _, plan = repeated
    assert bool((plan.fitness[:, :-1] >= plan.fitness[:, 1:]).all())
    np.testing.assert_allclose(plan.fitness, quadratic(plan.goals, jax.random.key(0)), rtol=1e-6)
    np.testing.assert_array_equal(plan.history.mean[:, -1], plan.distribution.mean)


# --- seeds, repeats, evaluate_only ---


@partial(jax.jit, static_argnames=("fitness", "config"))
def search(fitness: planner.FitnessFn, seeds: Array, key: Key, config: PlannerConfig) -> Plan:
    size = seeds.shape[1]
    start = GoalDistribution(jnp.zeros(size), jnp.full(size, 0.1))
    return planner.search(fitness, start, jnp.full(size, -50.0), jnp.full(size, 50.0), seeds, key, config)


def test_seeds_are_scored_as_candidates_themselves() -> None:
    """Trap T6: the original kept only their mean, (0, 0) here, and never scored the seeds."""
    seeds = jnp.array([[7.0, 3.0], [-7.0, -3.0]])
    config = PlannerConfig(kind="cem", candidates=20, iterations=1, elite_ratio=0.05)
    plan = search(quadratic, seeds, jax.random.key(0), config)
    np.testing.assert_array_equal(plan.goals[0], seeds[0])
    assert float(plan.fitness[0]) == 0.0
    assert any((goal == seeds[1]).all() for goal in np.asarray(plan.goals))
    np.testing.assert_array_equal(plan.distribution.mean, seeds[0])
    unseeded = search(quadratic, NO_SEEDS, jax.random.key(0), config)
    assert float(unseeded.fitness[0]) < -40.0


def test_seeds_enter_only_the_first_iteration() -> None:
    seeds = jnp.full((20, 2), 30.0)
    plan = search(quadratic, seeds, jax.random.key(0), PlannerConfig(kind="cem", candidates=20, iterations=2))
    np.testing.assert_allclose(plan.history.mean[0], 30.0)
    assert not bool((plan.goals == 30.0).all(axis=-1).any())


def row_number(goals: Array, key: Key) -> Array:
    del key
    return jnp.arange(goals.shape[0], dtype=jnp.float32)


def first_coordinate(goals: Array, key: Key) -> Array:
    del key
    return goals[:, 0]


def test_repeat_samples_averages_the_rollouts_of_one_candidate() -> None:
    """Trap T9: four candidates thrice; the original would average {0,1,2}, {0,1,3}, {0,2,3}, {1,2,3}."""
    seeds = jnp.arange(4.0)[:, None]
    config = PlannerConfig(kind="cem", candidates=4, iterations=1, repeat_samples=3, elite_ratio=0.5)
    plan = search(first_coordinate, seeds, jax.random.key(0), config)
    np.testing.assert_array_equal(plan.fitness, [3.0, 2.0, 1.0, 0.0])
    np.testing.assert_array_equal(plan.goals[:, 0], [3.0, 2.0, 1.0, 0.0])
    # The mean of three different scores each: rows {0,1,2}, {3,4,5}, ... of the twelve.
    plan = search(row_number, seeds, jax.random.key(0), config)
    np.testing.assert_array_equal(plan.fitness, [10.0, 7.0, 4.0, 1.0])
    np.testing.assert_array_equal(plan.goals[:, 0], [3.0, 2.0, 1.0, 0.0])


def test_evaluate_only_scores_the_first_candidates_once() -> None:
    seeds = jnp.arange(1.0, 11.0)[:, None]
    config = PlannerConfig(kind="cem", candidates=10, iterations=5, elite_ratio=0.3, evaluate_only=True)
    plan = search(first_coordinate, seeds, jax.random.key(0), config)
    assert plan.history.mean.shape == (1, 1)
    np.testing.assert_array_equal(plan.goals[:, 0], jnp.arange(10.0, 0.0, -1.0))


def test_elites_are_drawn_in_proportion_to_their_scores() -> None:
    assert planner.elite_count(PlannerConfig(candidates=10, elite_ratio=0.3)) == 3
    scores = jnp.array([10.0, 9.0, 8.0])
    drawn = planner.draw_elites(scores[:, None], scores, jax.random.key(0), 5000)
    goals, counts = np.unique(np.asarray(drawn), return_counts=True)
    assert goals.tolist() == [8.0, 9.0, 10.0]
    np.testing.assert_allclose(counts / 5000, np.array([8, 9, 10]) / 27, atol=5 * 0.5 / 5000**0.5)


def test_scores_without_a_zero_of_their_own_are_counted_from_the_least() -> None:
    scores = jnp.array([-20.0, -19.0, -18.0])  # such as log densities
    drawn = planner.draw_elites(scores[:, None], scores, jax.random.key(0), 5000)
    shares = [float((drawn == score).mean()) for score in scores]
    np.testing.assert_allclose(shares, np.array([0, 1, 2]) / 3, atol=5 * 0.5 / 5000**0.5)


def test_a_share_is_not_one_candidate_less_by_rounding() -> None:
    assert planner.elite_count(PlannerConfig(candidates=100, elite_ratio=0.29)) == 29


def test_the_same_key_gives_the_same_plan_and_another_key_another() -> None:
    config = PlannerConfig(kind="mppi", candidates=20, iterations=2)
    plans = [search(quadratic, NO_SEEDS, jax.random.key(seed), config) for seed in (0, 0, 1)]
    for a, b in zip(jax.tree.leaves(plans[0]), jax.tree.leaves(plans[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert bool((plans[0].goals != plans[2].goals).any())


def test_drawn_goals_are_not_clipped_and_follow_the_distribution() -> None:
    goals = planner.sample_goals(
        GoalDistribution(jnp.array([9.0, 0.0]), jnp.array([4.0, 1.0])), jax.random.key(0), 20_000
    )
    assert float(goals[:, 0].max()) > 10.0
    np.testing.assert_allclose(goals.mean(axis=0), [9.0, 0.0], atol=5 * 4 / 20_000**0.5)
    np.testing.assert_allclose(goals.std(axis=0), [4.0, 1.0], rtol=0.03)
