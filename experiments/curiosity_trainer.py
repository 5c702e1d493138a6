"""The host's side of an Episodic Curiosity run: call compiled epochs, and between them log, evaluate, draw and save.

Nothing here changes the numbers of a run: all that does is in `TrainState`.
"""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from experiments.curiosity_config import CuriosityRunConfig, run_task
from experiments.curiosity_program import (
    EVALUATED,
    Pictures,
    Program,
    abstract_state,
    compile_program,
    evaluation_keys,
    make_recorder,
)
from experiments.logs import WallClock
from experiments.program import seed_keys
from peg_jax.core.types import Key, Metrics, Params
from peg_jax.curiosity.evaluation import Evaluation
from peg_jax.curiosity.training import TrainState
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import replacing
from peg_jax.run.media import tile, write_animation
from peg_jax.run.metrics import MetricsWriter, read_metrics
from peg_jax.run.plots import learning_curves
from peg_jax.run.progress import ProgressBar, state_table

CSV_NAMES = {"validation": "valid", "test": "test"}
CURVES = (
    "eprewmean",
    "coverage",
    "coverage_share",
    "test_reward",
    "test_coverage",
    "valid_reward",
    "policy_entropy",
    "explained_variance",
    "approxkl",
)
VIDEO_FRAMES = 300  # at most; a longer episode is shown with steps left out


