"""Keep what a run has learned with the project: `python -m experiments.publish --logdir=runs/... --name=point_maze`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments import weights
from experiments.cli import main, parse
from experiments.compilation import enable_compilation_cache
from experiments.evidence import portable
from experiments.program import compile_evaluation
from experiments.restored import restore
from experiments.seeds import evaluation_keys
from peg_jax.core.config import require


@dataclasses.dataclass(frozen=True)
class PublishConfig:
    """Write the weights of a run of one seed, its options and its scores where `evaluate --pretrained` finds them."""

    logdir: str = ""  # run directory
    name: str = ""  # what they are called
    step: int = -1  # checkpoint to read, in environment steps; -1 is the newest intact one
    repeats: int = 40  # evaluation episodes per goal for the scores
    output: str = str(weights.FOLDER)  # folder of the weights


def run(arguments: Sequence[str]) -> int:
    """Publish as the command line says; returns the exit code."""
    options = parse(PublishConfig, arguments, PublishConfig())
    require(options.name.isidentifier(), "name", options.name, "letters, digits and underscores, such as point_maze")
    require(options.repeats >= 1, "repeats", options.repeats, "it must be at least 1")
    enable_compilation_cache()
    console = Console()
    restored = restore(options.logdir, options.step, console)
    config = dataclasses.replace(restored.config, eval_repeats=options.repeats)
    require(config.num_seeds == 1, "logdir", options.logdir, "it holds several seeds; publish a run of one")
    evaluate = compile_evaluation(config, restored.task, restored.state)
    scores = evaluate(config.algorithm(), restored.state.seed.agent, evaluation_keys(config, restored.step))
    start = restored.directory.read_starts()[0]
    facts = {
        "command": portable(start["command"]),
        "revision": start["git_revision"],
        "updates": int(restored.state.progress.updates),
        "episodes_per_goal": options.repeats,
        "success": {name: [round(float(x), 3) for x in values[0]] for name, values in scores.success.items()},
    }
    file = weights.publish(restored, options.name, facts, Path(options.output))
    console.print(f"weights   {file}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
