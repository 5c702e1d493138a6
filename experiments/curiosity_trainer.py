"""Training an exploring PPO: what is logged, evaluated and drawn between compiled epochs."""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.curiosity_config import BESIDE, CURIOUS, CuriosityRunConfig, run_task
from experiments.curiosity_program import (
    EVALUATED,
    Pictures,
    Program,
    abstract_state,
    checkpoint_store,
    compile_program,
    make_recorder,
    r_variables,
)
from experiments.host import Host
from experiments.memory import Growing
from experiments.pictures import enlarged
from experiments.r_network_stage import load_r_networks, require_stage_memory, train_r_networks, trains_r_network
from experiments.seeds import evaluation_keys
from peg_jax.core.types import Key, Metrics, Params
from peg_jax.curiosity.evaluation import Evaluation
from peg_jax.curiosity.training import TrainState
from peg_jax.run.files import disk_error, replacing
from peg_jax.run.media import tile, write_animation
from peg_jax.run.metrics import read_metrics
from peg_jax.run.plots import learning_curves
from peg_jax.run.session import Session

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
    "epbonusmean",
    "similarity",
    "valid_r_acc",
)
VIDEO_WIDTH = 168  # of the view and of the map, pixels, at least
VIDEO_FRAMES = 300  # at most; a longer episode is shown with steps left out


class CuriosityTrainer(Host[CuriosityRunConfig, Evaluation]):
    """A run of PPO with a bonus for exploration."""

    state: TrainState

    def __init__(self, config: CuriosityRunConfig, session: Session) -> None:
        """Compile, then start or resume; a new run is evaluated before it learns.

        Raises:
            RunError: the directory cannot be used, or its checkpoints do not fit.
            ConfigError: the state does not fit into memory.
        """
        super().__init__(config, session, checkpoint_store(config, session.directory, session.say))
        self.algorithm, self.task = config.algorithm(), run_task(config)
        self.label, self.bad_limit = f"{config.method} {config.scenario}", config.ppo.bad_updates
        template, fresh = abstract_state(config, self.task), self.store.latest() is None
        networks = load_r_networks(config, self.task, self.say) if fresh and config.r_network else None
        stage_first = fresh and trains_r_network(config)
        if stage_first:
            require_stage_memory(config, self.task)
        self.announce(*memory_needs(config, template))
        if stage_first:
            networks = train_r_networks(config, self.task, session)
        self.program: Program = compile_program(config, self.task, template, fresh)
        self.recorder: Callable[[Params, Key], Pictures] = make_recorder(config, self.task)
        self.begin(self.program.init, template)
        if networks is not None and self.program.install is not None:
            self.state = self.program.install(self.state, networks)
        names = ("train", *CSV_NAMES.values())
        self.tables = [
            {name: RewardTable(path / f"reward_{name}.csv", config.metric, self.resumed_at) for name in names}
            for path in self.written
        ]
        if self.resumed_at is None:
            self.evaluate()

    def epoch(self) -> None:
        """Replace `state` by the state an epoch later, and log what happened in it."""
        before = self.env_steps
        self.state, metrics = self.program.epoch(self.algorithm, self.state)
        self._log(metrics, before)

    def _log(self, metrics: Metrics, before: int) -> None:
        table: dict[str, np.ndarray] = self.fetch(metrics)
        shown = "coverage" if self.config.metric == "coverage" else "eprewmean"
        updates = table[shown].shape[1]
        steps = np.linspace(before, self.env_steps, updates + 1)[1:].astype(int)
        for index, writer in enumerate(self.writers):
            # Episode means are of the last update; the others are means over the epoch.
            scalars = epoch_means({name: values[index] for name, values in table.items()})
            scalars |= {name: float(table[name][index, -1]) for name in table if name.startswith(("ep", "coverage"))}
            scalars["nupdates"] = int(self.state.progress.updates)
            writer.write(self.env_steps, scalars)
            self.tables[index]["train"].write(steps.tolist(), table[shown][index].tolist())

    def evaluate(self, write: bool = True) -> Evaluation:
        """Evaluate all seeds as they are: `[seeds, splits, environments]`."""
        keys = evaluation_keys(self.config, self.env_steps)
        found = self.program.evaluate(self.state.seed.learner.params, r_variables(self.config, self.state), keys)
        evaluation, judged = self.fetch(found)
        values = evaluation.cells if self.config.metric == "coverage" else evaluation.reward
        for index, writer in enumerate(self.writers if write else []):
            scalars = {}
            for split, name in enumerate(CSV_NAMES[split] for split in EVALUATED):
                scalars[f"{name}_reward"] = evaluation.reward[index, split].mean()
                scalars[f"{name}_coverage"] = evaluation.cells[index, split].mean()
                scalars[f"{name}_coverage_share"] = evaluation.share[index, split].mean()
                self.tables[index][name].write([self.env_steps], [float(values[index, split].mean())])
            scalars |= {name.replace("val_", "valid_r_"): value[index] for name, value in judged.items()}
            writer.write(self.env_steps, scalars)
        return evaluation

    def draw(self, evaluation: Evaluation) -> None:
        """A test episode and the curves of every seed, under `media/`."""
        del evaluation
        keys = evaluation_keys(self.config, self.env_steps)
        learnt = self.fetch(self.state.seed.learner.params)
        for index, (path, writer) in enumerate(zip(self.written, self.writers, strict=True)):
            params = jax.tree.map(lambda x, index=index: x[index], learnt)
            frames = video(self.recorder(params, keys[index]))
            write_animation(path / "media" / f"episode_{self.env_steps}", frames, fps=15)
            series = read_metrics(path / "metrics.jsonl")
            panels = {name: {"run": (series[name].steps, series[name].values)} for name in CURVES if name in series}
            writer.image("episode_end", self.env_steps, frames[-1])
            curves = learning_curves(path / "media" / "learning_curves.png", panels)
            writer.image("learning_curves", self.env_steps, curves)


