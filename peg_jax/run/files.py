"""The user-facing error of a run and atomic file writes."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class RunError(Exception):
    """Something the user can mend; the message is complete and is shown without a traceback (exit status 2)."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` which takes its place when the block ends without an exception.

    A reader sees the old file or the new one, never half of one. Parent directories are made.

    Raises:
      RunError: when the operating system refuses to write (full disk, missing rights).
    """
    # The suffix is kept because image libraries choose the format from it.
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # nothing is left to remove in the ordinary case
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write `value` (plain JSON types, finite numbers) to `path` atomically.

    Raises:
      RunError: see `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the parsed content of `path`.

    Raises:
      RunError: when the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # covers bad JSON and bad UTF-8
        raise RunError(f"{path} is not valid JSON ({error}); it is damaged or was edited by hand") from error


def read_jsonl(path: Path) -> list[Any]:
    """Return the parsed lines of `path`; a last line cut short by a crash is left out.

    Raises:
      RunError: when the file cannot be read, or another line is not JSON.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path} is not valid JSON lines ({error}); it is damaged or was edited by hand") from error
