"""Episodes on the device (conformance test 20)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.replay import Episode, Replay, ReplayState, make_replay, sequence_start

RECORDS, ENVS, LENGTH = 6, 2, 4


def episodes(first_id: int) -> Episode:
    """`ENVS` episodes; the observation is (episode, time), the action the time, the goal minus the episode."""
    ids = jnp.broadcast_to(first_id + jnp.arange(ENVS)[:, None], (ENVS, RECORDS))
    times = jnp.broadcast_to(jnp.arange(RECORDS), (ENVS, RECORDS))
    obs = jnp.stack([ids, times], axis=-1).astype(jnp.float32)
    return Episode(obs, times[..., None].astype(jnp.float32), -obs)


def one_record() -> Episode:
    return Episode(jnp.zeros((RECORDS, 2)), jnp.zeros((RECORDS, 1)), jnp.zeros((RECORDS, 2)))


@pytest.fixture(scope="module")
def replay() -> Replay:
    """Room for three episodes of each environment."""
    return make_replay(ENVS, 3 * ENVS * (RECORDS - 1), RECORDS, LENGTH)


def filled(replay: Replay, insertions: int) -> ReplayState:
    state, insert = replay.init(one_record()), jax.jit(replay.insert)
    for index in range(insertions):
        state = insert(state, episodes(ENVS * index))
    return state


@pytest.fixture(scope="module")
def states(replay: Replay) -> dict[int, ReplayState]:
    return {n: filled(replay, n) for n in (1, 2, 5)}


@pytest.fixture(scope="module")
def samples(replay: Replay, states: dict[int, ReplayState]) -> dict[int, Episode]:
    draw = jax.jit(replay.sample, static_argnums=2)
    return {n: draw(state, jax.random.key(n), 3000) for n, state in states.items()}


def test_samples_are_time_major(samples: dict[int, Episode]) -> None:
    assert samples[2].obs.shape == (LENGTH, 3000, 2)
    assert samples[2].action.shape == (LENGTH, 3000, 1)


def test_sequences_never_cross_episodes_and_their_fields_stay_together(samples: dict[int, Episode]) -> None:
    for batch in samples.values():
        ids, times = np.asarray(batch.obs[..., 0]), np.asarray(batch.obs[..., 1])
        assert (ids == ids[:1]).all()
        assert (np.diff(times, axis=0) == 1).all()
        np.testing.assert_array_equal(batch.action[..., 0], times)
        np.testing.assert_array_equal(batch.goal, -batch.obs)


@pytest.mark.parametrize(("insertions", "kept"), [(1, {0, 1}), (2, {0, 1, 2, 3}), (5, {4, 5, 6, 7, 8, 9})])
def test_the_oldest_episodes_are_overwritten_and_empty_places_never_drawn(
    replay: Replay,
    states: dict[int, ReplayState],
    samples: dict[int, Episode],
    insertions: int,
    kept: set[int],
) -> None:
    ids, counts = np.unique(np.asarray(samples[insertions].obs[0, :, 0]), return_counts=True)
    assert set(ids.astype(int)) == kept
    share = 1 / len(kept)
    np.testing.assert_allclose(counts / 3000, share, atol=5 * (share * (1 - share) / 3000) ** 0.5)
    assert int(replay.num_episodes(states[insertions])) == len(kept)


def test_records_are_drawn_uniformly_over_all_of_them(replay: Replay, states: dict[int, ReplayState]) -> None:
    drawn = jax.jit(replay.sample_records, static_argnums=2)(states[5], jax.random.key(0), 36_000)
    _, counts = np.unique(np.asarray(drawn), axis=0, return_counts=True)
    assert len(counts) == 6 * RECORDS
    np.testing.assert_allclose(counts, 1000, atol=5 * 1000**0.5)


def test_another_number_of_environments_is_refused(replay: Replay) -> None:
    with pytest.raises(AssertionError):
        replay.insert(replay.init(one_record()), jax.tree.map(lambda x: x[:1], episodes(0)))


def test_replays_of_several_seeds_are_independent_under_vmap(replay: Replay) -> None:
    insert = jax.jit(jax.vmap(replay.insert))
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), episodes(0), episodes(10))
    state = insert(jax.tree.map(lambda x: jnp.stack([x, x]), replay.init(one_record())), both)
    keys = jax.random.split(jax.random.key(0), 2)
    drawn = jax.jit(jax.vmap(lambda s, k: replay.sample(s, k, 50)))(state, keys)
    assert set(np.unique(drawn.obs[0, ..., 0])) == {0, 1}
    assert set(np.unique(drawn.obs[1, ..., 0])) == {10, 11}


DRAWS = 400_000


@pytest.mark.parametrize(
    ("records", "uniform", "ends"),
    [(51, 0.5, 0.9807692), (151, 0.0098039, 0.3355263), (501, 0.0022124, 0.1015936)],
)
@pytest.mark.parametrize("prioritize_ends", [False, True])
def test_sequence_starts(records: int, uniform: float, ends: float, prioritize_ends: bool) -> None:
    def start(key: jax.Array) -> jax.Array:
        return sequence_start(key, records, 50, prioritize_ends)

    starts = np.asarray(jax.jit(jax.vmap(start))(jax.random.split(jax.random.key(records), DRAWS)))
    counts = np.bincount(starts)
    last = records - 50
    assert len(counts) == last + 1  # so 51 records start at 0 or 1 only
    assert counts.min() > 0
    expected = ends if prioritize_ends else uniform
    assert counts[last] / DRAWS == pytest.approx(expected, abs=5 * (expected * (1 - expected) / DRAWS) ** 0.5)
    share = (1 - expected) / last  # all other places are alike
    np.testing.assert_allclose(counts[:-1] / DRAWS, share, atol=5 * (share / DRAWS) ** 0.5)
