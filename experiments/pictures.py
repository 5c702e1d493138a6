"""The pictures of a run, drawn on the host between compiled epochs."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from peg_jax.core.environment import Task
from peg_jax.core.types import Array
from peg_jax.peg.evaluation import Evaluation
from peg_jax.run.media import tile, write_animation
from peg_jax.run.metrics import read_metrics
from peg_jax.run.plots import goal_map, learning_curves, rollout_map

CURVES = (
    "max_eval_metric_success_cell/goal_all",
    "max_eval_metric_success/goal_all",
    "max_train_log_subgoal_success",
    "train_log_subgoal_time",
    "observation_loss",
    "model_kl",
    "dyn_dist_loss",
    "reward_mean",
    "reached",
    "expl_reward_mean",
    "actor_ent",
    "expl_actor_ent",
    "critic_loss",
)


def draw_evaluation(path: Path, task: Task, evaluation: Evaluation) -> None:
    """`eval_gc_policy`: for each goal, the goal's picture above the rollout, goals side by side (peg.md 8.3).

    Args:
        path: without suffix.
        task: for the renderer.
        evaluation: of one seed.
    """
    obs, goal = np.asarray(evaluation.obs), np.asarray(evaluation.goal)
    trail = np.asarray(task.env.achieved_goal(evaluation.obs)).swapaxes(0, 1)
    walked = np.full((1 + len(obs), *trail.shape), np.nan, np.float32)  # the first for the goals' own pictures
    for time in range(len(obs)):
        walked[1 + time, :, : time + 1] = trail[:, : time + 1]
    shown = np.concatenate([goal[None], obs])

    @jax.jit
    def render(shown: Array, trails: Array) -> Array:
        one = jax.vmap(lambda obs, goal, trail: task.env.render(obs, goal, task.params, trail))
        return jax.lax.map(lambda frame: one(frame[0], goal, frame[1]), (shown, trails))

    goals, *frames = np.asarray(render(shown, walked))
    frames = [tile([*goals, *frame], columns=len(goals)) for frame in frames]
    write_animation(path, np.stack(frames), fps=20)


def map_background(task: Task) -> tuple[np.ndarray | None, tuple[float, float, float, float]]:
    """The empty environment from above and what it covers; without such a view, the planner's bounds on a plain map."""
    extent = task.env.render_extent
    if extent is None:
        low, high = np.asarray(task.goal_low), np.asarray(task.goal_high)
        return None, (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    nowhere = jnp.full(task.obs_size, 1e6)  # neither agent nor goal in sight
    render = jax.jit(lambda obs: task.env.render(obs, obs, task.params))
    return np.asarray(render(nowhere)), extent


def draw_top_goals(path: Path, task: Task, paths: np.ndarray, goals: np.ndarray, fitness: np.ndarray) -> np.ndarray:
    """`top_10_cem`: the best planned goals and the imagined rollouts toward them, seen from above."""
    return rollout_map(path, paths[..., :2], goals[:, :2], fitness, *map_background(task))


def draw_goal_map(path: Path, task: Task, goals: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The goals commanded over training, coloured by when."""
    return goal_map(path, goals[:, :2], steps, *map_background(task))


def draw_curves(path: Path, metrics_file: Path) -> np.ndarray:
    """Learning curves of one seed from its `metrics.jsonl`."""
    series = read_metrics(metrics_file)
    panels = {name: {"run": (series[name].steps, series[name].values)} for name in CURVES if name in series}
    return learning_curves(path, panels)
