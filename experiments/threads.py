"""Threads of XLA's CPU backend, which have to be counted before JAX computes anything."""

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

ENOUGH = 8  # `THREADS` of `envs.mujoco.engine`, which cannot be imported before JAX has begun


def widen_for_mjx(arguments: Sequence[str]) -> None:
    """Where the command line asks for MJX, let XLA's CPU backend have so many threads that no step waits for ever.

    It asks for it by option, or by naming a run, or a folder of runs, that has it. See `envs.mujoco.engine`, which
    warns where this came too late. An accelerator does not notice.
    """
    words = [word for argument in arguments for word in argument.split("=", 1)]
    if ("--physics", "mjx") in itertools.pairwise(words) or any(map(_holds_mjx, words)):
        os.environ.setdefault("NPROC", str(max(ENOUGH, os.cpu_count() or 1)))


def _holds_mjx(word: str) -> bool:
    """Whether that is the directory of a run on MJX, or of several runs of which one is."""
    try:
        return any(map(_is_of_mjx, [Path(word, "config.json"), *Path(word).glob("*/config.json")]))
    except (OSError, ValueError):  # no path at all
        return False


def _is_of_mjx(file: Path) -> bool:
    """Whether it holds a run's options with MJX; what is damaged, the command itself will name."""
    try:
        return bool(json.loads(file.read_text())["config"]["physics"] == "mjx")
    except (OSError, ValueError, TypeError, KeyError):
        return False
