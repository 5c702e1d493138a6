"""Episodes on the device: stored by flashbax, cut into training sequences by the released code's rules.

The buffer's time axis counts whole episodes, so an episode never wraps and a sequence never crosses into the next.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import chex
import flashbax
import jax
import jax.numpy as jnp
from flashbax.buffers.trajectory_buffer import TrajectoryBufferState as ReplayState
from flax import struct

from peg_jax.core.types import Array, Key


@struct.dataclass
class Episode:
    """Records of fixed-length episodes; record 0 is the reset with a zero action."""

    obs: Array  # float32 [..., T+1, D]
    action: Array  # float32 [..., T+1, A], the action that led into the record
    goal: Array  # float32 [..., T+1, D], the commanded goal


class Places(NamedTuple):
    """Where sequences lie in the buffer."""

    row: Array  # int32 [...]
    slot: Array  # int32 [...]
    start: Array  # int32 [...], first record within the episode


class Replay(NamedTuple):
    """Pure functions over a `ReplayState`, bound to one layout."""

    init: Callable[[Episode], ReplayState]
    insert: Callable[[ReplayState, Episode], ReplayState]
    sample: Callable[[ReplayState, Key, int], Episode]
    sample_places: Callable[[ReplayState, Key, int], Places]
    cut: Callable[[ReplayState, Places], Episode]
    last_obs: Callable[[ReplayState, Places], Array]
    sample_records: Callable[[ReplayState, Key, int], Array]
    num_episodes: Callable[[ReplayState], Array]


def sequence_start(key: Key, records: int, length: int, prioritize_ends: bool) -> Array:
    """Where a training sequence starts inside an episode.

    Uniform over the `records - length + 1` places; with `prioritize_ends` it is drawn from a range longer by `length`
    and clamped to the last place, which makes an episode's end likelier.
    """
    last = records - length
    drawn = jax.random.randint(key, (), 0, last + 1 + (length if prioritize_ends else 0))
    return jnp.minimum(drawn, last)


def cut(state: ReplayState, places: Places, length: int) -> Episode:
    """The sequences of `length` at `places [n]`, time-major `[length, n, ...]`."""

    def one(place: Places) -> Episode:
        times = place.start + jnp.arange(length)
        return jax.tree.map(lambda x: x[place.row, place.slot, times], state.experience)

    return jax.vmap(one, out_axes=1)(places)


def last_obs(state: ReplayState, places: Places, length: int) -> Array:
    """Where those sequences end, `[n, D]`."""
    obs: Array = state.experience.obs
    return obs[places.row, places.slot, places.start + length - 1]


def latest(state: ReplayState, insertions: int) -> Episode:
    """The episodes of the last so many insertions, oldest first: `[insertions * num_envs, T+1, ...]`."""
    slots = jax.tree.leaves(state.experience)[0].shape[1]
    chosen = (state.current_index - insertions + jnp.arange(insertions)) % slots

    def take(x: Array) -> Array:
        return jnp.swapaxes(x[:, chosen], 0, 1).reshape(-1, *x.shape[2:])

    return jax.tree.map(take, state.experience)


def num_episodes(state: ReplayState) -> Array:
    """How many episodes are kept."""
    rows, slots = jax.tree.leaves(state.experience)[0].shape[:2]
    return rows * jnp.where(state.is_full, slots, state.current_index)


def sample_records(state: ReplayState, key: Key, n: int) -> Array:
    """Observations `[n, D]`, uniform over all records kept."""
    rows, _, records = state.experience.obs.shape[:3]
    flat_key, time_key = jax.random.split(key)
    flat = jax.random.randint(flat_key, (n,), 0, num_episodes(state))
    times = jax.random.randint(time_key, (n,), 0, records)
    observed: Array = state.experience.obs[flat % rows, flat // rows, times]
    return observed


def make_replay(
    num_envs: int, capacity: int, episode_records: int, sequence_length: int, prioritize_ends: bool = False
) -> Replay:
    """Build the replay's functions.

    Args:
        num_envs: episodes inserted together; one row of the buffer each.
        capacity: environment steps kept; the oldest episodes are overwritten.
        episode_records: records of one episode, T + 1.
        sequence_length: records of one training sequence, at most `episode_records`.
        prioritize_ends: draw sequences that end with their episode more often.

    Returns:
        `init(one_episode)`, `insert(state, episodes [num_envs, T+1, ...])`,
        `sample(state, key, batch) -> time-major Episode [L, batch, ...]`, which is `sample_places(state, key, batch)`
        followed by `cut(state, places)`, `last_obs(state, places [n]) -> [n, D]`, where each sequence ends,
        `sample_records(state, key, n) -> observations [n, D]` uniform over all records, and `num_episodes(state)`.
    """
    slots = max(1, capacity // (num_envs * (episode_records - 1)))
    buffer = flashbax.make_trajectory_buffer(
        max_length_time_axis=slots,
        min_length_time_axis=1,
        sample_batch_size=1,
        add_batch_size=num_envs,
        sample_sequence_length=1,
        period=1,
    )

    def insert(state: ReplayState, episodes: Episode) -> ReplayState:
        chex.assert_tree_shape_prefix(episodes, (num_envs, episode_records))
        return buffer.add(state, jax.tree.map(lambda x: x[:, None], episodes))

    def place(state: ReplayState, key: Key) -> Places:
        episode_key, start_key = jax.random.split(key)
        flat = jax.random.randint(episode_key, (), 0, num_episodes(state))
        start = sequence_start(start_key, episode_records, sequence_length, prioritize_ends)
        return Places(flat % num_envs, flat // num_envs, start)

    def sample_places(state: ReplayState, key: Key, count: int) -> Places:
        return jax.vmap(place, in_axes=(None, 0))(state, jax.random.split(key, count))

    def sample(state: ReplayState, key: Key, batch: int) -> Episode:
        return cut(state, sample_places(state, key, batch), sequence_length)

    return Replay(
        buffer.init,
        insert,
        sample,
        sample_places,
        partial(cut, length=sequence_length),
        partial(last_obs, length=sequence_length),
        sample_records,
        num_episodes,
    )
