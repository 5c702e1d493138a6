"""What a run writes beside its metrics: the goals it chose, and how long it took."""

import itertools
import time
from pathlib import Path

import numpy as np

from peg_jax.run.files import RunError
from peg_jax.run.steplines import StepLines, read_step_lines

GOALS = "goals.jsonl"
TIMING = "timing.jsonl"


class GoalLog:
    """`goals.jsonl`: the goals commanded in each cycle, and how long each episode pursued its own."""

    def __init__(self, folder: Path, resume_step: int | None) -> None:
        """Open the file in `folder`; `resume_step` is that of `StepLines`."""
        self.lines = StepLines(folder / GOALS, resume_step)

    def write(self, steps: np.ndarray, goals: np.ndarray, go_steps: np.ndarray) -> None:
        """Add a line per cycle.

        Args:
            steps: `[C]` at which the cycles ended.
            goals: `[C, E, D]`, NaN in episodes that had none.
            go_steps: int `[C, E]`.
        """
        for step, chosen, went in zip(steps, goals, go_steps, strict=True):
            kept = np.round(chosen[np.isfinite(chosen).all(axis=1)], 4)
            self.lines.write({"step": int(step), "goals": kept.tolist(), "go_steps": went.tolist()})


def read_goals(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """All goals of a `goals.jsonl`: `(steps [N], goals [N, D])`.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        lines = [(line["step"], np.asarray(line["goals"], np.float64)) for line in read_step_lines(path)]
        steps = [np.full(len(goals), step) for step, goals in lines if goals.size]
        return np.concatenate([np.zeros(0, int), *steps]), _stack([goals for _, goals in lines if goals.size])
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path} has lines without goals ({error!r}); it is damaged or was edited by hand") from error


def read_go_steps(path: Path, cycles: int, num_envs: int) -> np.ndarray:
    """Steps of the Go phase in the episodes of the last `cycles` cycles at most, oldest first, int `[N]`.

    Raises:
        RunError: the file is missing or damaged.
    """
    lines = [line.get("go_steps") for line in read_step_lines(path)[-cycles:]]
    known = itertools.takewhile(lambda went: went is not None, reversed(lines))  # older versions did not write them
    try:
        return np.asarray([*known][::-1], int).reshape(-1, num_envs).reshape(-1)
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} has strange go_steps ({error}); it is damaged or was edited by hand") from error


def _stack(goals: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(goals) if goals else np.zeros((0, 2))


class WallClock:
    """`timing.jsonl`: speed and accumulated wall time, apart from the metrics, which are the same on every machine."""

    def __init__(self, folder: Path, resume_step: int | None) -> None:
        """Continue the clock of an earlier start of the run."""
        self.lines = StepLines(folder / TIMING, resume_step)
        self.before = max(read_wall_seconds(folder / TIMING).values(), default=0.0)
        self.began = time.monotonic()

    def write(
        self, step: int, steps_per_second: float, updates_per_second: float, evaluation_seconds: float = 0.0
    ) -> None:
        """Add a line; `evaluation_seconds` of the time since the last one were the evaluation's."""
        self.lines.write(
            {
                "step": step,
                "fps": round(steps_per_second, 2),
                "updates_per_second": round(updates_per_second, 3),
                "wall_seconds": round(self.before + time.monotonic() - self.began, 2),
                "evaluation_seconds": round(evaluation_seconds, 2),
            }
        )


def read_wall_seconds(path: Path) -> dict[int, float]:
    """Seconds of training after each step of a `timing.jsonl`.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return {line["step"]: float(line["wall_seconds"]) for line in read_step_lines(path)}
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path} has lines without seconds ({error!r}); it is damaged or was edited by hand") from error
