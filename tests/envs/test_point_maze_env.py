"""Point Maze as an environment: episodes, goals, success, and what gymnax users rely on."""

import dataclasses
import functools

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.point_maze import EnvState, PointMaze, maze
from envs.point_maze.env import EVAL_CELLS

ENV = PointMaze()
PARAMS = ENV.default_params


@functools.partial(jax.jit, static_argnames=("env", "lanes", "steps"))
def rollout(params, key, env=ENV, lanes=8, steps=200):
    """Random actions with automatic reset: obs before, then what `step` returns, each `[T, B, ...]`."""

    def body(carry, key):
        obs, state = carry
        key_action, key_step = jax.random.split(key)
        actions = jax.vmap(env.action_space(params).sample)(jax.random.split(key_action, lanes))
        step = jax.vmap(env.step, (0, 0, 0, None))
        next_obs, next_state, *rest = step(jax.random.split(key_step, lanes), state, actions, params)
        return (next_obs, next_state), (obs, next_obs, next_state, *rest)

    key_reset, key_steps = jax.random.split(key)
    start = jax.vmap(env.reset, (0, None))(jax.random.split(key_reset, lanes), params)
    return jax.lax.scan(body, start, jax.random.split(key_steps, steps))[1]


@pytest.fixture(scope="module")
def resets():
    return jax.jit(jax.vmap(ENV.reset, (0, None)))(jax.random.split(jax.random.key(0), 20_000), PARAMS)


def test_starts_are_uniform_off_the_walls_of_the_first_cell(resets):
    obs, state = map(np.asarray, (resets[0], resets[1].pos))
    np.testing.assert_array_equal(obs, state)
    assert np.all(np.round(obs) == 0)
    # Walled below and to the left, open above and to the right.
    assert obs.min() > -0.45 and obs.min() < -0.44 and obs.max() > 0.49
    histogram, *_ = np.histogram2d(*obs.T, bins=6, range=[(-0.45, 0.45)] * 2)
    assert histogram.min() > 0.8 * histogram.max()


def test_goals_keep_off_walls_and_cover_all_cells(resets):
    goal, index = np.asarray(resets[1].goal), np.asarray(resets[1].goal_index)
    np.testing.assert_array_equal(np.round(goal), np.array(EVAL_CELLS)[index])
    share = np.bincount(index, minlength=11) / len(index)
    np.testing.assert_allclose(share, 1 / 11, atol=0.01)
    assert np.all(jax.vmap(maze.is_clear, (0, None))(jnp.asarray(goal), 0.175))
    # (9, 0) is a dead end, open above: clear of its three walls, except in the corners that look into the open cell.
    x, y = (goal - np.array(EVAL_CELLS)[index])[index == 2].T
    assert y.min() > -0.326 and y.max() > 0.45 and np.abs(x[y < 0.3]).max() < 0.326
    # The centre is only what is left when every try fails.
    assert np.mean(np.all(goal == np.round(goal), axis=1)) < 1e-3


def test_eval_reset_sets_the_goal_and_maps_over_it():
    reset = jax.jit(jax.vmap(lambda k, i: ENV.reset_to_eval_goal(k, i, PARAMS)))
    obs, state = reset(jax.random.split(jax.random.key(1), 11), jnp.arange(11))
    np.testing.assert_array_equal(state.goal_index, jnp.arange(11))
    np.testing.assert_array_equal(jnp.round(state.goal), ENV.eval_goals(PARAMS))
    assert obs.shape == (11, 2)
    assert ENV.eval_goal_names[1] == "(9,4)" and len(ENV.eval_goal_names) == 11
    _, again = reset(jax.random.split(jax.random.key(2), 11), jnp.arange(11))
    assert not np.any(state.goal == again.goal)  # drawn anew within the cell


