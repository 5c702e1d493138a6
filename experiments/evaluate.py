"""Evaluate a checkpoint again, `python -m experiments.evaluate --logdir=runs/...`, or `--pretrained=point_maze`."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from rich.console import Console

from experiments import evaluate_curiosity, pictures, weights
from experiments.cli import main, parse
from experiments.compilation import enable_compilation_cache
from experiments.program import compile_evaluation
from experiments.programs import program_of
from experiments.restored import CURIOSITY, GoalRun, existing, restore, restore_as
from experiments.seeds import evaluation_keys
from experiments.tables import success_table, write_evaluation
from peg_jax.core.config import require
from peg_jax.peg.evaluation import Evaluation
from peg_jax.run.progress import print_line


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a checkpoint: success by goal, or reward and coverage in mazes, and an animation per seed."""

    logdir: str = ""  # run directory
    pretrained: str = ""  # instead of a run: weights that come with the project, such as point_maze
    step: int = -1  # checkpoint to read, in environment steps; -1 is the newest intact one
    repeats: int = 0  # episodes per goal, or mazes; 0 means the run's own number


def run(arguments: Sequence[str]) -> int:
    """Evaluate as the command line says; returns the exit code."""
    options = parse(EvaluateConfig, arguments, EvaluateConfig())
    require(options.repeats >= 0, "repeats", options.repeats, "it cannot be negative")
    hint = "name a run (--logdir) or weights (--pretrained), not both"
    require(not (options.logdir and options.pretrained), "pretrained", options.pretrained, hint)
    require(not options.pretrained or options.step < 0, "step", options.step, "published weights are of one step")
    enable_compilation_cache()
    console, name = Console(), options.pretrained
    if (weights.program_of(name) if name else program_of(existing(options.logdir))) == "episodic_curiosity":
        explorer = weights.load_curious(name) if name else restore_as(CURIOSITY, options.logdir, options.step, console)
        evaluate_curiosity.show(explorer, evaluate_curiosity.evaluate(explorer, options.repeats), console)
    else:
        show(weights.load(name) if name else restore(options.logdir, options.step, console), options.repeats, console)
    if name:
        print_line(console, weights.published(name))
    return 0


def evaluate(run: GoalRun, repeats: int) -> Evaluation:
    """Success by goal, a leading axis over seeds; `repeats` 0 is the run's own number of episodes per goal."""
    config = dataclasses.replace(run.config, eval_repeats=repeats or run.config.eval_repeats)
    program = compile_evaluation(config, run.task, run.state)
    return program(config.algorithm(), run.state.seed.agent, evaluation_keys(config, run.step))


def show(run: GoalRun, repeats: int, console: Console) -> None:
    """Evaluate a run of PEG or one of its baselines; print and write the table, and draw the rollouts."""
    (directory, config, task, _, step), evaluation = run, evaluate(run, repeats)
    console.print(success_table(task, evaluation, f"success after {step:,} environment steps"))
    output = directory.path / "evaluation"
    write_evaluation(output / f"success_{step}.json", task, evaluation, step)
    for index in range(config.num_seeds):
        one = jax.tree.map(lambda x, index=index: np.asarray(x[index]), evaluation)
        path = output / f"eval_gc_policy_{step}_seed{config.seed + index}"
        pictures.draw_evaluation(path, task, one, step)
        console.print(f"animation   {path}.gif", soft_wrap=True)
    console.print(f"table       {output / f'success_{step}.json'}", soft_wrap=True)


if __name__ == "__main__":
    main(run)
