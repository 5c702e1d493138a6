"""Several processes that work on one run: which of them writes, and how they wait for each other.

Each calls the same compiled programs in the same order, whose arrays are spread over the devices of all. Each writes
its share of a checkpoint's arrays; all else is written by the first one.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils


def several() -> bool:
    """Whether this is one of several processes of a run; no device is touched to find out."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def writes() -> bool:
    """Whether this process writes files and speaks to the user."""
    return not several() or jax.process_index() == 0


def wait(name: str) -> None:
    """Go on when all processes have come here."""
    if several():
        multihost_utils.sync_global_devices(name)


def any_of_all(flag: bool) -> bool:
    """Whether `flag` is set in any process."""
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any()) if several() else flag
