"""Run directories with known results, written without a run."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from experiments import curiosity_config
from experiments.config import RunConfig
from experiments.options import override
from experiments.presets import preset
from peg_jax.run.directory import RunDirectory

STEPS = (1000, 2000, 3000)
GOALS = 11


def write_run(
    path: Path, method: str, seed: int, success: np.ndarray, env: str = "point_maze", **changes: object
) -> None:
    """A run directory whose evaluations are `success [3, G]`, by cell as well where there are cells."""
    config = preset(RunConfig, "fast", env, method)
    measures = ("success", "success_cell") if env == "point_maze" else ("success",)
    config = dataclasses.replace(override(config, {"steps": STEPS[-1]} | changes), seed=seed, logdir=str(path))
    directory = RunDirectory(path)
    directory.write_config(config)
    lines: dict[str, list[dict]] = {"metrics": [], "timing": [], "goals": []}
    for step, row in zip(STEPS, success, strict=True):
        results = {f"max_eval_metric_{m}/goal_{i}": float(value) for m in measures for i, value in enumerate(row)}
        means = {f"max_eval_metric_{m}/goal_all": float(row.mean()) for m in measures}
        lines["metrics"] += [{"step": step, "updates": step // 10}, {"step": step} | results | means]
        lines["timing"].append({"step": step, "wall_seconds": step / 100})
        lines["goals"].append({"step": step, "goals": [] if method == "p2e" else [[1.0, 2.0], [3.0, 4.0]]})
    for name, rows in lines.items():
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_explorer(
    path: Path,
    method: str,
    scenario: str,
    seed: int,
    scores: np.ndarray,
    preset_name: str = "fast",
    **changes: object,
) -> None:
    """A run of Episodic Curiosity whose test episodes scored `scores [3]`, at 100 steps per second."""
    config = override(curiosity_config.preset(preset_name, scenario, method), changes)
    config = dataclasses.replace(config, seed=seed, logdir=str(path))
    RunDirectory(path).write_config(config)
    rows = {
        "metrics": [{"step": s, f"test_{config.metric}": float(v)} for s, v in zip(STEPS, scores, strict=True)],
        "timing": [{"step": step, "wall_seconds": step / 100} for step in STEPS],
    }
    for name, lines in rows.items():
        (path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
