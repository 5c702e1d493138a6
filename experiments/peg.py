"""Train Planning Exploratory Goals or one of its baselines: `python -m experiments.peg --env=point_maze`."""

import dataclasses
import shlex
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console

from experiments.cli import main, parse_run, say_changes
from experiments.config import RunConfig
from experiments.program import enable_compilation_cache
from experiments.tables import print_summary
from experiments.trainer import Trainer
from peg_jax.run.directory import RunDirectory
from peg_jax.run.session import Session


def run(arguments: Sequence[str]) -> int:
    """Train or resume as the command line says; returns the exit code."""
    config, resuming = parse_run(RunConfig, arguments)
    if not config.logdir:
        config = dataclasses.replace(config, logdir=new_logdir(config))
    console, directory = Console(), RunDirectory(config.logdir)
    if config.compilation_cache:
        enable_compilation_cache()
    resume = shlex.join(["python", "-m", "experiments.peg", f"--logdir={config.logdir}"])
    with Session(directory, resume, console) as session:
        console.print(f"{'resuming' if resuming else 'new run'} in {config.logdir}", soft_wrap=True)
        if resuming:
            say_changes(directory.read_config(), config, console)
        trainer = Trainer(config, session)
        if engine := getattr(trainer.program.task.env, "physics", None):
            console.print(f"physics     {engine}", soft_wrap=True)
        evaluation = trainer.run()
    print_summary(console, trainer.program.task, evaluation, trainer.seed_paths, trainer.env_steps)
    console.print(f"checkpoint  {directory.checkpoints}", soft_wrap=True)
    evaluate = shlex.join(["python", "-m", "experiments.evaluate", f"--logdir={config.logdir}"])
    console.print(f"evaluate again with: {evaluate}", soft_wrap=True)
    return 0


def new_logdir(config: RunConfig) -> str:
    """`runs/<env>_<method>_<preset>_seed<seed>_<time>`."""
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    return f"runs/{config.env}_{config.method}_{config.preset}_seed{config.seed}_{now}"


if __name__ == "__main__":
    main(run)
