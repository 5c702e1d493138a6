"""Tables for the terminal and for files."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from peg_jax.core.environment import Task
from peg_jax.peg.evaluation import Evaluation
from peg_jax.run.files import write_json


def success_table(task: Task, evaluation: Evaluation, title: str) -> Table:
    """Per-goal success of an evaluation with a leading seed axis: mean over seeds, and each metric's mean below."""
    table = Table(title=title)
    table.add_column("goal")
    table.add_column("at", justify="right")
    for name in evaluation.success:
        table.add_column(name, justify="right")
    table.add_column("steps", justify="right")
    table.add_column("closest", justify="right")
    values = {name: np.asarray(value).mean(axis=0) for name, value in evaluation.success.items()}
    steps, closest = (np.asarray(value).mean(axis=0) for value in (evaluation.steps, evaluation.closest))
    for index, label in enumerate(task.env.eval_goal_names):
        row = [f"{value[index]:.2f}" for value in values.values()]
        row += [f"{steps[index]:.0f}", f"{closest[index]:.2f}"]
        table.add_row(str(index), label, *row, end_section=index == len(steps) - 1)
    row = [f"{value.mean():.2f}" for value in values.values()]
    table.add_row("all", "", *row, f"{steps.mean():.0f}", f"{closest.mean():.2f}")
    return table


def write_evaluation(path: Path, task: Task, evaluation: Evaluation, env_steps: int) -> None:
    """The same as JSON: per metric and seed, one number per goal."""
    success = {name: np.asarray(value).tolist() for name, value in evaluation.success.items()}
    goals = list(task.env.eval_goal_names)
    closest = np.asarray(evaluation.closest).tolist()
    write_json(path, {"env_steps": env_steps, "goals": goals, "success": success, "closest": closest})


def print_summary(console: Console, task: Task, evaluation: Evaluation, paths: list[Path], env_steps: int) -> None:
    """The end of a run: the table, and where everything lies."""
    console.print(success_table(task, evaluation, f"success after {env_steps:,} environment steps"))
    for path in paths:
        if not (path / "media" / "learning_curves.png").exists():  # a run without pictures
            continue
        console.print(f"curves      {path / 'media' / 'learning_curves.png'}", soft_wrap=True)
        if (path / "media" / "goals.png").exists():  # a method that only explores has none
            console.print(f"goals       {path / 'media' / 'goals.png'}", soft_wrap=True)
        console.print(f"animation   {path / 'media' / f'eval_gc_policy_{env_steps}.gif'}", soft_wrap=True)
