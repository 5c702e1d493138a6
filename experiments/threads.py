"""Threads of XLA's CPU backend, which have to be counted before JAX computes anything."""

import itertools
import os
from collections.abc import Sequence

ENOUGH = 8  # `THREADS` of `envs.mujoco.engine`, which cannot be imported before JAX has begun


def widen_for_mjx(arguments: Sequence[str]) -> None:
    """Where the command line asks for MJX, let XLA's CPU backend have so many threads that no step waits for ever.

    See `envs.mujoco.engine`, which warns where this came too late. An accelerator does not notice.
    """
    words = " ".join(arguments).replace("=", " ").split()
    if ("--physics", "mjx") in itertools.pairwise(words):
        os.environ.setdefault("NPROC", str(max(ENOUGH, os.cpu_count() or 1)))
