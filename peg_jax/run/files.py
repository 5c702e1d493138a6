"""The errors of a run with their exit codes, atomic file writes, and JSON files."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

UNFINISHED = ".writing-"  # how the names of files and folders begin that are being written


class RunError(Exception):
    """Something the user can mend; the message is complete and is shown without a traceback."""

    exit_code = 2


class DiskError(RunError):
    """The operating system refuses to write: a full disk, missing rights, a directory that has gone."""

    exit_code = 74  # EX_IOERR of sysexits.h


class NumbersError(RunError):
    """The numbers of a run have gone bad: no seed is left that can be updated."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h


def disk_error(path: Path, error: OSError) -> DiskError:
    """What to raise when `path` cannot be written."""
    return DiskError(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` which takes its place when the block ends without an exception.

    A reader sees the old file or the new one, never half of one. Parent directories are made.

    Raises:
      DiskError: when the operating system refuses to write (full disk, missing rights).
    """
    # The suffix is kept because image libraries choose the format from it.
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        with suppress(OSError):  # nothing is left to remove in the ordinary case
            temporary.unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing through `replacing` in `folder` and below."""
    for leftover in folder.rglob(f"{UNFINISHED}*"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` (plain JSON types, finite numbers) to `path` atomically.

    Raises:
      DiskError: see `replacing`.
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
