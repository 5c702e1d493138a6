"""The pictures of a run, drawn on the host between compiled epochs."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.success import SUCCESS_SERIES
from peg_jax.core.environment import EnvParams, GoalEnvironment, Task
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array
from peg_jax.peg.evaluation import Evaluation
from peg_jax.peg.inspection import CONTEXT, Inspection
from peg_jax.run.belief_plots import occupancy_map, open_loop_sheet
from peg_jax.run.media import tile, with_caption, write_animation, write_image
from peg_jax.run.metrics import read_metrics
from peg_jax.run.plots import goal_map, learning_curves, rollout_map

OPEN_LOOP_SHOWN, OPEN_LOOP_TIMES = 2, 8  # sequences and moments in `openl`
RENDER_BATCH = 64  # pictures drawn together
MAP_PLACES = 40  # along each side of a map of distances
TOP_COLUMNS = 5  # of the pictures in `top_10_cem`
MOST_FRAMES, MOST_GOALS = 100, 16  # of an animation; of more, every second, third, ... is shown

CURVES = (
    *SUCCESS_SERIES,
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


def pictured(task: Task, obs: np.ndarray, goal: np.ndarray, trail: np.ndarray | None = None) -> np.ndarray:
    """As `rendered`, but without trails and by the environment's own renderer where it has one."""
    photographs = task.env.photographs(obs, goal)
    return rendered(task, obs, goal, trail) if photographs is None else photographs


def rendered(task: Task, obs: np.ndarray, goal: np.ndarray, trail: np.ndarray | None = None) -> np.ndarray:
    """Pictures uint8 `[N, H, W, 3]` of `obs [N, D]`, `goal [N, D]` and, where given, `trail [N, T+1, D]`.

    All pictures of a task come from one compiled program, which takes them by the batch.
    """
    count = len(obs)
    if trail is None:
        trail = np.full((count, task.episode_steps + 1, goal.shape[-1]), np.nan, np.float32)
    rows = [np.asarray(x, np.float32) for x in (obs, goal, trail)]
    padded = [np.concatenate([x, x[:1].repeat(-count % RENDER_BATCH, axis=0)]) for x in rows]
    batches = [x.reshape(-1, RENDER_BATCH, *x.shape[1:]) for x in padded]
    pictures = [np.asarray(_render(task.env, task.params, *batch)) for batch in zip(*batches, strict=True)]
    return np.concatenate(pictures)[:count]


@partial(jax.jit, static_argnames="env")
def _render(env: GoalEnvironment, params: EnvParams, obs: Array, goal: Array, trail: Array) -> Array:
    return jax.vmap(env.render, in_axes=(0, 0, None, 0))(obs, goal, params, trail)


def walked(trail: np.ndarray) -> np.ndarray:
    """What of a path `[T, D]` lies behind at each step, `[T, T, D]`, NaN ahead."""
    steps = np.arange(len(trail))
    return np.where((steps <= steps[:, None])[..., None], trail, np.nan).astype(np.float32)


