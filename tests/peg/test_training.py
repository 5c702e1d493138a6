"""The loop: cadence, counters, seeds, compilation (conformance test 19)."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from peg_jax.core.replay import Episode
from peg_jax.core.types import Key
from peg_jax.peg import training
from peg_jax.peg.config import LoopConfig, PEGConfig
from peg_jax.peg.training import SEED_AXES, CycleLog, Progress, TrainState
from tests.peg import tiny

# Six steps after one burst of one update, two environments, four episodes before. One burst per cycle halves the
# compiler's work; the cadence of many is what `test_updates_of_a_full_run` looks at.
TASK, CONFIG = tiny.make_dot(), tiny.replace(tiny.config(), "loop.train_every", 6)
CYCLES = 6
traces = []


def _epoch(config: PEGConfig, state: TrainState) -> tuple[TrainState, CycleLog]:
    traces.append(config)
    return training.epoch(TASK, config, "peg", state, 1)


epoch = jax.jit(_epoch)
_init = jax.jit(lambda key: training.init(TASK, CONFIG, "peg", key))


def init(key: Key) -> TrainState:
    """A fresh run without weakly typed leaves: a state that came from the host has none, and would compile anew."""
    return jax.tree.map(lambda x: x.astype(x.dtype) if getattr(x, "weak_type", False) else x, _init(key))


def plain(tree: Any) -> list[np.ndarray]:
    """Leaves as NumPy arrays, keys as their data."""

    def data(x: jax.Array) -> np.ndarray:
        return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    return [data(leaf) for leaf in jax.tree.leaves(tree)]


def equal(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(plain(a), plain(b), strict=True))


def run(key: Key, cycles: int, config: PEGConfig = CONFIG) -> list[tuple[TrainState, CycleLog | None]]:
    """States before and after each cycle, one epoch of one cycle after the other."""
    history: list[tuple[TrainState, CycleLog | None]] = [(init(key), None)]
    for _ in range(cycles):
        history.append(epoch(config, history[-1][0]))
    return history


@pytest.fixture(scope="module")
def history() -> list[tuple[TrainState, CycleLog | None]]:
    return run(jax.random.key(0), CYCLES)


def test_counters(history: list) -> None:
    counts = [
        [int(x) for x in (s.progress.cycles, s.progress.episodes, s.progress.env_steps, s.progress.updates)]
        for s, _ in history[:4]
    ]
    assert counts == [[0, 4, 24, 0], [1, 6, 36, 3], [2, 8, 48, 4], [3, 10, 60, 5]]


def test_updates_counted_are_updates_made(history: list) -> None:
    for state, _ in history:
        learner = state.seed.agent.world_model
        assert int(optax.tree.get(learner.opt_state, "step")) == int(state.progress.updates)
        assert int(state.seed.agent.explorer.updates) == int(state.progress.updates)


def test_all_metrics_are_finite_and_nothing_was_skipped(history: list) -> None:
    for _, log in history[1:]:
        assert {name: float(v[0]) for name, v in log.metrics.items() if not np.isfinite(v[0])} == {}
        assert float(log.metrics["skipped_updates"][0]) == 0.0


def test_plans_are_made_at_the_start_after_the_first_episodes_and_every_goal_update_every(history: list) -> None:
    """4, 6, 8, ... episodes are done when a cycle starts; the clock of period 4 is first asked at 6: 6, 10, 14."""
    distributions = [state.seed.goals.distribution for state, _ in history]
    changed = [not equal(a, b) for a, b in itertools.pairwise(distributions)]
    assert changed == [True, True, False, True, False, True]


def test_each_episode_gets_a_goal_of_its_own(history: list) -> None:
    goals = np.concatenate([log.goals[0] for _, log in history[1:]])
    assert goals.shape == (2 * CYCLES, 2)
    assert len(np.unique(goals, axis=0)) == 2 * CYCLES


def test_the_replay_holds_the_commanded_goals_and_overwrites_the_oldest(history: list) -> None:
    """Capacity 60 steps is 5 episodes of each environment: the two prefilled ones, then the cycles' own."""
    state, _ = history[-1]
    stored = np.asarray(state.seed.replay.experience.goal)  # [env, slot, record, D]
    assert stored.shape == (2, 5, 7, 2)
    np.testing.assert_array_equal(stored, np.broadcast_to(stored[:, :, :1], stored.shape))
    for cycle in range(CYCLES):
        slot = (2 + cycle) % 5
        if 2 + cycle + 5 < 2 + CYCLES:  # overwritten since
            continue
        np.testing.assert_array_equal(stored[:, slot, 0], history[1 + cycle][1].goals[0])


