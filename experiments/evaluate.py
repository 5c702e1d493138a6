"""Evaluate a checkpoint again, `python -m experiments.evaluate --logdir=runs/...`, or `--pretrained=point_maze`."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from rich.console import Console

from experiments import pictures
from experiments.cli import main, parse
from experiments.compilation import enable_compilation_cache
from experiments.program import compile_evaluation
from experiments.restored import restore
from experiments.seeds import evaluation_keys
from experiments.tables import success_table, write_evaluation
from experiments.weights import load
from peg_jax.core.config import require


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a checkpoint: per-goal success and an animation per seed."""

    logdir: str = ""  # run directory
    pretrained: str = ""  # instead of a run: weights that come with the project, such as point_maze
    step: int = -1  # checkpoint to read, in environment steps; -1 is the newest intact one
    repeats: int = 0  # evaluation episodes per goal; 0 means the run's own number


def run(arguments: Sequence[str]) -> int:
    """Evaluate as the command line says; returns the exit code."""
    options = parse(EvaluateConfig, arguments, EvaluateConfig())
    require(options.repeats >= 0, "repeats", options.repeats, "it cannot be negative")
    enable_compilation_cache()
    console = Console()
    hint = "name a run (--logdir) or weights (--pretrained), not both"
    require(not (options.logdir and options.pretrained), "pretrained", options.pretrained, hint)
    loaded = load(options.pretrained) if options.pretrained else restore(options.logdir, options.step, console)
    directory, config, task, state, step = loaded
    config = dataclasses.replace(config, eval_repeats=options.repeats or config.eval_repeats)
    evaluate = compile_evaluation(config, task, state)
    evaluation = evaluate(config.algorithm(), state.seed.agent, evaluation_keys(config, step))

    console.print(success_table(task, evaluation, f"success after {step:,} environment steps"))
    output = directory.path / "evaluation"
    write_evaluation(output / f"success_{step}.json", task, evaluation, step)
    for index in range(config.num_seeds):
        one = jax.tree.map(lambda x, index=index: np.asarray(x[index]), evaluation)
        path = output / f"eval_gc_policy_{step}_seed{config.seed + index}"
        pictures.draw_evaluation(path, task, one, step)
        console.print(f"animation   {path}.gif", soft_wrap=True)
    console.print(f"table       {output / f'success_{step}.json'}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
