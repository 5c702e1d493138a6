"""Train Planning Exploratory Goals or one of its baselines: `python -m experiments.peg --env=point_maze`."""

import dataclasses
import shlex
from collections.abc import Sequence

from experiments.processes import as_one, join_first

join_first(__name__)  # gymnax, which is imported below, computes at once, and processes have to meet before that

# isort: split
from experiments.cli import main, parse_run
from experiments.config import RunConfig
from experiments.host import new_logdir, open_run
from experiments.labels import unused_options
from experiments.presets import preset
from experiments.tables import print_summary
from experiments.trainer import Trainer
from peg_jax.peg.methods import METHODS


def run(arguments: Sequence[str]) -> int:
    """Train or resume as the command line says; returns the exit code."""
    config, resuming = parse_run(RunConfig, arguments)
    config = as_one(config)
    if not config.logdir:
        config = dataclasses.replace(config, logdir=new_logdir(config.env, config))
    usual = preset(RunConfig, config.preset, config.env, config.method)
    unused = unused_options(config, usual, METHODS[config.method].idle)
    with open_run("experiments.peg", config, resuming, unused) as session:
        trainer = Trainer(config, session)
        if engine := getattr(trainer.program.task.env, "physics", None):
            session.console.print(f"physics     {engine}", soft_wrap=True)
        evaluation = trainer.run()
    console = session.console
    print_summary(console, trainer.program.task, evaluation, trainer.seed_paths, trainer.env_steps)
    console.print(f"checkpoint  {session.directory.checkpoints}", soft_wrap=True)
    evaluate = shlex.join(["python", "-m", "experiments.evaluate", f"--logdir={config.logdir}"])
    console.print(f"evaluate again with: {evaluate}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
