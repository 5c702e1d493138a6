"""Run directories among those that the user names."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from peg_jax.core.config import ConfigError
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError

Found = TypeVar("Found")
REMEDY = "name run directories, or a folder of them"
PARTS = {"checkpoints", "evaluation", "media", "tensorboard"}  # of a run; published weights leave the second alone


def read_runs(
    paths: Sequence[str], read: Callable[[RunDirectory], Found], skipped: Callable[[str], None]
) -> list[Found]:
    """What `read` makes of the runs named by `paths` or lying in them.

    Args:
        paths: run directories, or folders of them.
        read: raises for a directory that holds no run, or too little of one.
        skipped: told of each such directory, in a line.

    Raises:
        ConfigError: a path is no directory, or there is none.
    """
    if not paths:
        raise ConfigError(f"no runs given: {REMEDY}")
    found = []
    for path in map(Path, paths):
        if not path.is_dir():
            wrong = "it is a file" if path.exists() else "there is no such directory"
            raise ConfigError(f"{path} cannot work: {wrong}; {REMEDY}")
        inside = sorted(entry for entry in path.iterdir() if entry.is_dir() and entry.name not in PARTS)
        for candidate in [path] if (path / "config.json").is_file() or not inside else inside:
            try:
                if not (candidate / "config.json").is_file():
                    raise RunError("no run, as there is no config.json")
                found.append(read(RunDirectory(candidate)))
            except (RunError, OSError, LookupError, ValueError, TypeError) as error:
                skipped(f"skipped {candidate}: {error}")
    return found
