"""The control beside every method: a policy of random actions in the evaluation's episodes."""

from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.config import RunConfig
from experiments.program import run_task
from experiments.success import CLOSEST
from peg_jax.peg.evaluation import evaluate_random
from peg_jax.run.directory import describe_start

EPISODES = 32  # per goal
SEED = 0


def play(config: RunConfig) -> dict[str, Any]:
    """Success and nearest distance per goal, as evidence has them, in the environment of a run."""
    run = jax.jit(partial(evaluate_random, run_task(config), repeats=EPISODES))
    evaluation = run(jax.random.key(SEED))
    measured = evaluation.success | {CLOSEST: evaluation.closest}
    scores = {name: np.round(np.asarray(values, np.float64), 4).tolist() for name, values in measured.items()}
    origin = {"env": config.env, "revision": describe_start()["git_revision"], "seed": SEED, "episodes": EPISODES}
    return origin | scores