class CuriosityTrainer:
    """One run directory and the run in it."""

    def __init__(self, config: CuriosityRunConfig, directory: RunDirectory, console: Console) -> None:
        """Compile, then start or resume.

        Raises:
            RunError: the directory cannot be used, or its checkpoints do not fit.
        """
        self.config, self.directory, self.console = config, directory, console
        self.algorithm, self.task = config.algorithm(), run_task(config)
        self.store = CheckpointStore(directory.checkpoints)
        self.template = state = abstract_state(config, self.task)
        console.print(state_table({"learner": state.seed.learner, "environments": state.seed.collector}, 1))
        self.program: Program = compile_program(config, self.task, state, fresh=self.store.latest() is None)
        self.recorder: Callable[[Params, Key], Pictures] = make_recorder(config, self.task)
        self.state, self.resumed_at = self._start_or_resume()
        self.writers = [MetricsWriter(path, resume_step=self.resumed_at) for path in self.seed_paths]
        names = ("train", *CSV_NAMES.values())
        self.tables = [
            {name: RewardTable(path / f"reward_{name}.csv", config.metric, self.resumed_at) for name in names}
            for path in self.seed_paths
        ]
        self.clock = WallClock(directory.path, self.resumed_at)

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
        if self.resumed_at is None:
            self.evaluate()
        evaluation = None
        label = f"{config.method} {config.scenario}" + (f" x{config.num_seeds}" if config.num_seeds > 1 else "")
        updates_before = int(self.state.progress.updates)
        with ProgressBar(label, config.steps, self.env_steps, self.console) as bar:
            while self.env_steps < config.steps:
                before = self.env_steps
                self.state, metrics = self.program.epoch(self.algorithm, self.state)
                self._log(metrics, before)
                last = self.env_steps >= config.steps
                if last or self._due(config.eval_every, before):
                    evaluation = self.evaluate()
                if last or self._due(config.media_every, before):
                    self.draw()
                self.clock.write(self.env_steps, bar.steps_per_second, bar.updates_per_second)
                if last or self._due(config.checkpoint_every, before):
                    self.store.save(self.env_steps, self.state)
                bar.update(self.env_steps, int(self.state.progress.updates) - updates_before)
        for writer in self.writers:
            writer.close()
        return evaluation if evaluation is not None else self.evaluate(write=False)

    def _due(self, period: int, before: int) -> bool:
        """Whether a multiple of `period` environment steps was passed in the last epoch."""
        return self.env_steps // period > before // period

    def _log(self, metrics: Metrics, before: int) -> None:
        table = {name: np.asarray(value) for name, value in metrics.items()}
        shown = "coverage" if self.config.metric == "coverage" else "eprewmean"
        updates = table[shown].shape[1]
        steps = np.linspace(before, self.env_steps, updates + 1)[1:].astype(int)
        for index, writer in enumerate(self.writers):
            # Episode means are of the last update; the others are means over the epoch.
            scalars = {name: float(values[index].mean()) for name, values in table.items()}
            scalars |= {name: float(table[name][index, -1]) for name in table if name.startswith(("ep", "coverage"))}
            scalars["nupdates"] = int(self.state.progress.updates)
            writer.write(self.env_steps, scalars)
            self.tables[index]["train"].write(steps.tolist(), table[shown][index].tolist())

    def evaluate(self, write: bool = True) -> Evaluation:
        """Evaluate all seeds as they are: `[seeds, splits, environments]`."""
        keys = evaluation_keys(seed_keys(self.config), self.env_steps)
        evaluation = jax.tree.map(np.asarray, self.program.evaluate(self.state.seed.learner.params, keys))
        values = evaluation.cells if self.config.metric == "coverage" else evaluation.reward
        for index, writer in enumerate(self.writers if write else []):
            scalars = {}
            for split, name in enumerate(CSV_NAMES[split] for split in EVALUATED):
                scalars[f"{name}_reward"] = evaluation.reward[index, split].mean()
                scalars[f"{name}_coverage"] = evaluation.cells[index, split].mean()
                scalars[f"{name}_coverage_share"] = evaluation.share[index, split].mean()
                self.tables[index][name].write([self.env_steps], [float(values[index, split].mean())])
            writer.write(self.env_steps, scalars)
        return evaluation

    def draw(self) -> None:
        """A test episode and the curves of every seed, under `media/`."""
        keys = evaluation_keys(seed_keys(self.config), self.env_steps)
        for index, (path, writer) in enumerate(zip(self.seed_paths, self.writers, strict=True)):
            params = jax.tree.map(lambda x, index=index: x[index], self.state.seed.learner.params)
            frames = video(self.recorder(params, keys[index]))
            write_animation(path / "media" / f"episode_{self.env_steps}", frames, fps=15)
            series = read_metrics(path / "metrics.jsonl")
            panels = {name: {"run": (series[name].steps, series[name].values)} for name in CURVES if name in series}
            writer.image("episode_end", self.env_steps, frames[-1])
            curves = learning_curves(path / "media" / "learning_curves.png", panels)
            writer.image("learning_curves", self.env_steps, curves)


def video(pictures: Pictures) -> np.ndarray:
    """The view, enlarged, beside the map: uint8 `[T, H, W, 3]`."""
    shown, above, alive = map(np.asarray, pictures)
    length = max(1, int(alive.sum()))
    chosen = np.linspace(0, length - 1, min(length, VIDEO_FRAMES)).astype(int)
    factor = max(1, 168 // shown.shape[1])
    view = shown[chosen].repeat(factor, axis=1).repeat(factor, axis=2)
    above = above[chosen].repeat(2, axis=1).repeat(2, axis=2)
    return tile([view, above], columns=2)


class RewardTable:
    """`reward_*.csv`: one row per point, with the columns `step`, the metric's name and `timestamp_s` (section 5.2)."""

    def __init__(self, path: Path, name: str, resumed_at: int | None) -> None:
        """Open; rows of an earlier attempt after `resumed_at` are dropped, all of them if it is None."""
        self.path, header = path, ["step", name, "timestamp_s"]
        rows = list(csv.reader(path.open()))[1:] if path.exists() and resumed_at is not None else []
        kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= (resumed_at or 0)]
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([header, *kept])

    def write(self, steps: list[int], values: list[float]) -> None:
        """Add rows."""
        now = round(time.time(), 2)
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows([step, value, now] for step, value in zip(steps, values, strict=True))
