"""Keep what a run has learned with the project: `python -m experiments.publish --logdir=runs/... --name=point_maze`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import evaluate, evaluate_curiosity, weights
from experiments.cli import main, parse
from experiments.compilation import enable_compilation_cache
from experiments.evidence import portable
from experiments.programs import program_of
from experiments.restored import CURIOSITY, PEG, CuriousRun, GoalRun, existing, restore_as
from peg_jax.core.config import require


@dataclasses.dataclass(frozen=True)
class PublishConfig:
    """Write the weights of a run of one seed, its options and its scores where `evaluate --pretrained` finds them."""

    logdir: str = ""  # run directory
    name: str = ""  # what they are called
    step: int = -1  # checkpoint to read, in environment steps; -1 is the newest intact one
    repeats: int = 40  # evaluation episodes per goal, or mazes, for the scores
    output: str = str(weights.FOLDER)  # folder of the weights


def run(arguments: Sequence[str]) -> int:
    """Publish as the command line says; returns the exit code."""
    options = parse(PublishConfig, arguments, PublishConfig())
    require(options.name.isidentifier(), "name", options.name, "letters, digits and underscores, such as point_maze")
    require(options.repeats >= 1, "repeats", options.repeats, "it must be at least 1")
    enable_compilation_cache()
    console, explores = Console(), program_of(existing(options.logdir)) == "episodic_curiosity"
    restored: Any = restore_as(CURIOSITY if explores else PEG, options.logdir, options.step, console)
    require(restored.config.num_seeds == 1, "logdir", options.logdir, "it holds several seeds; publish a run of one")
    start = restored.directory.read_starts()[0]
    facts = {
        "command": portable(start["command"]),
        "revision": start["git_revision"],
        "updates": int(restored.state.progress.updates),
    }
    facts |= _scores_in_mazes(restored, options.repeats) if explores else _scores_by_goal(restored, options.repeats)
    file = weights.publish(restored, options.name, facts, Path(options.output))
    console.print(f"weights   {file}", soft_wrap=True)
    return 0


def _scores_by_goal(run: GoalRun, episodes: int) -> dict[str, Any]:
    success = evaluate.evaluate(run, episodes).success
    scores = {name: [round(float(x), 3) for x in values[0]] for name, values in success.items()}
    return {"episodes_per_goal": episodes, "success": scores}


def _scores_in_mazes(run: CuriousRun, episodes: int) -> dict[str, Any]:
    return {"episodes": episodes, "scores": evaluate_curiosity.means(evaluate_curiosity.evaluate(run, episodes))}


if __name__ == "__main__":
    main(run)
