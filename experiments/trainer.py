"""The host's side of training: call compiled epochs, and between them log, evaluate, draw and save.

Nothing here changes the numbers of a run: all that does is in `TrainState`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import pictures
from experiments.config import RunConfig
from experiments.logs import GOALS, GoalLog, WallClock, read_go_steps, read_goals
from experiments.memory import require_memory
from experiments.program import (
    Program,
    Shown,
    abstract_state,
    checkpoint_store,
    compile_program,
    evaluation_keys,
    imagined_paths,
    inspect,
    run_task,
    seed_keys,
    take_seed,
    take_shown,
)
from peg_jax.peg.evaluation import Evaluation, evaluation_metrics
from peg_jax.peg.strategies.planned import PlannedGoals
from peg_jax.peg.training import CycleLog, TrainState
from peg_jax.run.files import NumbersError
from peg_jax.run.metrics import MetricsWriter
from peg_jax.run.progress import ProgressBar, print_line, state_table
from peg_jax.run.session import Session

SHOWN_EPISODES = 128  # about so many of the latest in `state_occupancy`


class Trainer:
    """One run directory and the run in it."""

    def __init__(self, config: RunConfig, session: Session) -> None:
        """Compile, then start or resume.

        Raises:
            RunError: the directory cannot be used, or its checkpoints do not fit.
            ConfigError: the state does not fit into memory.
        """
        self.config, self.session = config, session
        self.console, self.directory = session.console, session.directory
        self.algorithm = config.algorithm()
        self.store = checkpoint_store(config, self.directory, self._say)
        task = run_task(config)
        self.template = state = abstract_state(config, task)
        sizes = _sized(state)
        self.console.print(state_table(sizes, config.num_seeds))
        require_memory(config, sizes)
        self.directory.write_config(config)  # from here on it is a run, which keeps its options
        self.program: Program = compile_program(config, task, state, fresh=self.store.latest() is None)
        self.state, resumed_at = self._start_or_resume()
        self.writers = [MetricsWriter(path, resumed_at) for path in self.seed_paths]
        self.goal_logs = [GoalLog(path, resumed_at) for path in self.seed_paths]
        self.clock = WallClock(self.directory.path, resumed_at)
        self.left_alone: set[int] = set()  # seeds whose numbers have gone bad, as far as it was said

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
        self._say(f"resumed at {step:,} of {self.config.steps:,} environment steps")
        return state, step

    def run(self) -> Evaluation:
        """Train to the end, and return the last evaluation.

        Raises:
            StoppedError: the run was asked to stop, and is saved.
            NumbersError: no seed is left whose numbers are finite.
            DiskError: the disk refuses, or the directory has gone.
        """
        config = self.config
        evaluation = None
        updates_before = int(self.state.progress.updates)
        label = f"{config.method} {config.env}" + (f" x{config.num_seeds}" if config.num_seeds > 1 else "")
        with ProgressBar(label, config.steps, self.env_steps, self.console) as bar, self.session.training():
            while self.env_steps < config.steps:
                before = self.env_steps
                self.state, log = self.program.epoch(self.algorithm, self.state)
                self._log(log, before)
                last = self.env_steps >= config.steps
                if last or self._due(config.eval_every, before):
                    evaluation = self.evaluate()
                updates = int(self.state.progress.updates) - updates_before
                held = evaluation.success if evaluation else {}
                success = float(held.get("success_cell", held["success"]).mean()) if held else None
                bar.update(self.env_steps, updates, success)
                self.clock.write(self.env_steps, bar.steps_per_second, bar.updates_per_second)
                self._save_when_due(before, last)
                if last or self._due(config.media_every, before):
                    self.draw(evaluation or self.evaluate(write=False))
        for writer in self.writers:
            writer.close()
        return evaluation if evaluation is not None else self.evaluate(write=False)

    def _save_when_due(self, before: int, last: bool) -> None:
        """Save, unless nothing finite is left, and leave when asked to; the last epoch is finished in any case."""
        self.session.check()
        bad = np.asarray(self.state.seed.bad_updates)
        self._tell_of_bad_numbers(bad)
        stopping = self.session.stopping  # asked once: a signal that comes during the save waits for the next epoch
        if last or stopping or self._due(self.config.checkpoint_every, before):
            self.store.save(self.env_steps, self.state, good=not bad.any())
        if stopping and not last:
            self.session.leave(self.env_steps)

    def _tell_of_bad_numbers(self, bad: np.ndarray) -> None:
        """Name the seeds `[num_seeds]` that are updated no more.

        Raises:
            NumbersError: that is all of them.
        """
        limit = self.config.loop.bad_updates
        stopped = set(np.flatnonzero(bad >= limit).tolist()) if limit else set()
        good = self.store.last_good()
        kept = "there is no good checkpoint" if good is None else f"last good checkpoint: {self.store.folder(good)}"
        for index in sorted(stopped - self.left_alone):
            seed = self.config.seed + index
            reason = f"{bad[index]} updates in a row were not finite"
            self._say(f"seed {seed} is updated no more at {self.env_steps:,} steps: {reason}; {kept}")
        self.left_alone = stopped
        if len(stopped) == len(bad):
            raise NumbersError(
                f"the numbers of every seed went bad by {self.env_steps:,} steps: {limit} "
                f"updates in a row were not finite; {kept}. A run with smaller learning rates may do better"
            )

    def _say(self, line: str) -> None:
        print_line(self.console, line)

    def _due(self, period: int, before: int) -> bool:
        """Whether a multiple of `period` environment steps was passed in the last epoch."""
        return self.env_steps // period > before // period

    def _log(self, log: CycleLog, before: int) -> None:
        metrics = {name: np.asarray(value).mean(axis=1) for name, value in log.metrics.items()}
        goals, went = np.asarray(log.goals), np.asarray(log.go_steps)
        steps = np.linspace(before, self.env_steps, goals.shape[1] + 1)[1:].astype(int)
        for index, writer in enumerate(self.writers):
            scalars = {name: float(values[index]) for name, values in metrics.items()}
            scalars["train_total_episodes"] = int(self.state.progress.episodes)
            scalars["updates"] = int(self.state.progress.updates)
            writer.write(self.env_steps, scalars)
            self.goal_logs[index].write(steps, goals[index], went[index])

    def evaluate(self, write: bool = True) -> Evaluation:
        """Evaluate all seeds as they are; `Evaluation` with a leading seed axis."""
        keys = evaluation_keys(seed_keys(self.config), self.env_steps)
        evaluation = self.program.evaluate(self.algorithm, self.state.seed.agent, keys)
        for index, writer in enumerate(self.writers if write else []):
            one = jax.tree.map(lambda x, index=index: x[index], evaluation)
            writer.write(self.env_steps, {name: float(v) for name, v in evaluation_metrics(one).items()})
        return evaluation

    def draw(self, evaluation: Evaluation) -> None:
        """All pictures of all seeds, in `media/` and in TensorBoard."""
        slots = jax.tree.leaves(self.state.seed.replay.experience)[0].shape[2]
        cycles = min(slots, max(1, SHOWN_EPISODES // self.config.loop.num_envs))
        for index, (path, writer) in enumerate(zip(self.seed_paths, self.writers, strict=True)):
            one = jax.tree.map(lambda x, index=index: np.asarray(x[index]), evaluation)
            shown = take_shown(self.state, index, cycles)
            for name, picture in self._draw_beliefs(path, shown, cycles).items():
                writer.image(name, self.env_steps, picture)
            for name, animation in self._animate(path, one, shown).items():
                writer.animation(name, self.env_steps, animation)

    def _draw_beliefs(self, path: Path, shown: Shown, cycles: int) -> dict[str, np.ndarray]:
        """The still pictures of the seed in `path`, by name."""
        task, config, step, media = self.program.task, self.config, self.env_steps, path / "media"
        drawn = {}
        if isinstance(shown.goals, PlannedGoals):
            best = replace(shown.goals, elites=shown.goals.elites[:10], elite_fitness=shown.goals.elite_fitness[:10])
            paths = imagined_paths(config.env, self.algorithm, shown.agent, best, shown.key)
            chosen, fitness = np.asarray(best.elites), np.asarray(best.elite_fitness)
            drawn["top_10_cem"] = pictures.draw_top_goals(
                media / f"top_10_cem_{step}.png", task, np.asarray(paths), chosen, fitness, step
            )
        goal = np.asarray(task.env.eval_goals(task.params)[0])
        _, _, places = pictures.map_grid(task, np.asarray(shown.episodes.obs[-1, 0]))
        beliefs = inspect(config.env, self.algorithm, shown, places, goal)
        go_steps = read_go_steps(path / GOALS, cycles, config.loop.num_envs)
        if len(go_steps):
            drawn["state_occupancy"] = pictures.draw_occupancy(
                media / f"state_occupancy_{step}.png", task, shown.episodes, go_steps, beliefs, goal, step
            )
        predicted = np.asarray(beliefs.predicted)
        drawn["openl"] = pictures.draw_open_loop(media / f"openl_{step}.png", task, shown.episodes, predicted, step)
        steps, goals = read_goals(path / GOALS)
        if len(goals):
            drawn["goals"] = pictures.draw_goal_map(media / "goals.png", task, goals, steps)
        drawn["learning_curves"] = pictures.draw_curves(media / "learning_curves.png", path / "metrics.jsonl")
        return drawn

    def _animate(self, path: Path, evaluation: Evaluation, shown: Shown) -> dict[str, Path]:
        """The animations of the seed in `path`, by name."""
        task, step, media = self.program.task, self.env_steps, path / "media"
        went = read_go_steps(path / GOALS, 1, self.config.loop.num_envs)
        episode = jax.tree.map(lambda x: x[-1], shown.episodes)
        return {
            "eval_gc_policy": pictures.draw_evaluation(media / f"eval_gc_policy_{step}", task, evaluation, step),
            "train_policy": pictures.draw_training(
                media / f"train_policy_{step}", task, episode, int(went[-1]) if len(went) else None, step
            ),
        }


def _sized(state: TrainState) -> dict[str, Any]:
    """One seed's state by the names a user knows, for the table of what will be allocated."""
    state = jax.eval_shape(lambda s: take_seed(s, 0), state)
    agent = state.seed.agent
    parts = {name: getattr(agent, name) for name in agent.__dataclass_fields__}
    return {**parts, "replay": state.seed.replay, "goals": state.seed.goals}
