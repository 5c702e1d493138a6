"""What the environments have shown lately, kept on the device as uint8, and the clock of online training.

A vector step advances all environments once.
"""

import chex
import jax.numpy as jnp
import numpy as np
from flax import struct

from peg_jax.core.types import Array
from peg_jax.curiosity.pairs import Pairs
from peg_jax.curiosity.r_network import PairBatch
from peg_jax.curiosity.reachability_config import OnlineConfig


@struct.dataclass
class History:
    """A ring of the last T vector steps; step s lies in row `s % T`.

    A frame is what an environment shows after a step, so at `done` the first frame of the next episode. The last frame
    of an episode is not kept.
    """

    frames: Array  # uint8 [T, N, H, W, C]
    done: Array  # bool [T, N], the frame opens an episode
    respawned: Array  # bool [T, N], the frame opens a life within an episode
    written: Array  # int32 [], vector steps so far

    @property
    def rows(self) -> int:
        """Vector steps that fit, T."""
        return int(self.done.shape[0])


def init_history(rows: int, num_envs: int, frame_shape: tuple[int, ...]) -> History:
    """An empty history for frames `[H, W, C]`."""
    flags = jnp.zeros((rows, num_envs), bool)
    frames = jnp.zeros((rows, num_envs, *frame_shape), jnp.uint8)
    return History(frames, flags, flags, jnp.zeros((), jnp.int32))


def history_bytes(rows: int, num_envs: int, frame_shape: tuple[int, ...]) -> int:
    """What `init_history` takes, in bytes."""
    return rows * num_envs * (int(np.prod(frame_shape)) + 2)


def append(history: History, frames: Array, done: Array, respawned: Array) -> History:
    """Write S vector steps, at most T, over the oldest ones.

    Args:
        history: the ring.
        frames: uint8 `[S, N, H, W, C]`, after each step.
        done: bool `[S, N]`, whether the step ended an episode.
        respawned: bool `[S, N]`, whether it put the agent elsewhere within one.
    """
    steps = done.shape[0]
    chex.assert_equal_shape_prefix([frames, done, respawned], 2)
    chex.assert_type(frames, jnp.uint8)
    chex.assert_scalar_in(steps, 1, history.rows)
    rows = (history.written + jnp.arange(steps)) % history.rows
    return History(
        frames=history.frames.at[rows].set(frames),
        done=history.done.at[rows].set(done),
        respawned=history.respawned.at[rows].set(respawned),
        written=history.written + steps,
    )


def oldest(history: History) -> Array:
    """The first vector step that is kept, int32 []."""
    return jnp.maximum(history.written - history.rows, 0)


def trajectory_starts(history: History, ends_late: bool = False, across_lives: bool = False) -> Array:
    """With which frames a trajectory begins, bool `[T, N]`, in the order of time from the oldest kept on.

    Trajectories end with an episode or a life. Rows not yet written are trajectories of one frame, of which no pair can
    be made.

    Args:
        history: the frames.
        ends_late: the frame at `done` counts as the last of the episode before it, as in the original's ECO.
        across_lives: a respawn does not end a trajectory, as in the original.
    """
    done, respawned = (jnp.roll(flags, -oldest(history), axis=0) for flags in (history.done, history.respawned))
    ends = jnp.roll(done, 1, axis=0) if ends_late else done
    cut = ends if across_lives else ends | respawned
    unwritten = jnp.arange(history.rows) >= history.written
    return (cut | unwritten[:, None]).at[0].set(True)


def frames_at(history: History, time: Array, env: Array) -> Array:
    """Frames `[..., H, W, C]` of environments `env [...]` at `time [...]`, counted from the oldest step kept."""
    return history.frames[(oldest(history) + time) % history.rows, env]


def take_pairs(history: History, pairs: Pairs, slots: Array) -> PairBatch:
    """The frames of some pairs.

    Args:
        history: where they are.
        pairs: `Pairs` with leaves `[N, T]`.
        slots: int32 `[B]`, indices into the flattened `[N * T]`.
    """
    env = slots // pairs.label.shape[1]
    current, other, label = (x.reshape(-1)[slots] for x in (pairs.current, pairs.other, pairs.label))
    return PairBatch(frames_at(history, current, env), frames_at(history, other, env), label)


def rows_for(agent_steps: int, num_envs: int) -> int:
    """Vector steps that make `agent_steps`: intervals are given in agent steps, whatever the number of environments."""
    return max(1, agent_steps // num_envs)


def round_due(vector_step: Array, num_envs: int, config: OnlineConfig, advanced: int = 1) -> Array:
    """Whether a round of training is due after `vector_step [...]`, the last of `advanced` steps since it was asked."""
    interval = rows_for(config.interval, num_envs)
    return vector_step // interval > (vector_step - advanced) // interval


def bonus_live(vector_step: Array, num_envs: int, config: OnlineConfig) -> Array:
    """Whether the bonus counts after `vector_step [...]`: from the first round on, that very step included."""
    return vector_step >= rows_for(config.interval, num_envs)
