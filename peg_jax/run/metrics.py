"""Scalars of a run: one JSON object per line for programs, TensorBoard for people."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tensorboardX import SummaryWriter

from peg_jax.run.files import RunError, replacing

METRICS = "metrics.jsonl"


class Series(NamedTuple):
    """One scalar over a run, in the order written."""

    steps: np.ndarray  # int64 [n]
    values: np.ndarray  # float64 [n], nan where the value was not finite


class MetricsWriter:
    """Writes `metrics.jsonl` and `tensorboard/` in one directory; a context manager.

    A line is `{"step": int, name: float, ...}`. JSON has no NaN or infinity, so a value which is not finite is written
    as null; TensorBoard gets it unchanged.

    To have each line exactly once after a crash, write the lines of a step before saving the checkpoint of that step:
    a resume keeps lines up to and including the checkpoint's step.
    """

    def __init__(self, directory: Path, resume_step: int | None = None) -> None:
        """Open the files in `directory`, making it where needed.

        Args:
          directory: the run's root, or the folder of one seed.
          resume_step: step of the checkpoint the run goes on from; later lines are dropped. None starts from nothing:
            lines of an earlier attempt, which left no checkpoint, are set aside as `metrics.discarded.jsonl`.

        Raises:
          RunError: when an existing file is damaged before its last line, or the disk refuses.
        """
        path = directory / METRICS
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if resume_step is not None:
                _truncate(path, resume_step)
            elif path.exists() and path.stat().st_size:
                os.replace(path, path.with_name("metrics.discarded.jsonl"))
            self._file = path.open("a", encoding="utf-8", buffering=1)  # a reader sees whole lines at once
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror or error}") from error
        # TensorBoard hides what an earlier attempt logged at or after the purge step.
        purge = 0 if resume_step is None else resume_step + 1
        self._board = SummaryWriter(str(directory / "tensorboard"), purge_step=purge, flush_secs=10)

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Append one line; `scalars` are numbers or arrays of one element (device arrays are fetched).

        Raises:
          RunError: when the disk refuses.
        """
        values = {name: float(value) for name, value in scalars.items()}
        line = {"step": int(step)} | {name: value if math.isfinite(value) else None for name, value in values.items()}
        try:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self._file.name}: {error.strerror or error}") from error
        for name, value in values.items():
            self._board.add_scalar(f"scalars/{name}", value, int(step))

    def image(self, name: str, step: int, picture: np.ndarray) -> None:
        """Show `picture`, uint8 [H, W, 3], in TensorBoard."""
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
            raise ValueError(f"{name}: expected uint8 [H, W, 3], got {picture.dtype} {picture.shape}")
        self._board.add_image(name, picture, int(step), dataformats="HWC")

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        self._board.close()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(path: Path) -> dict[str, Series]:
    """Return every scalar of a `metrics.jsonl`; a torn last line, as a kill leaves it, is ignored.

    Raises:
      RunError: when the file is missing or damaged before its last line.
    """
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    for line in _lines(path):
        step = line.pop("step")
        for name, value in line.items():
            steps.setdefault(name, []).append(step)
            values.setdefault(name, []).append(math.nan if value is None else value)
    return {name: Series(np.array(steps[name], np.int64), np.array(values[name], np.float64)) for name in steps}


def _truncate(path: Path, last_step: int) -> None:
    """Drop the lines after `last_step` and a torn last line."""
    if not path.exists():
        return
    kept = [line for line in _lines(path) if line["step"] <= last_step]
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The parsed lines; an unfinished last one is left out."""
    try:
        raw = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    # A whole file ends in a newline, so what follows the last one is empty or torn.
    for number, text in enumerate(raw[:-1], start=1):
        try:
            line = json.loads(text)
            line["step"] = int(line["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}, line {number} is damaged ({error}); remove it to go on") from error
        yield line