def draw_evaluation(path: Path, task: Task, evaluation: Evaluation, step: int) -> Path:
    """`eval_gc_policy`: for each goal, the goal's picture above the rollout, goals side by side.

    Args:
        path: without suffix.
        task: for the renderer.
        evaluation: of one seed.
        step: environment steps so far.

    Returns:
        The path of the animation.
    """
    every, apart = -(-evaluation.obs.shape[0] // MOST_FRAMES), -(-evaluation.obs.shape[1] // MOST_GOALS)
    obs, goal = np.asarray(evaluation.obs)[::every, ::apart], np.asarray(evaluation.goal)[::apart]
    steps, goals = obs.shape[:2]
    trails = [walked(trail) for trail in np.asarray(task.env.achieved_goal(jnp.asarray(obs))).swapaxes(0, 1)]
    nowhere = np.full((goals, *trails[0].shape[1:]), np.nan, np.float32)  # the goals' own pictures have no trail
    shown = np.concatenate([goal, obs.reshape(-1, obs.shape[-1])])
    trail = np.concatenate([nowhere, np.stack(trails, axis=1).reshape(-1, *nowhere.shape[1:])])
    pictures = pictured(task, shown, np.tile(goal, (steps + 1, 1)), trail)
    above, *below = pictures.reshape(steps + 1, goals, *pictures.shape[1:])
    frames = np.stack([tile([*above, *frame], columns=goals) for frame in below])
    text = f"eval_gc_policy after {step:,} environment steps: the goals above, the achiever's rollouts below, step"
    return write_animation(path, with_caption(frames, [f"{text} {every * time}" for time in range(steps)]), fps=20)


def draw_training(path: Path, task: Task, episode: Episode, go_steps: int | None, step: int) -> Path:
    """`train_policy`: one training episode `[T+1, ...]`, its goal drawn in; `go_steps` of it were the achiever's."""
    obs, goal = np.asarray(episode.obs), np.asarray(episode.goal)
    frames = pictured(task, obs, goal, walked(np.asarray(task.env.achieved_goal(episode.obs))))
    phases = ["" if go_steps is None else "Go" if time <= go_steps else "Explore" for time in range(len(obs))]
    text = f"train_policy after {step:,}:"
    captions = [f"{text} {phase} {time}" for time, phase in enumerate(phases)]
    return write_animation(path, with_caption(enlarged(frames), captions), fps=20)


def draw_open_loop(path: Path, task: Task, episodes: Episode, predicted: np.ndarray, step: int) -> np.ndarray:
    """`openl`: truth, model and error of sequences that the model predicts in open loop.

    Args:
        path: the picture's, .png.
        task: for the renderer.
        episodes: `[B, T+1, ...]`.
        predicted: observations `[S, T+1, D]` of the last S.
        step: environment steps so far.
    """
    truth, goal = (np.asarray(x[-len(predicted) :]) for x in (episodes.obs, episodes.goal))
    last = truth.shape[1] - 1
    times = np.unique(np.round(np.linspace(CONTEXT - 1, last, OPEN_LOOP_TIMES)).astype(int))
    chosen = [x[:OPEN_LOOP_SHOWN, times] for x in (truth, predicted, goal)]
    rows = [x.reshape(-1, x.shape[-1]) for x in chosen]
    pictures = pictured(task, np.concatenate(rows[:2]), np.concatenate([rows[2], rows[2]]))
    happened, believed = pictures.reshape(2, -1, len(times), *pictures.shape[1:])
    title = f"openl after {step:,} environment steps: truth, the model's open-loop prediction, and their difference"
    error = np.abs(predicted - truth).mean(axis=-1)
    return open_loop_sheet(path, title, times, happened, believed, error, CONTEXT)


def map_grid(task: Task, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places all over the map: x `[W]`, y `[H]` and `[H * W, D]`, like `start [D]` but for the position."""
    x_min, x_max, y_min, y_max = map_background(task)[1]
    x, y = np.linspace(x_min, x_max, MAP_PLACES), np.linspace(y_min, y_max, MAP_PLACES)
    places = np.tile(start, (MAP_PLACES**2, 1))
    places[:, list(task.env.map_dims)] = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return x, y, places.astype(np.float32)


def draw_occupancy(
    path: Path, task: Task, episodes: Episode, go_steps: np.ndarray, beliefs: Inspection, goal: np.ndarray, step: int
) -> np.ndarray:
    """`state_occupancy`: visited states by phase and goals, temporal distance to `goal [D]`, explorer's value.

    Args:
        path: the picture's, .png.
        task: for the map.
        episodes: `[B, T+1, ...]`, of which the last `len(go_steps)` are shown.
        go_steps: int `[N]`, N <= B, steps of each that were the achiever's.
        beliefs: about the episodes, and about `map_grid` from the first observation of the last one.
        goal: to which the temporal distance is drawn.
        step: environment steps so far.
    """
    count, dims = len(go_steps), list(task.env.map_dims)
    obs, goals, value = (np.asarray(x)[-count:] for x in (episodes.obs, episodes.goal, beliefs.value))
    visited = np.asarray(task.env.achieved_goal(jnp.asarray(obs)))[..., dims]
    exploring = np.arange(obs.shape[1]) > go_steps[:, None]
    background, extent = map_background(task)
    x, y, _ = map_grid(task, obs[-1, 0])
    return occupancy_map(
        path,
        f"state_occupancy after {step:,} environment steps: the last {count} episodes",
        visited.reshape(-1, 2),
        exploring.reshape(-1),
        goals[go_steps > 0, 0][:, dims],
        value.reshape(-1),
        (x, y, np.asarray(beliefs.steps).reshape(len(y), len(x))),
        goal[dims],
        background,
        extent,
    )


def map_background(task: Task) -> tuple[np.ndarray | None, tuple[float, float, float, float]]:
    """The empty environment from above and what it covers; without such a view, the planner's bounds on a plain map."""
    extent = task.env.render_extent
    if extent is None:
        across, up = task.env.map_dims
        low, high = np.asarray(task.goal_low), np.asarray(task.goal_high)
        return None, (float(low[across]), float(high[across]), float(low[up]), float(high[up]))
    nowhere = np.full((1, task.obs_size), 1e6)  # neither agent nor goal in sight
    return rendered(task, nowhere, nowhere)[0], extent


def draw_top_goals(
    path: Path, task: Task, paths: np.ndarray, goals: np.ndarray, fitness: np.ndarray, step: int
) -> np.ndarray:
    """`top_10_cem`: the best planned goals and the imagined rollouts toward them, seen from above.

    Below, where a map cannot show all of an observation, the goals themselves and where the rollouts end.

    Args:
        path: the picture's, .png.
        task: for the renderer.
        paths: `[C, Hp+1, D]` imagined observations.
        goals: `[C, D]`, best first.
        fitness: `[C]` of the goals.
        step: environment steps so far.
    """
    title = f"top_10_cem after {step:,} steps: best goals,\nimagined rollouts toward them"
    dims = list(task.env.map_dims)
    above = rollout_map(
        path, paths[..., dims], goals[:, dims], fitness, *map_background(task), title, task.env.map_labels
    )
    if task.obs_size == len(dims):
        return above
    columns = min(TOP_COLUMNS, len(goals))
    count = len(goals) // columns * columns
    shown = pictured(task, np.concatenate([goals[:count], paths[:count, -1]]), np.tile(goals[:count], (2, 1)))
    rows = shown.reshape(2, -1, columns, *shown.shape[1:]).swapaxes(0, 1)  # [rows, goal or end, columns, ...]
    sheet = tile([*rows.reshape(-1, *shown.shape[1:])], columns)
    text = "goals, best first; below each the end of its imagined rollout"
    parts = [above, with_caption(sheet[None], [text])[0]]
    width = max(part.shape[1] for part in parts)
    sides = [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in parts]
    picture = np.concatenate(sides)
    write_image(path, picture)
    return picture


def draw_goal_map(path: Path, task: Task, goals: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The goals commanded over training, coloured by when."""
    dims = list(task.env.map_dims)
    return goal_map(path, goals[:, dims], steps, *map_background(task), axis_labels=task.env.map_labels)


def enlarged(frames: np.ndarray, least: int = 200) -> np.ndarray:
    """Frames `[T, H, W, 3]` with whole pixels repeated until they are at least so wide."""
    times = -(-least // frames.shape[2])
    return frames.repeat(times, axis=1).repeat(times, axis=2)


def draw_curves(path: Path, metrics_file: Path) -> np.ndarray:
    """Learning curves of one seed from its `metrics.jsonl`."""
    series = read_metrics(metrics_file)
    panels = {name: {"run": (series[name].steps, series[name].values)} for name in CURVES if name in series}
    return learning_curves(path, panels)
