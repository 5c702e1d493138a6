"""Goal strategies and PEG's objective (peg.md sections 4 and 5; traps T6 and T17)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array, Key
from peg_jax.peg import agent, goals, rollout, training
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.goals import STRATEGIES, GoalContext, GoalState
from peg_jax.peg.planner import GoalDistribution
from tests.peg import tiny

TASK = tiny.make_dot()
HORIZON = 4
OUTLIER = jnp.array([1.9, -1.9])


@pytest.fixture(scope="module")
def state() -> AgentState:
    return jax.jit(lambda key: agent.init(tiny.agent_config(), tiny.spec(), key))(jax.random.key(0))


@pytest.fixture(scope="module")
def context(state: AgentState) -> GoalContext:
    """Four random episodes, in one of which an outlier was seen."""
    config = tiny.config()
    replay = training.build_replay(TASK, config)

    @jax.jit
    def fill(key: Key) -> Any:
        first, second = (rollout.random_episodes(TASK, 2, k) for k in jax.random.split(key))
        one = jax.tree.map(lambda x: x[0], first)
        first = dataclasses.replace(first, obs=first.obs.at[0, 3].set(OUTLIER))
        return replay.insert(replay.insert(replay.init(jax.tree.map(jnp.zeros_like, one)), first), second)

    return GoalContext(TASK, config, state, replay, fill(jax.random.key(1)), jnp.zeros((2, 2)))


def with_planner(context: GoalContext, **changes: Any) -> GoalContext:
    planner = dataclasses.replace(context.config.planner, **changes)
    return context._replace(config=dataclasses.replace(context.config, planner=planner))


@pytest.fixture
def planned() -> GoalState:
    """A plan whose Gaussian lies at the corner of the bounds."""
    corner = GoalDistribution(jnp.array([2.0, 0.0]), jnp.array([0.5, 0.1]))
    return dataclasses.replace(goals.init_goal_state(TASK, tiny.config().planner), distribution=corner)


def choose(context: GoalContext, state: GoalState, method: str = "peg", count: int = 2000) -> np.ndarray:
    return np.asarray(STRATEGIES[method].choose(context, state, jax.random.key(3), count))


def test_planned_goals_follow_the_distribution_unclipped(context: GoalContext, planned: GoalState) -> None:
    drawn = choose(context, planned)
    np.testing.assert_allclose(drawn.mean(axis=0), [2.0, 0.0], atol=5 * 0.5 / 2000**0.5)
    assert 0.4 < (drawn[:, 0] > 2.0).mean() < 0.6


def test_clip_goals_keeps_them_inside_the_bounds(context: GoalContext, planned: GoalState) -> None:
    drawn = choose(with_planner(context, clip_goals=True), planned)
    assert drawn.max() == 2.0
    assert 0.4 < (drawn[:, 0] == 2.0).mean() < 0.6


def test_where_the_planner_only_evaluates_each_episode_draws_an_elite_of_its_own(
    context: GoalContext, planned: GoalState
) -> None:
    elites = dataclasses.replace(
        planned, elites=jnp.array([[1.0, 2.0], [-1.0, 0.5]]), elite_fitness=jnp.array([3.0, 1.0])
    )
    drawn = choose(with_planner(context, evaluate_only=True), elites)
    assert {tuple(goal) for goal in drawn.tolist()} == {(1.0, 2.0), (-1.0, 0.5)}
    np.testing.assert_allclose((drawn[:, 0] == 1.0).mean(), 0.75, atol=5 * 0.43 / 2000**0.5)


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_env_goal_chance_is_the_share_of_the_environments_own_goals(
    context: GoalContext, planned: GoalState, chance: float
) -> None:
    drawn = choose(with_planner(context, env_goal_chance=chance), planned)
    own = (drawn[:, 0] == 1.0).mean()  # the environment's goals lie on the line x = 1
    assert own == pytest.approx(chance, abs=5 * (chance * (1 - chance) / 2000) ** 0.5)


def test_random_goals_fill_the_bounds(context: GoalContext, planned: GoalState) -> None:
    drawn = choose(context, planned, "random_goals")
    assert -2.0 <= drawn.min() < -1.95
    assert 1.95 < drawn.max() <= 2.0
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=5 * 4 / 12**0.5 / 2000**0.5)


def test_env_goals_are_the_environments(context: GoalContext, planned: GoalState) -> None:
    np.testing.assert_array_equal(choose(context, planned, "env_goals")[:, 0], 1.0)


def test_strategies_that_do_not_plan_keep_their_state(context: GoalContext, planned: GoalState) -> None:
    for method in ("random_goals", "env_goals"):
        assert STRATEGIES[method].refresh(context, planned, jax.random.key(0)) is planned


# --- seeds ---


def test_replay_seeds_are_stored_states(context: GoalContext) -> None:
    seeds = goals.seed_candidates(with_planner(context, seed_replay=0.8), jax.random.key(0))
    assert seeds.shape == (8, 2)
    stored = np.asarray(context.replay_state.experience.obs).reshape(-1, 2)
    assert all(any((seed == record).all() for record in stored) for seed in np.asarray(seeds))
    assert len(np.unique(seeds, axis=0)) > 1


def test_seed_shares_add_up_in_order(context: GoalContext) -> None:
    mixed = with_planner(context, seed_replay=0.2, seed_env_goals=0.5)
    seeds = goals.seed_candidates(mixed, jax.random.key(0))
    assert seeds.shape == (7, 2)
    assert (seeds[:, 0] == 1.0).tolist() == [False] * 2 + [True] * 5
    assert goals.seed_candidates(context, jax.random.key(0)).shape == (0, 2)


def test_mega_seeds_are_the_rarest_states(context: GoalContext) -> None:
    seed = jax.jit(lambda key: goals.seed_candidates(with_planner(context, seed_mega=0.1), key))
    np.testing.assert_array_equal(seed(jax.random.key(0)), OUTLIER[None])


# --- fitness ---


def disagreeing(state: AgentState, spread: float) -> AgentState:
    """An ensemble of three whose predictions have standard deviation `spread` everywhere."""
    out = state.disagreement.params["params"]["out"]
    offsets = spread * jnp.sqrt(1.5) * jnp.array([-1.0, 0.0, 1.0])[:, None]
    constant = {"kernel": jnp.zeros_like(out["kernel"]), "bias": offsets + jnp.zeros_like(out["bias"])}
    return tiny.replace(
        state, "disagreement.params", {"params": state.disagreement.params["params"] | {"out": constant}}
    )


def valued(state: AgentState, value: float) -> AgentState:
    """An explorer whose slow critic says `value` everywhere."""
    critic = state.explorer.slow_critic["params"]
    out = {"kernel": jnp.zeros_like(critic["out"]["kernel"]), "bias": jnp.array([value])}
    return tiny.replace(state, "explorer.slow_critic", {"params": critic | {"out": out}})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"use_value": False}, 0.2 * (HORIZON + 1)),  # all H + 1 latents are paid for
        ({"final_steps": 1}, 0.2 + 0.9 * 3.0),  # r + gamma v, with the planner's own discount
        ({"final_steps": 0, "discount": 0.0}, 0.2 * HORIZON),
    ],
    ids=["rewards", "last return", "all returns"],
)
def test_exploration_fitness_reads_disagreement_and_slow_value(
    state: AgentState, changes: dict[str, Any], expected: float
) -> None:
    rigged = valued(disagreeing(state, 0.2), 3.0)
    config: PEGConfig = tiny.config()
    config = dataclasses.replace(config, planner=dataclasses.replace(config.planner, **{"discount": 0.9} | changes))

    @jax.jit
    def score(key: Key) -> Array:
        nets = agent.make_networks(config.agent, tiny.spec())
        start = goals.start_latent(nets, rigged, config, jnp.zeros(2), key)
        return goals.exploration_fitness(TASK, config, rigged, start)(jnp.eye(2), key)

    np.testing.assert_allclose(score(jax.random.key(0)), expected, rtol=1e-5)
