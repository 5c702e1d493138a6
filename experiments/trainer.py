"""The host's side of training: call compiled epochs, and between them log, evaluate, draw and save.

Nothing here changes the numbers of a run: all that does is in `TrainState`.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments import pictures
from experiments.config import RunConfig
from experiments.program import (
    Program,
    abstract_state,
    compile_program,
    evaluation_keys,
    imagined_paths,
    run_task,
    seed_keys,
    take_seed,
)
from peg_jax.peg.evaluation import Evaluation, evaluation_metrics
from peg_jax.peg.strategies.planned import PlannedGoals
from peg_jax.peg.training import CycleLog, TrainState
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import read_jsonl
from peg_jax.run.metrics import MetricsWriter
from peg_jax.run.progress import ProgressBar, state_table


class Trainer:
    """One run directory and the run in it."""

    def __init__(self, config: RunConfig, directory: RunDirectory, console: Console) -> None:
        """Compile, then start or resume.

        Raises:
            RunError: the directory cannot be used, or its checkpoints do not fit.
        """
        self.config, self.directory, self.console = config, directory, console
        self.algorithm = config.algorithm()
        self.store = CheckpointStore(directory.checkpoints)
        task = run_task(config)
        self.template = state = abstract_state(config, task)
        console.print(state_table(_sized(state), config.num_seeds))
        self.program: Program = compile_program(config, task, state, fresh=self.store.latest() is None)
        self.state, self.resumed_at = self._start_or_resume()
        self.writers = [MetricsWriter(path, resume_step=self.resumed_at) for path in self.seed_paths]
        self.clock = WallClock(directory.path / "timing.jsonl", self.resumed_at)

    @property
    def seed_paths(self) -> list[Path]:
        """The directory of each seed."""
        config = self.config
        return [self.directory.seed_directory(i, config.num_seeds, config.seed) for i in range(config.num_seeds)]

    @property
    def env_steps(self) -> int:
        """Environment steps of each seed so far."""
        return int(self.state.progress.env_steps)

    def _start_or_resume(self) -> tuple[TrainState, int | None]:
        if self.program.init is not None:
            return self.program.init(seed_keys(self.config)), None
        state, step = self.store.restore(self.template)
        self.console.print(f"resumed at {step:,} environment steps")
        return state, step

    def run(self) -> Evaluation:
        """Train to the end, and return the last evaluation."""
        config = self.config
        evaluation = None
        updates_before = int(self.state.progress.updates)
        label = f"{config.method} {config.env}" + (f" x{config.num_seeds}" if config.num_seeds > 1 else "")
        with ProgressBar(label, config.steps, self.env_steps, self.console) as bar:
            while self.env_steps < config.steps:
                before = self.env_steps
                self.state, log = self.program.epoch(self.algorithm, self.state)
                self._log(log, before)
                last = self.env_steps >= config.steps
                if last or self._due(config.eval_every, before):
                    evaluation = self.evaluate()
                if last or self._due(config.media_every, before):
                    self.draw(evaluation or self.evaluate())
                updates = int(self.state.progress.updates) - updates_before
                self.clock.write(self.env_steps, bar.steps_per_second, bar.updates_per_second)
                if last or self._due(config.checkpoint_every, before):
                    self.store.save(self.env_steps, self.state)
                success = None if evaluation is None else float(next(reversed(evaluation.success.values())).mean())
                bar.update(self.env_steps, updates, success)
        for writer in self.writers:
            writer.close()
        return evaluation if evaluation is not None else self.evaluate(write=False)

    def _due(self, period: int, before: int) -> bool:
        """Whether a multiple of `period` environment steps was passed in the last epoch."""
        return self.env_steps // period > before // period

    def _log(self, log: CycleLog, before: int) -> None:
        metrics = {name: np.asarray(value).mean(axis=1) for name, value in log.metrics.items()}
        goals = np.asarray(log.goals)
        steps = np.linspace(before, self.env_steps, goals.shape[1] + 1)[1:].astype(int)
        for index, writer in enumerate(self.writers):
            scalars = {name: float(values[index]) for name, values in metrics.items()}
            scalars["train_total_episodes"] = int(self.state.progress.episodes)
            scalars["updates"] = int(self.state.progress.updates)
            writer.write(self.env_steps, scalars)
            _append_goals(self.seed_paths[index] / "goals.jsonl", steps, goals[index])

    def evaluate(self, write: bool = True) -> Evaluation:
        """Evaluate all seeds as they are; `Evaluation` with a leading seed axis."""
        keys = evaluation_keys(seed_keys(self.config), self.env_steps)
        evaluation = self.program.evaluate(self.algorithm, self.state.seed.agent, keys)
        for index, writer in enumerate(self.writers if write else []):
            one = jax.tree.map(lambda x, index=index: x[index], evaluation)
            writer.write(self.env_steps, {name: float(v) for name, v in evaluation_metrics(one).items()})
        return evaluation

    def draw(self, evaluation: Evaluation) -> None:
        """All pictures of all seeds, under `media/`."""
        task, config = self.program.task, self.config
        for index, (path, writer) in enumerate(zip(self.seed_paths, self.writers, strict=True)):
            media = path / "media"
            one = jax.tree.map(lambda x, index=index: np.asarray(x[index]), evaluation)
            pictures.draw_evaluation(media / f"eval_gc_policy_{self.env_steps}", task, one)
            seed = take_seed(self.state, index).seed
            shown = {}
            if isinstance(seed.goals, PlannedGoals):
                best = replace(seed.goals, elites=seed.goals.elites[:10], elite_fitness=seed.goals.elite_fitness[:10])
                paths = imagined_paths(config.env, self.algorithm, seed.agent, best, seed.key)
                shown["top_10_cem"] = pictures.draw_top_goals(
                    media / f"top_10_cem_{self.env_steps}.png",
                    task,
                    np.asarray(paths),
                    np.asarray(best.elites),
                    np.asarray(best.elite_fitness),
                )
            steps, goals = _read_goals(path / "goals.jsonl", self.env_steps)
            if len(goals):
                shown["goals"] = pictures.draw_goal_map(media / "goals.png", task, goals, steps)
            shown["learning_curves"] = pictures.draw_curves(media / "learning_curves.png", path / "metrics.jsonl")
            for name, picture in shown.items():
                writer.image(name, self.env_steps, picture)


class WallClock:
    """`timing.jsonl`: speed and accumulated wall time, apart from the metrics, which are the same on every machine."""

    def __init__(self, path: Path, resumed_at: int | None) -> None:
        """Continue the clock of an earlier start of the run."""
        self.path, self.began = path, time.monotonic()
        lines = read_jsonl(path) if path.exists() else []
        kept = [line for line in lines if resumed_at is not None and line["step"] <= resumed_at]
        self.before = kept[-1]["wall_seconds"] if kept else 0.0
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, steps_per_second: float, updates_per_second: float) -> None:
        """Add a line."""
        line = {
            "step": step,
            "fps": round(steps_per_second, 2),
            "updates_per_second": round(updates_per_second, 3),
            "wall_seconds": round(self.before + time.monotonic() - self.began, 2),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _append_goals(path: Path, steps: np.ndarray, goals: np.ndarray) -> None:
    """One line per cycle; episodes without a goal are left out."""
    with path.open("a") as file:
        for step, chosen in zip(steps, goals, strict=True):
            kept = chosen[np.isfinite(chosen).all(axis=1)]
            file.write(json.dumps({"step": int(step), "goals": np.round(kept, 4).tolist()}) + "\n")


def _read_goals(path: Path, last_step: int) -> tuple[np.ndarray, np.ndarray]:
    lines = [line for line in read_jsonl(path) if line["goals"] and line["step"] <= last_step]
    if not lines:
        return np.zeros(0, int), np.zeros((0, 2))
    steps = np.concatenate([np.full(len(line["goals"]), line["step"]) for line in lines])
    return steps, np.concatenate([np.asarray(line["goals"]) for line in lines])


def _sized(state: TrainState) -> dict[str, Any]:
    """One seed's state by the names a user knows, for the table of what will be allocated."""
    state = jax.eval_shape(lambda s: take_seed(s, 0), state)
    agent = state.seed.agent
    parts = {name: getattr(agent, name) for name in agent.__dataclass_fields__}
    return {**parts, "replay": state.seed.replay, "goals": state.seed.goals}