def epoch_means(table: dict[str, np.ndarray]) -> dict[str, float]:
    """Means over an epoch's updates `[U]`; of the R-network's rounds (`r_`), which are rare, over those that were."""
    rounds = {name for name in table if name.startswith("r_")}
    told = {name: values[np.isfinite(values)] if name in rounds else values for name, values in table.items()}
    return {name: float(values.mean()) for name, values in told.items() if values.size}


def memory_needs(config: CuriosityRunConfig, template: TrainState) -> tuple[dict[str, Any], Growing]:
    """The parts of one seed's state, and the option that the largest of them grows with."""
    one = jax.eval_shape(lambda seed: jax.tree.map(lambda x: x[0], seed), template.seed)
    sizes = {"learner": one.learner, "environments": one.collector}
    if config.method in CURIOUS:
        sizes |= {"R-network": one.bonus.network, "memories": (one.bonus.memory, one.bonus.views)}
    elif one.bonus is not None:
        sizes["bonus"] = one.bonus
    if config.method == BESIDE:
        sizes["history"] = one.bonus.history
        return sizes, Growing(
            "history", "reachability.online.history", config.reachability.online.history, config.env_devices
        )
    return sizes, Growing("environments", "ppo.num_envs", config.ppo.num_envs, config.env_devices)


def video(pictures: Pictures) -> np.ndarray:
    """The view beside the map, both enlarged: uint8 `[T, H, W, 3]`."""
    shown, above, alive = map(np.asarray, pictures)
    length = max(1, int(alive.sum()))
    chosen = np.linspace(0, length - 1, min(length, VIDEO_FRAMES)).astype(int)
    return tile([enlarged(shown[chosen], VIDEO_WIDTH), enlarged(above[chosen], VIDEO_WIDTH)], columns=2)


class RewardTable:
    """`reward_*.csv`: one row per point, with the columns `step`, the metric's name and `timestamp_s`."""

    def __init__(self, path: Path, name: str, resumed_at: int | None) -> None:
        """Open; rows of an earlier attempt after `resumed_at` are dropped, all of them if it is None."""
        self.path, header = path, ["step", name, "timestamp_s"]
        lines = path.read_text(errors="replace").split("\n")[1:] if path.exists() and resumed_at is not None else []
        rows = [line.split(",") for line in lines]  # one cut short by a crash, or overwritten, is left out
        kept = [
            row for row in rows if len(row) == len(header) and row[0].isdigit() and int(row[0]) <= (resumed_at or 0)
        ]
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([header, *kept])

    def write(self, steps: list[int], values: list[float]) -> None:
        """Add rows.

        Raises:
            DiskError: the disk refuses, or the directory has gone.
        """
        now = round(time.time(), 2)
        try:
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerows([step, value, now] for step, value in zip(steps, values, strict=True))
        except OSError as error:
            raise disk_error(self.path, error) from error
