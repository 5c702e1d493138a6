"""Go-Explore episodes (conformance tests 17 and 24)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.environment import Task
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array
from peg_jax.peg import agent, rollout
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import LoopConfig
from peg_jax.peg.rollout import RolloutState
from tests.peg import tiny

NEVER, ALWAYS = -1.0, 1e9  # thresholds that mean never, and that all predicted distances are below


def fresh(num_envs: int = 1) -> RolloutState:
    task = tiny.make_dot()
    obs, env_state = rollout.reset(task, num_envs, jax.random.key(0))
    return rollout.begin(task, tiny.agent_config(), obs, env_state, jnp.zeros((num_envs, tiny.SIZE)))


@pytest.mark.parametrize(
    ("steps", "fraction", "go", "explore"), [(50, 0.5, 26, 24), (150, 0.5, 76, 74), (500, 0.3, 151, 349)]
)
def test_a_goal_never_reached_gives_the_achiever_one_step_more_than_the_limit(
    steps: int, fraction: float, go: int, explore: int
) -> None:
    def step(state: RolloutState, _: None) -> tuple[RolloutState, Array]:
        acts_now = state.exploring[0]
        return rollout.switch(state, jnp.array([7.0]), round(fraction * steps), 5.0), acts_now

    finished, exploring = jax.jit(lambda s: jax.lax.scan(step, s, None, length=steps))(fresh())
    assert int((~exploring).sum()) == go
    assert int(exploring.sum()) == explore
    assert not exploring[:go].any()  # one switch, no way back
    assert int(finished.go_steps[0]) == go
    assert float(finished.go_distance[0]) == pytest.approx(7.0 * go)
    assert not finished.reached[0]


def test_below_the_threshold_after_step_1_the_explorer_acts_from_step_2_for_good() -> None:
    state = rollout.switch(fresh(3), jnp.array([4.99, 5.0, 5.01]), 25, 5.0)
    assert state.exploring.tolist() == [True, False, False]  # exactly equal does not switch
    assert state.reached.tolist() == [True, False, False]
    later = rollout.switch(state, jnp.array([9.0, 9.0, 4.0]), 25, 5.0)
    assert later.exploring.tolist() == [True, False, True]
    assert later.go_steps.tolist() == [1, 2, 2]
    np.testing.assert_allclose(later.go_distance, [4.99, 14.0, 9.01], rtol=1e-6)


def test_a_success_of_training_is_one_that_ever_held() -> None:
    """The dot's `near` is within 0.75, its `success` within 0.05; of two episodes one comes near, and leaves again."""
    places = jnp.array([[[2.0, 0.0], [2.0, 0.0]], [[0.5, 0.0], [2.0, 0.0]], [[2.0, 0.0], [2.0, 0.0]]])
    shares = rollout.achievements(tiny.make_dot(), places, jnp.zeros((2, 2)))
    assert {name: float(share) for name, share in shares.items()} == {
        "max_train_metric_success": 0.0,
        "max_train_metric_near": 0.5,
    }


def test_a_negative_threshold_never_counts_as_reached_though_predictions_are_unbounded() -> None:
    state = rollout.switch(fresh(), jnp.array([-5.0]), 25, NEVER)
    assert not state.reached[0] and not state.exploring[0]


def test_a_distance_below_the_threshold_in_the_explore_phase_is_no_success() -> None:
    state = dataclasses.replace(fresh(), exploring=jnp.array([True]))
    assert not rollout.switch(state, jnp.array([1.0]), 25, 5.0).reached[0]


def biased(params: dict, value: float) -> dict:
    """A policy that answers every state with about `value` (+-1) per dimension, at its least deviation."""
    out = params["params"]["out"]
    bias = jnp.concatenate([jnp.full(tiny.SIZE, 10.0 * value), jnp.full(tiny.SIZE, -40.0)])
    return {"params": params["params"] | {"out": {"kernel": jnp.zeros_like(out["kernel"]), "bias": bias}}}


