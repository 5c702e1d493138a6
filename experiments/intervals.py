"""Intervals over seeds: bootstraps as rliable computes them, in which a stratum is an environment.

The goals of one seed are not independent, so seeds are drawn with all their goals.

Agarwal et al., "Deep RL at the Edge of the Statistical Precipice", NeurIPS 2021.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from experiments.extras import load


def aggregate(name: str, scores: np.ndarray) -> np.ndarray:
    """Mean or interquartile mean over seeds and goals, `[seeds, goals, T] -> [T]`.

    As rliable's aggregates, for all times at once.
    """
    flat = scores.reshape(-1, scores.shape[-1])
    return stats.trim_mean(flat, 0.25, axis=0) if name == "iqm" else flat.mean(axis=0)


def interval(values: np.ndarray, statistic: str, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """Aggregate `[T]` of `[seeds, goals, T]` and its 95 % interval `[2, T]`."""
    return _bootstrap([values], lambda drawn: aggregate(statistic, drawn), resamples)


def _bootstrap(
    values: Sequence[np.ndarray], function: Callable[..., np.ndarray], resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """What `function` makes of `values`, `[seeds, ...]` each, and its 95 % interval."""
    library = load("rliable.library")
    seeds = tuple(np.arange(len(group))[:, None] for group in values)  # rliable would draw a seed per goal and time

    def of_seeds(*drawn: np.ndarray) -> np.ndarray:
        return function(*(group[chosen[:, 0]] for group, chosen in zip(values, drawn, strict=True)))

    before = np.random.get_state()
    np.random.seed(0)  # the same intervals each time: it draws from numpy's global numbers, whatever it is given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # rliable's own
        points, bounds = library.get_interval_estimates({"": seeds}, of_seeds, reps=resamples)
    np.random.set_state(before)
    return points[""], bounds[""]


def probability_of_improvement(ours: np.ndarray, theirs: np.ndarray, resamples: int) -> tuple[float, list[float]]:
    """Chance that a seed of ours beats one of theirs, averaged over goals, with its 95 % interval.

    The statistic of rliable, which calls a test of scipy's for each goal and resample and takes minutes.

    Args:
        ours: `[seeds, goals]`.
        theirs: `[seeds, goals]`.
        resamples: of the bootstrap.
    """

    def compare(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        better = np.sign(x[:, None] - y[None])  # a tie is half a win
        return np.array([0.5 + 0.5 * better.mean()])

    point, bounds = _bootstrap([ours, theirs], compare, resamples)
    return float(point[0]), [float(bound) for bound in bounds[:, 0]]
