"""Scalars of a run: one JSON object per line for programs, TensorBoard for people."""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from peg_jax.run.files import RunError
from peg_jax.run.steplines import StepLines, read_step_lines
from peg_jax.run.tensorboard import Board

METRICS = "metrics.jsonl"


class Series(NamedTuple):
    """One scalar over a run, in the order written."""

    steps: np.ndarray  # int64 [n]
    values: np.ndarray  # float64 [n], nan where the value was not finite


class MetricsWriter:
    """Writes `metrics.jsonl` and `tensorboard/` in one directory; a context manager.

    A line is `{"step": int, name: float, ...}`. JSON has no NaN or infinity, so a value which is not finite is written
    as null; TensorBoard gets it unchanged.
    """

    def __init__(self, directory: Path, resume_step: int | None = None) -> None:
        """Open the files in `directory`, making it where needed; `resume_step` is that of `StepLines`.

        Raises:
          RunError: when an existing file is damaged before its last line, or the disk refuses.
        """
        self._lines = StepLines(directory / METRICS, resume_step)
        # TensorBoard hides what an earlier attempt logged at or after the purge step.
        self._board = Board(directory / "tensorboard", 0 if resume_step is None else resume_step + 1)

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Append one line; `scalars` are numbers or arrays of one element (device arrays are fetched).

        Raises:
          DiskError: when the disk refuses.
        """
        values = {name: float(value) for name, value in scalars.items()}
        shown = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._lines.write({"step": int(step)} | shown)
        for name, value in values.items():
            self._board.scalar(f"scalars/{name}", value, int(step))
        self._board.flush()

    def image(self, name: str, step: int, picture: np.ndarray) -> None:
        """Show `picture`, uint8 [H, W, 3], in TensorBoard."""
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
            raise ValueError(f"{name}: expected uint8 [H, W, 3], got {picture.dtype} {picture.shape}")
        self._board.image(name, picture, int(step))

    def animation(self, name: str, step: int, gif: Path) -> None:
        """Show the GIF that lies at `gif` in TensorBoard."""
        content = gif.read_bytes()
        width, height = struct.unpack_from("<HH", content, 6)  # after the six letters of the version
        self._board.animation(name, content, height, width, int(step))

    def close(self) -> None:
        """Flush and close both files."""
        self._lines.close()
        self._board.close()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(path: Path) -> dict[str, Series]:
    """Return every scalar of a `metrics.jsonl`; a torn last line, as a kill leaves it, is ignored.

    Raises:
      RunError: when the file is missing, damaged before its last line, or has a value that is no number.
    """
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    for line in read_step_lines(path):
        step = line.pop("step")
        for name, value in line.items():
            if not (value is None or type(value) in (int, float)):
                raise RunError(f"{path} has {name} = {value!r} at step {step}, which is no number; was it edited?")
            steps.setdefault(name, []).append(step)
            values.setdefault(name, []).append(math.nan if value is None else value)
    return {name: Series(np.array(steps[name], np.int64), np.array(values[name], np.float64)) for name in steps}