@pytest.fixture(scope="module")
def telltale_agent() -> AgentState:
    """The achiever moves by about +1, the explorer by about -1."""
    state = jax.jit(lambda key: agent.init(tiny.agent_config(), tiny.spec(), key))(jax.random.key(0))

    def fixed(policy: Any, value: float) -> Any:
        return tiny.replace(policy, "actor.params", biased(policy.actor.params, value))

    return dataclasses.replace(state, achiever=fixed(state.achiever, 1.0), explorer=fixed(state.explorer, -1.0))


GOAL = jnp.array([[0.5, -0.5], [1.5, 0.0]])


@pytest.fixture(scope="module")
def run(telltale_agent: AgentState) -> Any:
    """`run(threshold) -> (final state, whole episodes)` of 50 steps with a Go phase of at most 25 (+ 1)."""
    task = tiny.make_dot(steps=50)

    @jax.jit
    def episodes(threshold: Array) -> tuple[RolloutState, Episode]:
        config = tiny.replace(tiny.config(), "loop.subgoal_threshold", threshold)
        obs, env_state = rollout.reset(task, 2, jax.random.key(1))
        start = rollout.begin(task, config.agent, obs, env_state, GOAL)
        state, records = rollout.advance(task, config, telltale_agent, start, 50, jax.random.key(2))
        return state, rollout.assemble(obs, records, GOAL)

    return episodes


@pytest.mark.parametrize(("threshold", "go"), [(NEVER, 26), (ALWAYS, 1)])
def test_the_achiever_acts_first_and_the_explorer_has_the_rest(run: Any, threshold: float, go: int) -> None:
    state, episode = run(threshold)
    actions = np.asarray(episode.action[:, 1:])
    assert (actions[:, :go] > 0).all()
    assert (actions[:, go:] < 0).all()
    assert state.go_steps.tolist() == [go, go]
    assert state.reached.tolist() == [threshold == ALWAYS] * 2
    metrics = rollout.rollout_metrics(state)
    assert float(metrics["train_log_subgoal_time"]) == go
    assert float(metrics["max_train_log_subgoal_success"]) == (threshold == ALWAYS)


def test_every_record_holds_the_commanded_goal_in_both_phases(run: Any) -> None:
    _, episode = run(NEVER)
    np.testing.assert_array_equal(episode.goal, jnp.broadcast_to(GOAL[:, None], (2, 51, 2)))


def test_records_hold_only_what_learning_reads() -> None:
    assert [field.name for field in dataclasses.fields(Episode)] == ["obs", "action", "goal"]  # no metric_*


def check_alignment(episode: Episode, task: Task) -> None:
    """The action of a record is the one that led into it; the reset's is zero."""
    assert episode.obs.shape[1] == task.episode_steps + 1
    np.testing.assert_array_equal(episode.action[:, 0], 0.0)
    moved = episode.obs[:, 1:] - episode.obs[:, :-1]
    inside = np.abs(np.asarray(episode.obs[:, 1:])) < 2.0
    np.testing.assert_allclose(moved[inside], 0.1 * episode.action[:, 1:][inside], atol=1e-5)


def test_an_action_belongs_to_the_record_it_led_to(run: Any) -> None:
    _, episode = run(NEVER)
    check_alignment(episode, tiny.make_dot(steps=50))


def test_random_episodes_are_uniform_and_keep_the_environments_goal() -> None:
    task = tiny.make_dot(steps=20)
    episode = jax.jit(lambda key: rollout.random_episodes(task, 100, key))(jax.random.key(0))
    check_alignment(episode, task)
    actions = np.asarray(episode.action[:, 1:]).ravel()
    assert np.abs(actions).max() <= 1.0
    share = np.histogram(actions, bins=4, range=(-1, 1))[0] / actions.size
    np.testing.assert_allclose(share, 0.25, atol=5 * 0.43 / actions.size**0.5)
    np.testing.assert_array_equal(episode.goal[..., 0], 1.0)
    np.testing.assert_array_equal(episode.goal, jnp.broadcast_to(episode.goal[:, :1], episode.goal.shape))
    assert len(np.unique(episode.goal[:, 0, 1])) == 100
    assert len(np.unique(episode.obs[:, 0, 0])) == 100


