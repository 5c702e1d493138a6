"""Training PEG or one of its baselines: what is logged, evaluated and drawn between compiled epochs."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import pictures
from experiments.compilation import at_first_call
from experiments.config import RunConfig
from experiments.host import Host
from experiments.logs import GOALS, GoalLog, read_go_steps, read_goals
from experiments.memory import Growing
from experiments.options import without_values
from experiments.program import (
    Program,
    Shown,
    abstract_state,
    checkpoint_store,
    compile_program,
    compiled_part,
    imagined_paths,
    inspect,
    run_task,
    take_seed,
    take_shown,
)
from experiments.replays import load_replays
from experiments.seeds import evaluation_keys, whole
from experiments.success import measure
from peg_jax.peg.evaluation import Evaluation, evaluation_metrics
from peg_jax.peg.rollout import SUBGOAL_METRICS
from peg_jax.peg.strategies.planned import PlannedGoals
from peg_jax.peg.training import CycleLog, TrainState
from peg_jax.run.session import Session

SHOWN_EPISODES = 128  # about so many of the latest in `state_occupancy`


class Trainer(Host[RunConfig, Evaluation]):
    """A run of PEG or of one of its baselines."""

    state: TrainState

    def __init__(self, config: RunConfig, session: Session) -> None:
        """Compile, then start or resume.

        Raises:
            RunError: the directory cannot be used, or its checkpoints do not fit.
            ConfigError: the state does not fit into memory.
        """
        super().__init__(config, session, checkpoint_store(config, session.directory, session.say))
        self.algorithm = config.algorithm()
        self.label, self.bad_limit = f"{config.method} {config.env}", config.loop.bad_updates
        task = run_task(config)
        template, fresh = abstract_state(config, task), self.store.latest() is None
        replays = load_replays(config, self.say) if fresh and config.replay_from else None
        growing = Growing("replay", "replay.capacity", config.replay.capacity, config.env_devices)
        self.announce(_sized(template), growing)
        self.program: Program = compile_program(config, task, template, fresh)
        make = partial(at_first_call, without_values(compiled_part(config)), task.env)
        self.imagined_paths = make("imagined paths", partial(imagined_paths, config.env))
        self.inspect = make("inspection", partial(inspect, config.env))
        self.begin(self.program.init, template)
        if replays is not None:
            placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), replays, self.state.seed.replay)
            self.state = replace(self.state, seed=replace(self.state.seed, replay=placed))
        self.goal_logs = [GoalLog(path, self.resumed_at) for path in self.written]

    def epoch(self) -> None:
        """Replace `state` by the state an epoch later, and log what happened in it."""
        before = self.env_steps
        self.state, log = self.program.epoch(self.algorithm, self.state)
        self._log(log, before)

    def success(self, evaluation: Evaluation) -> float:
        """Mean over seeds and goals of the success that counts."""
        return float(evaluation.success[measure(evaluation.success)].mean())

    def _log(self, log: CycleLog, before: int) -> None:
        metrics, goals, went = self.fetch((log.metrics, log.goals, log.go_steps))
        metrics = {name: _over_cycles(name, value) for name, value in metrics.items()}
        steps = np.linspace(before, self.env_steps, goals.shape[1] + 1)[1:].astype(int)
        for index, writer in enumerate(self.writers):
            scalars = {name: float(values[index]) for name, values in metrics.items()}
            scalars["train_total_episodes"] = int(self.state.progress.episodes)
            scalars["updates"] = int(self.state.progress.updates)
            writer.write(self.env_steps, scalars)
            self.goal_logs[index].write(steps, goals[index], went[index])

    def evaluate(self, write: bool = True) -> Evaluation:
        """Evaluate all seeds as they are; the result has a leading seed axis."""
        keys = evaluation_keys(self.config, self.env_steps)
        evaluation: Evaluation = self.fetch(self.program.evaluate(self.algorithm, self.state.seed.agent, keys))
        for index, writer in enumerate(self.writers if write else []):
            one = jax.tree.map(lambda x, index=index: x[index], evaluation)
            writer.write(self.env_steps, {name: float(v) for name, v in evaluation_metrics(one).items()})
        return evaluation

    def draw(self, evaluation: Evaluation) -> None:
        """All pictures of all seeds, in `media/` and in TensorBoard."""
        slots = jax.tree.leaves(self.state.seed.replay.experience)[0].shape[2]
        cycles = min(slots, max(1, SHOWN_EPISODES // self.config.loop.num_envs))
        for index in range(self.config.num_seeds):
            shown = whole(take_shown(self.state, index, cycles), self.config.num_seeds)
            if not self.written:
                continue
            path, writer = self.written[index], self.writers[index]
            one = jax.tree.map(lambda x, index=index: x[index], evaluation)
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
            paths = self.imagined_paths(self.algorithm, shown.agent, best, shown.key)
            chosen, fitness = np.asarray(best.elites), np.asarray(best.elite_fitness)
            drawn["top_10_cem"] = pictures.draw_top_goals(
                media / f"top_10_cem_{step}.png", task, np.asarray(paths), chosen, fitness, step
            )
        goal = np.asarray(task.env.eval_goals(task.params)[0])
        _, _, places = pictures.map_grid(task, np.asarray(shown.episodes.obs[-1, 0]))
        beliefs = self.inspect(self.algorithm, shown, places, goal)
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


def _over_cycles(name: str, values: np.ndarray) -> np.ndarray:
    """The mean of `[S, C]` over the cycles of an epoch; of Go phases over the cycles that had any."""
    if name not in SUBGOAL_METRICS:
        return values.mean(axis=1)
    return np.ma.masked_invalid(values).mean(axis=1).filled(np.nan)