def test_sample_goals_are_training_goals():
    sample = jax.jit(ENV.sample_goals, static_argnums=1)
    goals = sample(jax.random.key(0), 200, PARAMS)
    assert goals.shape == (200, 2)
    assert {tuple(cell) for cell in np.round(goals).astype(int).tolist()} == set(EVAL_CELLS)
    fixed = sample(jax.random.key(0), 200, dataclasses.replace(PARAMS, goal_index=8))
    np.testing.assert_array_equal(jnp.round(fixed), jnp.tile(jnp.array([3.0, 0.0]), (200, 1)))


def test_success_is_strict_at_both_distances():
    goal = jnp.array([3.25, 4.0])  # exact in float32, centre (3, 4)

    def near(distance):
        return ENV.success(goal + jnp.array([0.0, distance]), goal)["success"]

    limit = np.float32(0.15)
    origin = jnp.zeros(2)
    assert near(0.1499) and not near(0.1501)
    assert not ENV.success(jnp.array([limit, 0.0]), origin)["success"]
    assert ENV.success(jnp.array([np.nextafter(limit, np.float32(0)), 0.0]), origin)["success"]
    limit = np.float32(0.7)
    assert not ENV.success(jnp.array([limit, 0.0]), origin)["success_cell"]
    assert ENV.success(jnp.array([np.nextafter(limit, np.float32(0)), 0.0]), origin)["success_cell"]
    # The second metric measures from the centre of the goal's cell, not from the goal.
    assert ENV.success(jnp.array([2.4, 4.0]), goal)["success_cell"]
    assert not ENV.success(jnp.array([3.8, 4.0]), goal)["success_cell"]


def test_success_takes_any_batch():
    metrics = ENV.success(jnp.zeros((7, 5, 2)), jnp.ones(2))
    assert {name: value.shape for name, value in metrics.items()} == {"success": (7, 5), "success_cell": (7, 5)}


def test_step_returns_six_with_metrics_and_clips_the_action():
    obs, state = ENV.reset(jax.random.key(0), PARAMS)
    state = dataclasses.replace(state, pos=jnp.zeros(2), goal=jnp.array([0.9, 0.05]))
    out = ENV.step(jax.random.key(1), state, jnp.array([7.0, 0.0]), PARAMS)
    assert len(out) == 6
    obs, _, reward, terminated, truncated, info = out
    np.testing.assert_allclose(obs, [0.95, 0.0])
    assert reward == 0.0 and not terminated and not truncated
    assert set(info) == {"metric_success", "metric_success_cell", "terminated", "truncated", "final_observation"}
    assert info["metric_success"] and info["metric_success_cell"]
    _, _, reward, _, _, info = ENV.step(jax.random.key(1), state, jnp.array([-0.1, 0.0]), PARAMS)
    assert reward == -1.0 and not info["metric_success"]


def test_episodes_truncate_at_fifty_and_start_anew_each_time():
    before, after, state, reward, terminated, truncated, info = rollout(PARAMS, jax.random.key(0))
    assert not terminated.any() and set(np.unique(reward)) <= {-1.0, 0.0}
    expected = np.zeros((200, 8), dtype=bool)
    expected[49::50] = True
    np.testing.assert_array_equal(truncated, expected)
    final = np.asarray(info["final_observation"])
    # The final observation continues the old episode; the observation returned is the new episode's first.
    assert np.all(np.abs(final - before) < 0.951)
    np.testing.assert_array_equal(final[~expected], np.asarray(after)[~expected])
    starts, goals = np.asarray(after)[49::50], np.asarray(state.goal)[49::50]
    assert np.all(np.round(starts) == 0)
    np.testing.assert_array_equal(np.asarray(state.time)[49::50], 0)
    # A reset that restores a stored state would repeat starts within a lane.
    assert len(np.unique(starts.reshape(-1, 2), axis=0)) == 4 * 8
    assert len(np.unique(goals.reshape(-1, 2), axis=0)) == 4 * 8
    # Within an episode the goal stays, and the metrics judge the old goal on the last step.
    assert np.all(np.asarray(state.goal)[50:99] == goals[0])
    distance = np.linalg.norm(final[49] - np.asarray(state.goal)[48], axis=-1)
    np.testing.assert_array_equal(np.asarray(info["metric_success"])[49], distance < 0.15)


