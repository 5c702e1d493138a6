"""Our environments under gymnasium's own checker, and many of them against one at a time."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs.interop_gymnasium import GymnasiumEnv, GymnasiumVectorEnv
from envs.point_maze.env import EnvParams

STEPS = 4
SHORT = EnvParams(max_steps_in_episode=STEPS)


@pytest.fixture(scope="module")
def single() -> GymnasiumEnv:
    return GymnasiumEnv(envs.make("point_maze")[0], SHORT, render_mode="rgb_array")


@pytest.mark.filterwarnings("ignore::UserWarning")  # advice about bounds, among them those of goals
def test_gymnasiums_checker_accepts_point_maze(single: GymnasiumEnv) -> None:
    check_env(single, skip_render_check=True)  # that check makes environments by their name in a registry
    picture = single.render()
    assert picture.dtype == np.uint8 and picture.std() > 5
    single.render_mode = None
    assert single.render() is None
    single.render_mode = "rgb_array"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("walker", "maze3d_sparse") else pytest.mark.long)
        for name in envs.registered()
        if name != "point_maze"
    ],
)
def test_gymnasiums_checker_accepts_bodies_and_mazes(name: str) -> None:
    options = {"physics": "mujoco"} if envs.has_physics(name) else {}
    check_env(GymnasiumEnv(envs.make(name, **options)[0]), skip_render_check=True)


def test_an_episode_ends_by_truncation_and_a_seed_fixes_it(single: GymnasiumEnv) -> None:
    ends, places = [], []
    for seed in (3, 3, 4):
        single.reset(seed=seed)
        steps = [single.step(np.array([0.3, 0.1], np.float32)) for _ in range(STEPS)]
        ends.append([(terminated, truncated) for _, _, terminated, truncated, _ in steps])
        places.append(np.stack([obs["observation"] for obs, *_ in steps]))
    assert ends == [[(False, False)] * (STEPS - 1) + [(False, True)]] * 3
    np.testing.assert_array_equal(places[0], places[1])
    assert (places[0] != places[2]).any()


def test_rewards_of_other_goals_follow_from_what_was_achieved(single: GymnasiumEnv) -> None:
    """As an agent with hindsight replay learns: toward the goals of the episode, and toward what it came to."""
    single.reset(seed=0)
    steps = [single.step(np.array([0.3, 0.1], np.float32)) for _ in range(STEPS)]
    achieved, desired = (np.stack([obs[name] for obs, *_ in steps]) for name in ("achieved_goal", "desired_goal"))
    infos = [info for *_, info in steps]
    np.testing.assert_array_equal(single.compute_reward(achieved, desired, infos), [reward for _, reward, *_ in steps])
    hindsight = single.compute_reward(achieved, np.broadcast_to(achieved[-1], achieved.shape), infos)
    assert hindsight[-1] == 0.0 and hindsight[0] == -1.0
    walker = GymnasiumEnv(envs.make("walker", physics="mujoco")[0])
    here, there = np.zeros((2, 9), np.float32), np.full((2, 9), 3.0, np.float32)
    np.testing.assert_array_equal(walker.compute_reward(here, there, {}), [-3.0, -3.0])
    with pytest.raises(TypeError, match="has no goals"):
        GymnasiumEnv(envs.make("maze3d_sparse")[0]).compute_reward(here, there, {})


def test_terminations_start_the_next_episode_of_their_lane() -> None:
    lanes = GymnasiumVectorEnv(envs.make("point_maze")[0], 2, EnvParams(terminate_on_success=True))
    obs, _ = lanes.reset(seed=1, options={"goal_index": 8})  # (3,0), which the start is not in
    state = lanes._state
    lanes._state = dataclasses.replace(state, pos=state.pos.at[0].set(state.goal[0]))  # one of them is there
    still = np.zeros((2, 2), np.float32)
    _, rewards, terminated, truncated, _ = lanes.step(still)
    assert terminated.tolist() == [True, False] and not truncated.any() and rewards.tolist() == [0.0, -1.0]
    after, rewards, terminated, _, _ = lanes.step(still)
    assert not terminated.any() and rewards.tolist() == [0.0, -1.0]
    assert np.linalg.norm(after["observation"][0]) < 0.8  # the start of a new episode
    np.testing.assert_array_equal(after["desired_goal"][1], obs["desired_goal"][1])


@pytest.fixture(scope="module")
def lanes() -> GymnasiumVectorEnv:
    return GymnasiumVectorEnv(envs.make("point_maze")[0], 2, SHORT)


def test_an_evaluation_goal_can_be_asked_for(single: GymnasiumEnv, lanes: GymnasiumVectorEnv) -> None:
    for index in (0, 5):
        asked = {"seed": 0, "options": {"goal_index": index}}
        for found in (single.reset(**asked)[0], lanes.reset(**asked)[0]):
            goals = np.broadcast_to(single.bridge.env.eval_goals()[index], found["desired_goal"].shape)
            np.testing.assert_allclose(found["desired_goal"], goals, atol=0.5)


def test_lanes_are_single_environments(single: GymnasiumEnv, lanes: GymnasiumVectorEnv) -> None:
    """Through two episodes: the step after the last one starts the next, whatever its action."""
    assert lanes.observation_space["observation"].shape == (2, 2) and lanes.action_space.shape == (2, 2)
    started, _ = lanes.reset(seed=7)
    actions = np.random.default_rng(0).uniform(-0.9, 0.9, (2 * STEPS + 1, 2, 2)).astype(np.float32)
    seen = [lanes.step(action) for action in actions]
    assert [bool(truncated.all()) for *_, truncated, _ in seen] == [t in (STEPS - 1, 2 * STEPS) for t in range(9)]
    for lane in range(2):
        obs, _ = single.reset(seed=7 + lane)
        np.testing.assert_array_equal(started["desired_goal"][lane], obs["desired_goal"])
        for time, (many, rewards, _, _, infos) in enumerate(seen):
            if time == STEPS:
                obs, reward = single.reset()[0], 0.0
            else:
                obs, reward, *_, info = single.step(actions[time, lane])
                assert infos["metric_success"][lane] == info["metric_success"]
            for name, value in obs.items():
                np.testing.assert_allclose(many[name][lane], value, rtol=1e-6, err_msg=f"{name} at {time}")
            assert rewards[lane] == reward
    assert isinstance(lanes, gymnasium.vector.VectorEnv)
