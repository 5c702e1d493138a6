"""Evaluation of an explorer that is not trained further: what it is paid and how far it comes, a table and videos."""

import dataclasses

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.curiosity_program import EVALUATED, compile_evaluation, make_recorder, r_variables
from experiments.curiosity_trainer import video
from experiments.restored import CuriousRun
from experiments.seeds import evaluation_keys
from peg_jax.curiosity.evaluation import Evaluation
from peg_jax.run.files import write_json
from peg_jax.run.media import write_animation

Scores = dict[str, dict[str, list[float]]]  # by split and measure, one mean per seed


def evaluate(run: CuriousRun, episodes: int) -> Evaluation:
    """First episodes of a run's policies: `[seeds, splits, environments]`; `episodes` 0 is the run's own number."""
    config = dataclasses.replace(run.config, eval_envs=episodes or run.config.eval_envs)
    keys, params = evaluation_keys(config, run.step), run.state.seed.learner.params
    found, _ = compile_evaluation(config, run.task, run.state)(params, r_variables(config, run.state), keys)
    evaluation: Evaluation = jax.tree.map(np.asarray, found)
    return evaluation


def means(found: Evaluation) -> Scores:
    """Means over the episodes."""
    return {
        split: {
            name: np.round(values[:, index].mean(axis=-1, dtype=float), 4).tolist()
            for name, values in found._asdict().items()
        }
        for index, split in enumerate(EVALUATED)
    }


def show(run: CuriousRun, found: Evaluation, console: Console) -> None:
    """Print the means, write them and draw an episode of each seed, under `evaluation/` of the run."""
    scores, folder, step = means(found), run.directory.path / "evaluation", run.step
    console.print(_table(scores, f"{run.config.method} {run.config.scenario} after {step:,} environment steps"))
    write_json(folder / f"episodes_{step}.json", {"env_steps": step, "episodes": found.reward.shape[-1], **scores})
    record, keys = make_recorder(run.config, run.task), evaluation_keys(run.config, step)
    for index in range(run.config.num_seeds):
        params = jax.tree.map(lambda x, index=index: x[index], run.state.seed.learner.params)
        path = folder / f"episode_{step}_seed{run.config.seed + index}"
        write_animation(path, video(record(params, keys[index])), fps=15)
        console.print(f"animation   {path}.gif", soft_wrap=True)
    console.print(f"table       {folder / f'episodes_{step}.json'}", soft_wrap=True)


def _table(scores: Scores, title: str) -> Table:
    table = Table("mazes", "reward", "cells", "share of the reachable", "steps", title=title)
    for split, measured in scores.items():
        reward, cells, share, steps = (np.mean(measured[name]) for name in Evaluation._fields)
        table.add_row(split, f"{reward:.2f}", f"{cells:.1f}", f"{share:.2f}", f"{steps:.0f}")
    return table
