"""Evaluate a run's checkpoint again: `python -m experiments.evaluate --logdir=runs/...`."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from rich.console import Console

from experiments import pictures
from experiments.cli import main, parse
from experiments.compilation import enable_compilation_cache
from experiments.config import RunConfig
from experiments.program import (
    abstract_state,
    checkpoint_store,
    compile_evaluation,
    run_task,
)
from experiments.seeds import evaluation_keys
from experiments.tables import success_table, write_evaluation
from peg_jax.core.config import ConfigError, require
from peg_jax.run.directory import RunDirectory
from peg_jax.run.progress import print_line


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a checkpoint: per-goal success and an animation per seed."""

    logdir: str = ""  # run directory
    step: int = -1  # checkpoint to read, in environment steps; -1 is the newest intact one
    repeats: int = 0  # evaluation episodes per goal; 0 means the run's own number


def run(arguments: Sequence[str]) -> int:
    """Evaluate as the command line says; returns the exit code."""
    options = parse(EvaluateConfig, arguments, EvaluateConfig())
    require(bool(options.logdir), "logdir", options.logdir, "name the directory of a run")
    require(options.repeats >= 0, "repeats", options.repeats, "it cannot be negative")
    directory = RunDirectory(options.logdir)
    if not directory.exists():
        raise ConfigError(f"--logdir={options.logdir} cannot work: there is no run; it should hold a config.json")
    config = directory.read_config_as(RunConfig)
    config = dataclasses.replace(config, eval_repeats=options.repeats or config.eval_repeats)
    enable_compilation_cache()
    console, task = Console(), run_task(config)
    store = checkpoint_store(config, directory, partial(print_line, console))
    state, step = store.restore(abstract_state(config, task), None if options.step < 0 else options.step)
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
