"""Train an exploring PPO, in mazes or as an ant: `python -m experiments.episodic_curiosity --scenario=sparse`."""

import dataclasses
from collections.abc import Sequence

from rich.table import Table

from experiments.processes import as_one, join_first

join_first(__name__)  # gymnax, which is imported below, computes at once, and processes have to meet before that

# isort: split
from experiments.cli import main
from experiments.curiosity_config import BEFORE, idle_parts, parse_curious, preset
from experiments.curiosity_program import EVALUATED
from experiments.curiosity_trainer import CuriosityTrainer
from experiments.host import new_logdir, open_run
from experiments.labels import unused_options
from peg_jax.core.config import require
from peg_jax.curiosity.evaluation import Evaluation
from peg_jax.run.processes import several


def run(arguments: Sequence[str]) -> int:
    """Train or resume as the command line says; returns the exit code."""
    config, resuming = parse_curious(arguments)
    config = as_one(config)
    one_process = "its R-network is trained by one process; use ppo_plus_eco, or a run directory per process"
    require(config.method != BEFORE or not several(), "method", config.method, one_process)
    if not resuming:
        logdir = config.logdir or new_logdir(config.scenario, config)
        config = dataclasses.replace(config, logdir=logdir, schedule_steps=config.schedule_steps or config.steps)
    usual = preset(config.preset, config.scenario, config.method)
    unused = unused_options(config, usual, idle_parts(config.method))
    with open_run("experiments.episodic_curiosity", config, resuming, unused) as session:
        trainer = CuriosityTrainer(config, session)
        if engine := getattr(trainer.task.env, "physics", None):
            session.console.print(f"physics     {engine}", soft_wrap=True)
        evaluation = trainer.run()
    console = session.console
    console.print(summary(evaluation, f"first episodes after {trainer.env_steps:,} environment steps"))
    for path in trainer.seed_paths if config.media_every else []:
        console.print(f"curves      {path / 'media' / 'learning_curves.png'}", soft_wrap=True)
        console.print(f"episode     {path / 'media' / f'episode_{trainer.env_steps}.gif'}", soft_wrap=True)
    console.print(f"checkpoint  {session.directory.checkpoints}", soft_wrap=True)
    return 0


def summary(evaluation: Evaluation, title: str) -> Table:
    """Means over seeds and environments, per split."""
    table = Table("split", "reward", "cells visited", "of those reachable", "steps", title=title)
    for index, name in enumerate(EVALUATED):
        reward, cells, share, steps = (values[:, index].mean() for values in evaluation)
        table.add_row(name, f"{reward:.2f}", f"{cells:.1f}", f"{100 * share:.1f}%", f"{steps:.0f}")
    return table


if __name__ == "__main__":
    main(run)
