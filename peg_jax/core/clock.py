"""The original's `Every(k)` timer as a pure function over a pytree."""

import jax.numpy as jnp
from flax import struct

from peg_jax.core.types import Array


@struct.dataclass
class Clock:
    """When a recurring job last fired."""

    last: Array  # int32 [], the count at which it fired last
    started: Array  # bool [], False until the first query


def init_clock() -> Clock:
    """A clock that fires at its first query."""
    return Clock(last=jnp.zeros((), jnp.int32), started=jnp.zeros((), bool))


def tick(clock: Clock, count: Array | int, period: int) -> tuple[Array, Clock]:
    """Whether the job is due at `count`, and the clock after asking.

    The first query fires and remembers its count; later ones fire when `count >= last + period` and advance `last`
    by exactly one period, so the clock never drifts and catches up after a gap. A period of 0 never fires.

    Args:
        clock: the state.
        count: int32 [], steps or episodes so far.
        period: counts between two firings.

    Returns:
        `(due bool [], clock)`.
    """
    if period == 0:
        return jnp.zeros((), bool), clock
    count = jnp.asarray(count, jnp.int32)
    first = ~clock.started
    later = clock.started & (count >= clock.last + period)
    last = jnp.where(first, count, jnp.where(later, clock.last + period, clock.last))
    return first | later, Clock(last=last, started=jnp.ones((), bool))