def test_predicted_steps_are_the_horizon_times_the_networks_output(telltale_agent: AgentState) -> None:
    state = telltale_agent
    out = state.distance.params["params"]["out"]
    constant = {"kernel": jnp.zeros_like(out["kernel"]), "bias": jnp.array([0.4])}
    state = tiny.replace(state, "distance.params", {"params": state.distance.params["params"] | {"out": constant}})
    for horizon in (3, 15):
        config = tiny.replace(tiny.agent_config(), "imagination.horizon", horizon)
        nets = agent.make_networks(config, tiny.spec())
        steps = rollout.predicted_steps(nets, config, state, GOAL, -GOAL)
        np.testing.assert_allclose(steps, 0.4 * horizon, rtol=1e-6)


# --- kinds of episodes ---


@pytest.mark.parametrize(
    ("cadence", "expected"),
    [
        ({}, [rollout.TWO_POLICY]),
        ({"two_policy_every": 0, "achiever_every": 1, "explorer_every": 1}, [rollout.ACHIEVER, rollout.EXPLORER]),
        ({"two_policy_every": 0, "explorer_every": 1}, [rollout.EXPLORER]),
        (
            {"two_policy_every": 1, "achiever_every": 2},
            [rollout.ACHIEVER, rollout.TWO_POLICY, rollout.TWO_POLICY],
        ),
    ],
    ids=["peg", "lexa", "p2e", "mixed"],
)
def test_kinds_come_round_in_the_published_order(cadence: dict[str, int], expected: list[int]) -> None:
    assert rollout.episode_kinds(dataclasses.replace(LoopConfig(), **cadence)).tolist() == expected


def test_each_kind_is_acted_by_its_own_policy(telltale_agent: AgentState) -> None:
    """In one batch: the achiever alone although its goal is reached at once, the explorer alone, and both."""
    task, config = tiny.make_dot(), tiny.replace(tiny.config(), "loop.subgoal_threshold", ALWAYS)
    kind = jnp.array([rollout.ACHIEVER, rollout.EXPLORER, rollout.TWO_POLICY])

    @jax.jit
    def episodes() -> tuple[RolloutState, Episode]:
        obs, env_state = rollout.reset(task, 3, jax.random.key(1))
        start = rollout.begin(task, config.agent, obs, env_state, jnp.zeros((3, 2)), kind)
        return rollout.advance(task, config, telltale_agent, start, 6, jax.random.key(2))

    state, records = episodes()
    assert (records.action[:, 0] > 0).all()
    assert (records.action[:, 1] < 0).all()
    assert (records.action[0, 2] > 0).all() and (records.action[1:, 2] < 0).all()
    assert state.go_steps.tolist() == [6, 0, 1]
    assert float(rollout.rollout_metrics(state)["train_log_subgoal_time"]) == 3.5  # of the two that had a goal
    alone = dataclasses.replace(state, kind=jnp.full(3, rollout.EXPLORER))
    assert all(np.isnan(value) for value in rollout.rollout_metrics(alone).values())


def test_wild_episodes_explore_uniformly(telltale_agent: AgentState) -> None:
    """In the first 50 of 100 episodes; the others are left to the explorer."""
    task, config, wild = tiny.make_dot(20), tiny.config(), jnp.arange(100) < 50

    @jax.jit
    def episodes() -> tuple[RolloutState, Episode]:
        obs, env_state = rollout.reset(task, 100, jax.random.key(1))
        start = rollout.begin(task, config.agent, obs, env_state, jnp.zeros((100, 2)), rollout.EXPLORER, wild)
        return rollout.advance(task, config, telltale_agent, start, 20, jax.random.key(2))

    actions, own = np.split(np.asarray(episodes()[1].action), 2, axis=1)
    assert (own < 0).all()
    actions = actions.ravel()
    share = np.histogram(actions, bins=4, range=(-1, 1))[0] / actions.size
    np.testing.assert_allclose(share, 0.25, atol=5 * 0.43 / actions.size**0.5)
