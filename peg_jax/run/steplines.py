"""Files with one JSON object per line, each with the step it belongs to, that a resume rolls back."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from peg_jax.run.files import DiskError, RunError, disk_error, replacing


class StepLines:
    """Appends lines `{"step": int, ...}` to a file, each whole on disk before `write` returns.

    To have each line exactly once after a crash, write the lines of a step before saving the checkpoint of that step:
    a resume keeps lines up to and including the checkpoint's step.
    """

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        """Open the file, making its folder where needed.

        Args:
          path: the file, `<name>.jsonl`.
          resume_step: step of the checkpoint the run goes on from; later lines are dropped. None starts from nothing:
            lines of an earlier attempt, which left no checkpoint, are set aside as `<name>.discarded.jsonl`.

        Raises:
          RunError: when an existing file is damaged before its last line, or the disk refuses.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                _roll_back(path, resume_step)
            # Without a buffer nothing is left to write when the disk has refused.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise disk_error(path, error) from error

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line; its numbers are finite.

        Raises:
          DiskError: when the disk refuses.
        """
        text = json.dumps(line, allow_nan=False).encode() + b"\n"
        try:
            written = self._file.write(text)
        except OSError as error:
            raise disk_error(self.path, error) from error
        if written != len(text):
            raise DiskError(f"cannot write {self.path}: the disk took {written} of {len(text)} bytes")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_step_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of `path`; a torn last one, as a kill leaves it, is left out.

    Raises:
      RunError: when the file is missing, or names the first line before the last that is not such an object.
    """
    return [line for _, line in _lines(path)]


def _roll_back(path: Path, resume_step: int | None) -> None:
    if resume_step is None:
        if path.stat().st_size:
            os.replace(path, path.with_name(f"{path.stem}.discarded{path.suffix}"))
        return
    kept = [raw for raw, line in _lines(path) if line["step"] <= resume_step]
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(raw + b"\n" for raw in kept))


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line as it stands in the file and parsed."""
    try:
        raw = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    # A whole file ends in a newline, so what follows the last one is empty or torn.
    for number, text in enumerate(raw[:-1], start=1):
        try:
            line = json.loads(text)
            if type(line["step"]) is not int:
                raise ValueError(f"its step is {line['step']!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}, line {number} is damaged ({error}); remove it to go on") from error
        yield text, line
