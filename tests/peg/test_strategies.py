"""Goal strategies and the planner's objectives (peg.md sections 4, 5 and 10; traps T6, T7 and T17)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array, Key
from peg_jax.peg import agent, density, rollout, training, world_model
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.goals import GoalContext, StrategyState
from peg_jax.peg.methods import METHODS
from peg_jax.peg.planner import GoalDistribution
from peg_jax.peg.strategies import planned as planned_module
from peg_jax.peg.strategies.planned import PlannedGoals
from tests.peg import tiny

TASK = tiny.make_dot()
HORIZON = 4
OUTLIER = jnp.array([1.9, -1.9])


def new_agent(key: Key) -> AgentState:
    return agent.init(tiny.agent_config(), tiny.spec(), key)


@pytest.fixture(scope="module")
def state() -> AgentState:
    return jax.jit(new_agent)(jax.random.key(0))


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
def planned() -> PlannedGoals:
    """A plan whose Gaussian lies at the corner of the bounds."""
    corner = GoalDistribution(jnp.array([2.0, 0.0]), jnp.array([0.5, 0.1]))
    return dataclasses.replace(planned_module.init(TASK, tiny.config()), distribution=corner)


def choose(context: GoalContext, state: StrategyState, method: str = "peg", count: int = 2000) -> np.ndarray:
    return np.asarray(METHODS[method].strategy.choose(context, state, jax.random.key(3), count))


def test_planned_goals_follow_the_distribution_unclipped(context: GoalContext, planned: PlannedGoals) -> None:
    drawn = choose(context, planned)
    np.testing.assert_allclose(drawn.mean(axis=0), [2.0, 0.0], atol=5 * 0.5 / 2000**0.5)
    assert 0.4 < (drawn[:, 0] > 2.0).mean() < 0.6


def test_clip_goals_keeps_them_inside_the_bounds(context: GoalContext, planned: PlannedGoals) -> None:
    drawn = choose(with_planner(context, clip_goals=True), planned)
    assert drawn.max() == 2.0
    assert 0.4 < (drawn[:, 0] == 2.0).mean() < 0.6


def test_where_the_planner_only_evaluates_each_episode_draws_an_elite_of_its_own(
    context: GoalContext, planned: PlannedGoals
) -> None:
    elites = dataclasses.replace(
        planned, elites=jnp.array([[1.0, 2.0], [-1.0, 0.5]]), elite_fitness=jnp.array([3.0, 1.0])
    )
    drawn = choose(with_planner(context, evaluate_only=True), elites)
    assert {tuple(goal) for goal in drawn.tolist()} == {(1.0, 2.0), (-1.0, 0.5)}
    np.testing.assert_allclose((drawn[:, 0] == 1.0).mean(), 0.75, atol=5 * 0.43 / 2000**0.5)


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_env_goal_chance_is_the_share_of_the_environments_own_goals(
    context: GoalContext, planned: PlannedGoals, chance: float
) -> None:
    drawn = choose(with_planner(context, env_goal_chance=chance), planned)
    own = (drawn[:, 0] == 1.0).mean()  # the environment's goals lie on the line x = 1
    assert own == pytest.approx(chance, abs=5 * (chance * (1 - chance) / 2000) ** 0.5)


def test_random_goals_fill_the_bounds(context: GoalContext, planned: PlannedGoals) -> None:
    drawn = choose(context, planned, "random_goals")
    assert -2.0 <= drawn.min() < -1.95
    assert 1.95 < drawn.max() <= 2.0
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=5 * 4 / 12**0.5 / 2000**0.5)


def test_env_goals_are_the_environments(context: GoalContext, planned: PlannedGoals) -> None:
    np.testing.assert_array_equal(choose(context, planned, "env_goals")[:, 0], 1.0)


def stored_states(context: GoalContext) -> np.ndarray:
    return np.asarray(context.replay_state.experience.obs)[:, :2].reshape(-1, 2)  # two of five slots are filled


def test_lexa_goals_are_stored_states_and_every_record_is_drawn(context: GoalContext) -> None:
    drawn = choose(context, (), "lexa")
    records = {tuple(record) for record in stored_states(context).tolist()}
    assert {tuple(goal) for goal in drawn.tolist()} == records  # 28 records, 2,000 draws


def test_lexa_by_chunk_starts_only_draws_where_a_training_sequence_can_start(context: GoalContext) -> None:
    """Trap T7: sequences of 4 in episodes of 7 records start at 0..3; the outlier, record 3, can be drawn."""
    drawn = choose(context, (), "lexa_chunk_starts")
    starts = np.asarray(context.replay_state.experience.obs)[:, :2, :4].reshape(-1, 2)
    assert {tuple(goal) for goal in drawn.tolist()} == {tuple(start) for start in starts.tolist()}


@pytest.fixture(scope="module")
def fitted(context: GoalContext) -> density.Density:
    strategy = METHODS["mega"].strategy
    return jax.jit(lambda key: strategy.refresh(context, strategy.init(TASK, context.config), key))(jax.random.key(0))


def test_mega_goals_are_the_rarest_state(context: GoalContext, fitted: density.Density) -> None:
    drawn = np.asarray(jax.jit(lambda key: METHODS["mega"].strategy.choose(context, fitted, key, 5))(jax.random.key(1)))
    np.testing.assert_array_equal(drawn, np.broadcast_to(OUTLIER, (5, 2)))


def test_skewfit_draws_in_inverse_proportion_to_density(context: GoalContext, fitted: density.Density) -> None:
    """Drawn uniformly and then by 1 / density, each of the 28 records is as likely as its 1 / density."""
    records = stored_states(context)
    share = np.asarray(jax.nn.softmax(-density.log_density(fitted, jnp.asarray(records))))
    drawn = choose(context, fitted, "skewfit", 4000)
    frequency = (drawn[:, None] == records).all(axis=-1).mean(axis=0)
    np.testing.assert_allclose(frequency, share, atol=0.04)
    outlier = (drawn == np.asarray(OUTLIER)).all(axis=1).mean()
    assert outlier > 2 / len(records)  # uniform draws would give 1 / 28


@pytest.mark.parametrize("method", METHODS)
def test_every_strategy_keeps_its_shapes_and_works_for_many_seeds(context: GoalContext, method: str) -> None:
    """Seeds of their own agents and replays; a lane has the goals that it would have alone."""
    strategy = METHODS[method].strategy
    before = strategy.init(TASK, context.config)

    def one(key: Key, shift: Array) -> tuple[StrategyState, Array]:
        experience = context.replay_state.experience
        experience = dataclasses.replace(experience, obs=experience.obs + shift)
        replay_state = dataclasses.replace(context.replay_state, experience=experience)
        seen = context._replace(agent=new_agent(key), replay_state=replay_state)
        state = strategy.refresh(seen, before, key)
        return state, strategy.choose(seen, state, key, 3)

    keys, shifts = jax.random.split(jax.random.key(0), 2), jnp.array([0.0, 0.1])
    state, goals = jax.jit(jax.vmap(one))(keys, shifts)
    assert goals.shape == (2, 3, 2)
    assert jax.tree.map(lambda x: (2, *x.shape), before) == jax.tree.map(lambda x: x.shape, state)
    assert not np.allclose(goals[0], goals[1])
    _, alone = jax.jit(one)(keys[1], shifts[1])
    np.testing.assert_allclose(goals[1], alone, atol=1e-4)


# --- seeds ---


def test_replay_seeds_are_stored_states(context: GoalContext) -> None:
    seeds = planned_module.seed_candidates(with_planner(context, seed_replay=0.8), jax.random.key(0))
    assert seeds.shape == (8, 2)
    stored = np.asarray(context.replay_state.experience.obs).reshape(-1, 2)
    assert all(any((seed == record).all() for record in stored) for seed in np.asarray(seeds))
    assert len(np.unique(seeds, axis=0)) > 1


def test_seed_shares_add_up_in_order(context: GoalContext) -> None:
    mixed = with_planner(context, seed_replay=0.2, seed_env_goals=0.5)
    seeds = planned_module.seed_candidates(mixed, jax.random.key(0))
    assert seeds.shape == (7, 2)
    assert (seeds[:, 0] == 1.0).tolist() == [False] * 2 + [True] * 5
    assert planned_module.seed_candidates(context, jax.random.key(0)).shape == (0, 2)


def test_mega_seeds_are_the_rarest_states(context: GoalContext) -> None:
    seed = jax.jit(lambda key: planned_module.seed_candidates(with_planner(context, seed_mega=0.1), key))
    np.testing.assert_array_equal(seed(jax.random.key(0)), OUTLIER[None])


def test_a_plan_ranks_the_candidates_that_it_is_seeded_with(context: GoalContext) -> None:
    seeded = with_planner(context, evaluate_only=True, seed_replay=1.0, elite_ratio=1.0)
    strategy = METHODS["peg"].strategy
    plan = jax.jit(lambda key: strategy.refresh(seeded, strategy.init(TASK, seeded.config), key))(jax.random.key(0))
    stored = {tuple(record) for record in stored_states(context).tolist()}
    assert {tuple(goal) for goal in plan.elites.tolist()} <= stored
    assert bool((jnp.diff(plan.elite_fitness) <= 0).all())


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
        start = planned_module.start_latent(nets, rigged, config, jnp.zeros(2), key)
        return planned_module.exploration_fitness(TASK, config, rigged, start)(jnp.eye(2), key)

    np.testing.assert_allclose(score(jax.random.key(0)), expected, rtol=1e-5)


def test_rarity_fitness_pays_for_imagined_states_that_the_replay_lacks(context: GoalContext) -> None:
    """Rigged to decode one place everywhere; the fitness is a sum over the last steps."""
    start = planned_module.start_latent(
        agent.make_networks(context.config.agent, tiny.spec()),
        context.agent,
        context.config,
        jnp.zeros(2),
        jax.random.key(0),
    )

    @jax.jit
    def score(place: Array) -> Array:
        decoder = context.agent.world_model.params["decoder"]["params"]
        out = {"kernel": jnp.zeros_like(decoder["out"]["kernel"]), "bias": place}
        params = context.agent.world_model.params | {"decoder": {"params": decoder | {"out": out}}}
        rigged = context._replace(agent=tiny.replace(context.agent, "world_model.params", params))
        fitness = planned_module.rarity_fitness(rigged, start, jax.random.key(1))
        return fitness(jnp.zeros((2, 2)), jax.random.key(2))

    often, rarely = score(jnp.zeros(2)), score(jnp.array([-1.9, 1.9]))
    assert often.shape == (2,)
    assert (rarely > often + 10).all()
    points = context.sample_states(jax.random.key(1), 10_000)
    expected = -2 * density.log_density(density.fit(points), jnp.zeros((1, 2)))[0]  # final_steps = 2
    np.testing.assert_allclose(often, expected, rtol=1e-4)


@pytest.mark.parametrize("acting", [0, 4])
def test_the_imagined_achiever_acts_as_the_real_one(acting: int, state: AgentState) -> None:
    """One step: the action is that of a real Go phase from there, the best of several where they are compared."""
    config = tiny.replace(tiny.replace(tiny.config(), "agent.reaching.enabled", True), "agent.reaching.acting", acting)
    config = tiny.replace(config, "planner.horizon", 1)
    nets, key = agent.make_networks(config.agent, tiny.spec()), jax.random.key(3)
    start = planned_module.start_latent(nets, state, config, jnp.zeros(2), jax.random.key(0))
    way = planned_module.imagine_go_phase(TASK, config, state, start, jnp.eye(2), key)
    action_key, _ = jax.random.split(jax.random.split(key, 1)[0])
    goal = world_model.encode(nets, state.model, jnp.eye(2))
    real = agent.make_achiever(config.agent, nets, state, goal, evaluated=False)
    expected = real(jnp.broadcast_to(start.feature, (2, start.feature.shape[-1])), action_key)
    np.testing.assert_allclose(way.last_action, expected, atol=1e-6)
