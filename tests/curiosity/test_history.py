"""The history on the device: order, cuts, and the clock of online training (golden value 13)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array
from peg_jax.curiosity.history import (
    History,
    append,
    bonus_live,
    frames_at,
    history_bytes,
    init_history,
    oldest,
    round_due,
    rows_for,
    take_pairs,
    trajectory_starts,
)
from peg_jax.curiosity.pairs import Pairs
from peg_jax.curiosity.reachability_config import OnlineConfig

ROWS, ENVS, SHAPE = 6, 2, (1, 1, 1)


def steps(first: int, count: int) -> Array:
    """Frames that show their step and environment: 10 s + n."""
    values = 10 * jnp.arange(first, first + count)[:, None] + jnp.arange(ENVS)
    return values.astype(jnp.uint8).reshape(count, ENVS, *SHAPE)


def filled(total: int, ends: tuple[int, ...] = (), lives: tuple[int, ...] = (), block: int = 2) -> History:
    """After `total` vector steps, written `block` at a time; the first environment ends episodes and lives."""
    history = init_history(ROWS, ENVS, SHAPE)
    for first in range(0, total, block):
        times = jnp.arange(first, first + block)
        done, respawned = (
            jnp.isin(times, jnp.array(marks, jnp.int32))[:, None] & (jnp.arange(ENVS) == 0) for marks in (ends, lives)
        )
        history = append(history, steps(first, block), done, respawned)
    return history


def test_the_last_steps_are_kept_in_order() -> None:
    history = filled(10)
    assert int(oldest(history)) == 4
    time, env = jnp.meshgrid(jnp.arange(ROWS), jnp.arange(ENVS), indexing="ij")
    np.testing.assert_array_equal(frames_at(history, time, env), steps(4, ROWS))


def test_a_block_may_wrap_around() -> None:
    np.testing.assert_array_equal(filled(12, block=4).frames, filled(12, block=2).frames)


def test_trajectories_end_with_episodes_and_lives() -> None:
    starts = trajectory_starts(filled(10, ends=(6,), lives=(8,)))
    assert starts[:, 0].tolist() == [True, False, True, False, True, False]
    assert starts[:, 1].tolist() == [True] + [False] * 5


def test_as_in_the_original_respawns_are_ignored_and_online_the_next_first_frame_is_taken_along() -> None:
    history = filled(10, ends=(6,), lives=(8,))
    offline = trajectory_starts(history, across_lives=True)
    assert offline[:, 0].tolist() == [True, False, True, False, False, False]
    online = trajectory_starts(history, ends_late=True, across_lives=True)
    assert online[:, 0].tolist() == [True, False, False, True, False, False]


def test_rows_not_yet_written_are_trajectories_of_their_own() -> None:
    assert trajectory_starts(filled(4))[:, 1].tolist() == [True, False, False, False, True, True]


def test_pairs_are_looked_up_by_environment_and_time() -> None:
    times = jnp.arange(ROWS)
    pairs = Pairs(
        current=jnp.tile(times, (ENVS, 1)),
        other=jnp.tile(times[::-1], (ENVS, 1)),
        label=jnp.tile(times % 2, (ENVS, 1)),
        valid=jnp.ones((ENVS, ROWS), bool),
    )
    batch = take_pairs(filled(10), pairs, jnp.array([1, ROWS + 2]))
    assert batch.current.reshape(-1).tolist() == [50, 61]
    assert batch.other.reshape(-1).tolist() == [80, 71]
    assert batch.label.tolist() == [1, 0]


def test_more_steps_than_fit_and_floats_are_refused() -> None:
    history, flags = init_history(ROWS, ENVS, SHAPE), jnp.zeros((ROWS + 1, ENVS), bool)
    with pytest.raises(AssertionError):
        append(history, steps(0, ROWS + 1), flags, flags)
    with pytest.raises(AssertionError):
        append(history, steps(0, 2).astype(jnp.float32), flags[:2], flags[:2])


def test_size() -> None:
    history = init_history(ROWS, ENVS, (4, 5, 3))
    flags_and_frames = (history.frames, history.done, history.respawned)
    assert sum(x.nbytes for x in flags_and_frames) == history_bytes(ROWS, ENVS, (4, 5, 3))
    published = history_bytes(60_000, 12, (120, 160, 3))
    assert published == pytest.approx(41.5e9, rel=2e-3)
    assert history_bytes(60_000, 12, (84, 84, 3)) == pytest.approx(15.2e9, rel=5e-3)


def test_the_clock_of_the_published_run() -> None:
    config = OnlineConfig()
    vector_steps = np.arange(1, 21_998_592 // 12 + 1)
    due = np.asarray(round_due(jnp.asarray(vector_steps), 12, config))
    at = 12 * vector_steps[due]
    assert at[:3].tolist() == [720_000, 1_440_000, 2_160_000]
    assert len(at) == 30
    assert (at <= 20_000_000).sum() == 27
    assert not bool(bonus_live(jnp.asarray(59_999), 12, config))
    assert bool(bonus_live(jnp.asarray(60_000), 12, config))


def test_a_clock_asked_once_per_rollout_misses_no_round() -> None:
    config = OnlineConfig()
    vector_steps = jnp.arange(256, 21_998_592 // 12 + 1, 256)
    assert int(round_due(vector_steps, 12, config, advanced=256).sum()) == 30


@pytest.mark.parametrize(("num_envs", "rows"), [(12, 60_000), (64, 11_250), (1, 720_000)])
def test_intervals_are_given_in_agent_steps(num_envs: int, rows: int) -> None:
    assert rows_for(OnlineConfig().interval, num_envs) == rows
    assert bool(round_due(jnp.asarray(rows), num_envs, OnlineConfig()))


def test_histories_of_several_seeds_are_independent() -> None:
    both = jax.vmap(lambda marks: append(init_history(ROWS, ENVS, SHAPE), steps(0, 2), marks, marks))
    history = both(jnp.stack([jnp.zeros((2, ENVS), bool), jnp.ones((2, ENVS), bool)]))
    assert history.done[0].sum() == 0
    assert history.done[1].sum() == 2 * ENVS