def test_success_ends_only_evaluation_episodes():
    _, state = ENV.reset(jax.random.key(0), PARAMS)
    state = dataclasses.replace(state, pos=jnp.zeros(2), goal=jnp.array([0.5, 0.0]))
    action = jnp.array([0.5, 0.0])
    _, kept, _, terminated, truncated, _ = ENV.step(jax.random.key(1), state, action, PARAMS)
    assert not terminated and not truncated and kept.time == 1
    ending = dataclasses.replace(PARAMS, terminate_on_success=True)
    _, fresh, reward, terminated, truncated, info = ENV.step(jax.random.key(1), state, action, ending)
    assert terminated and not truncated and reward == 0.0 and info["metric_success"]
    np.testing.assert_allclose(info["final_observation"], [0.5, 0.0])
    assert fresh.time == 0 and not np.any(fresh.goal == state.goal)


def test_vmap_equals_loop():
    keys = jax.random.split(jax.random.key(3), 6)
    _, state = jax.vmap(ENV.reset, (0, None))(keys, PARAMS)
    actions = jax.random.uniform(jax.random.key(4), (6, 2), minval=-0.95, maxval=0.95)
    batch = jax.vmap(ENV.step, (0, 0, 0, None))(keys, state, actions, PARAMS)
    for i in range(6):
        one = ENV.step(keys[i], ENV.reset(keys[i], PARAMS)[1], actions[i], PARAMS)
        lane = jax.tree.map(lambda leaf: leaf[i], batch)  # noqa: B023
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), one, lane)


def test_a_seed_fixes_everything_and_keys_matter():
    first, same, other = (rollout(PARAMS, jax.random.key(seed)) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, same)
    assert not np.array_equal(first[1], other[1])


def test_spaces_hold_what_the_environment_gives():
    env, params = envs.make("point_maze", goal_in_observation=True)
    _, after, state, *_, info = rollout(params, jax.random.key(0), env=env)
    space = env.observation_space(params)
    assert isinstance(space, gymnax.environments.spaces.Box)
    assert after.shape[2:] == space.shape and after.dtype == space.dtype
    assert space.contains(after) and space.contains(info["final_observation"])
    assert env.state_space(params).contains(jax.tree.map(lambda leaf: leaf[-1, 0], state))
    assert env.goal_space(params).low.shape == (2,) and env.goal_space(params).high.tolist() == [10.0, 10.0]
    np.testing.assert_array_equal(env.achieved_goal(after), state.pos)
    np.testing.assert_array_equal(after[..., 2:], state.goal)
    # Without the option the same seed gives the same episodes, observed without the goal.
    np.testing.assert_array_equal(rollout(PARAMS, jax.random.key(0))[1], after[..., :2])
    assert ENV.observation_space(PARAMS).shape == (2,)
    for box in (env.action_space(params), space):
        gymnax.environments.spaces.gymnax_space_to_gym_space(box)


def test_state_is_a_pytree_of_fixed_types():
    _, state = ENV.reset(jax.random.key(0), PARAMS)
    assert isinstance(state, EnvState) and len(jax.tree.leaves(state)) == 4
    _, stepped, *_ = ENV.step(jax.random.key(0), state, jnp.zeros(2), PARAMS)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), stepped) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    np.testing.assert_array_equal(ENV.desired_goal(state), state.goal)


def test_parameters_are_traced_and_optional():
    _, state = ENV.reset(jax.random.key(0))
    assert ENV.step(jax.random.key(0), state, jnp.zeros(2))[1].time == 1

    def truncated(length):
        return ENV.step(
            jax.random.key(0), state, jnp.zeros(2), dataclasses.replace(PARAMS, max_steps_in_episode=length)
        )[4]

    assert jax.vmap(truncated)(jnp.array([1, 2])).tolist() == [True, False]