def test_a_seed_fixes_every_bit_and_another_seed_changes_the_run(history: list) -> None:
    again, other = run(jax.random.key(0), 2), run(jax.random.key(1), 2)
    assert equal(again[-1], history[2])
    assert not np.array_equal(other[1][1].goals, history[1][1].goals)
    assert not equal(other[-1][0].seed.agent, history[2][0].seed.agent)


def test_a_state_copied_to_the_host_and_back_continues_bit_for_bit(history: list) -> None:
    """What is not in the state does not exist after a restart, so this is all that a resume needs."""
    halfway = history[2][0]

    def copy(x: jax.Array) -> jax.Array:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(np.array(jax.random.key_data(x))))
        return jnp.asarray(np.array(x))

    assert equal(epoch(CONFIG, jax.tree.map(copy, halfway)), history[3])


@pytest.mark.slow
def test_seeds_in_one_program_and_cycles_in_one_scan_equal_loops(history: list) -> None:
    """`vmap` over two seeds of a scan over two cycles, against each seed alone, one cycle at a time."""
    keys = jax.random.split(jax.random.key(0), 2)
    states = [init(key) for key in keys]
    stacked = TrainState(jax.tree.map(lambda *x: jnp.stack(x), *(s.seed for s in states)), states[0].progress)
    together = jax.jit(
        jax.vmap(lambda s: training.epoch(TASK, CONFIG, "peg", s, 2), in_axes=(SEED_AXES,), out_axes=(SEED_AXES, 0))
    )
    final, log = together(stacked)
    for index, key in enumerate(keys):
        alone = run(key, 2)
        for cycle in (1, 2):
            np.testing.assert_allclose(log.goals[index, cycle - 1], alone[cycle][1].goals[0], rtol=1e-3, atol=1e-4)
        ours = plain(jax.tree.map(lambda x: x[index], final.seed))  # noqa: B023
        for a, b in zip(ours, plain(alone[2][0].seed), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
        assert equal(final.progress, alone[2][0].progress)
    assert not np.allclose(log.goals[0], log.goals[1])


def test_numbers_do_not_recompile_the_epoch_and_sizes_do(history: list) -> None:
    before = len(traces)
    start = history[0][0]
    for option, value in [
        ("agent.world_model.optimizer.learning_rate", 1e-2),
        ("planner.std_scale", 0.1),
        ("loop.subgoal_threshold", -1e9),
    ]:
        assert not equal(epoch(tiny.replace(CONFIG, option, value), start), history[1]), option
    assert len(traces) == before
    epoch.trace(tiny.replace(CONFIG, "planner.iterations", 1), start)
    assert len(traces) == before + 1


def test_env_goal_chance_1_commands_only_the_environments_goals(history: list) -> None:
    _, log = epoch(tiny.replace(CONFIG, "planner.env_goal_chance", 1.0), history[0][0])
    np.testing.assert_array_equal(log.goals[..., 0], 1.0)


@pytest.mark.parametrize(("threshold", "go_steps", "success"), [(1e9, 1.0, 1.0), (-1e9, 4.0, 0.0)])
def test_the_go_phase_lasts_one_step_or_the_limit_and_one(
    history: list, threshold: float, go_steps: float, success: float
) -> None:
    _, log = epoch(tiny.replace(CONFIG, "loop.subgoal_threshold", threshold), history[0][0])
    assert float(log.metrics["train_log_subgoal_time"][0]) == go_steps
    assert float(log.metrics["max_train_log_subgoal_success"][0]) == success


def test_prefill_is_whole_random_episodes_of_every_environment() -> None:
    config = tiny.replace(CONFIG, "loop.prefill", 5)  # rounded up to three of each environment

    @jax.jit
    def start(key: Key) -> tuple:
        state = training.init(TASK, config, "peg", key)
        return state.progress, state.seed.replay

    progress, replay = start(jax.random.key(0))
    assert int(progress.episodes) == 6
    assert int(progress.env_steps) == 36
    assert int(training.build_replay(TASK, config).num_episodes(replay)) == 6
    np.testing.assert_array_equal(replay.experience.goal[:, :3, :, 0], 1.0)
    assert not replay.experience.goal[:, 3:].any()


# --- the published cadence ---

RUNS = {  # task -> steps of an episode, prefill episodes, steps of the run, updates
    "point": (50, 50, 1_000_000, 399_101),
    "walker": (150, 33, 1_000_000, 398_121),
    "ant": (500, 5, 1_000_000, 399_101),
    "stack": (150, 25, 1_100_000, 438_601),
}


@functools.cache
def two_cycles(steps: int, made: bool = False) -> tuple[list[int], list[int]]:
    """Updates counted, and on demand updates made, after one and two cycles under the published cadence.

    Only counters are asked of the compiler, so that most of the learning is never compiled.
    """
    task = tiny.make_dot(steps)
    config = tiny.replace(dataclasses.replace(CONFIG, loop=LoopConfig(bad_updates=0)), "replay.capacity", steps)
    assert config.loop.num_envs == 1

    @jax.jit
    def cycle(state: TrainState) -> tuple[Progress, jax.Array]:
        state, _ = training.cycle(task, config, "random_goals", state)
        return state.progress, state.seed.agent.explorer.updates if made else jnp.zeros((), jnp.int32)

    def zero(x: jax.ShapeDtypeStruct) -> jax.Array:
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return jax.random.key(0) if is_key else jnp.zeros(x.shape, x.dtype)

    state = jax.tree.map(
        zero, jax.eval_shape(lambda key: training.init(task, config, "random_goals", key), jax.random.key(0))
    )
    first, made_first = cycle(state)
    second, made_second = cycle(dataclasses.replace(state, progress=first))
    return [int(first.updates), int(second.updates)], [int(made_first), int(made_first) + int(made_second)]


@pytest.mark.parametrize("steps", [50, 150, 500])
def test_500_steps_count_100_bursts_and_200_updates_after_101(steps: int) -> None:
    counted, _ = two_cycles(steps, made=steps == 50)
    assert counted == [101 + 2 * steps // 5, 101 + 4 * steps // 5]


def test_the_updates_counted_are_made_also_in_many_bursts() -> None:
    counted, made = two_cycles(50, made=True)
    assert counted == made == [101 + 20, 101 + 40]


@pytest.mark.parametrize("name", RUNS)
def test_updates_of_a_full_run(name: str) -> None:
    steps, prefill, total, expected = RUNS[name]
    (first, second), _ = two_cycles(steps, made=steps == 50)
    per_cycle = second - first
    cycles = (total - prefill * steps) / steps  # the original stops within an episode
    assert first - per_cycle + round(cycles * per_cycle) == expected


# --- balanced batches ---


def rare_share(oversample: int) -> float:
    """Share of the batches' sequences from one episode of twenty that lies far from the others, which are one cloud."""
    config = tiny.replace(tiny.replace(CONFIG, "replay.oversample", oversample), "replay.capacity", 120)
    replay = training.build_replay(TASK, config)
    obs = jax.random.normal(jax.random.key(0), (10, 2, 7, 2)).at[3, 1].add(30.0)

    @jax.jit
    def share(key: Key) -> jax.Array:
        empty = replay.init(Episode(jnp.zeros((7, 2)), jnp.zeros((7, 2)), jnp.zeros((7, 2))))
        state, _ = jax.lax.scan(lambda s, x: (replay.insert(s, Episode(x, x, x)), None), empty, obs)
        draw = jax.vmap(lambda k: training.sample_batches(config, replay, state, k))
        return (draw(jax.random.split(key, 400)).obs[..., 0] > 15.0).mean()

    return float(share(jax.random.key(1)))


def test_uniform_batches_hold_a_rare_episode_as_often_as_the_replay() -> None:
    assert rare_share(1) == pytest.approx(0.05, abs=5 * (0.05 * 0.95 / 1200) ** 0.5)


def test_oversampled_batches_hold_it_more_often_and_at_most_so_many_times() -> None:
    assert 0.12 < rare_share(4) <= 0.2


def test_exchange_reorders_whole_sequences() -> None:
    orders = np.array([[0, 1, 2], [0, 2, 1]])
    batches = Episode(*(jnp.arange(2 * 4 * 30 * 3, dtype=jnp.float32).reshape(2, 4, 30, 3) + i for i in range(3)))
    changed = training.exchange(orders, batches, jax.random.key(0))
    same = np.asarray(changed.obs == batches.obs).all(axis=(1, 3))  # [K, B]: all records of a sequence
    swapped = np.asarray(changed.obs == batches.obs[..., orders[1]]).all(axis=(1, 3))
    assert (same ^ swapped).all() and 10 < same.sum() < 50
    np.testing.assert_array_equal(changed.goal - changed.obs, 2.0)
    np.testing.assert_array_equal(changed.action, batches.action)
