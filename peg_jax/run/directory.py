"""The directory of one run: its layout, the resolved configuration and a record of where it ran."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import jax

from peg_jax.run.config_json import decode, encode
from peg_jax.run.files import RunError, read_json, write_json

T = TypeVar("T")

RECORDED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "gymnax", "mujoco", "mujoco-mjx", "numpy")


class RunDirectory:
    """One `--logdir`.

    Layout, with N seeds in one program the lines marked * once per seed in `seed_<seed>/`:

        config.json         {"config": resolved options, "starts": one record per start of the command}
        checkpoints/        of the whole state, all seeds together
        metrics.jsonl     * scalars
        tensorboard/      * the same scalars, and pictures
        media/            * animations and pictures

    Naming a directory touches nothing on disk; `write_config` makes it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the run at `path`, new or existing.

        Raises:
          RunError: when `path` is a file, or a directory with content which is not a run.
        """
        self.path = Path(path).expanduser()
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; --logdir needs a directory")
        if not self.exists() and (content := self._content()):
            shown = ", ".join([*content[:3], *(["..."] if len(content) > 3 else [])])
            raise RunError(
                f"{self.path} holds other things ({shown}) and no {self.config_file.name}, so it is no run; "
                "a new one needs an empty or new directory"
            )

    @property
    def config_file(self) -> Path:
        """`config.json`; a directory is a run once this is present."""
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        """Folder for `CheckpointStore`."""
        return self.path / "checkpoints"

    def exists(self) -> bool:
        """Whether a run has been started here."""
        return self.config_file.is_file()

    def _content(self) -> list[str]:
        """Names in the directory; hidden files (locks, a file manager's notes) do not count."""
        if not self.path.is_dir():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))

    def write_config(self, config: Any) -> None:
        """Make the layout and write `config` (a nested dataclass), adding a record of this start to the earlier ones.

        Raises:
          RunError: when a field has no JSON form or the disk refuses.
        """
        starts = self.read_starts() if self.exists() else []
        write_json(self.config_file, {"config": encode(config), "starts": [*starts, describe_start()]})
        self.checkpoints.mkdir(exist_ok=True)

    def read_config(self) -> dict[str, Any]:
        """Return the resolved options as nested dictionaries.

        Raises:
          RunError: when there is no run here or its config.json is damaged.
        """
        options: dict[str, Any] = self._read("config", dict)
        return options

    def read_config_as(self, kind: type[T]) -> T:
        """Return the resolved options as the dataclass `kind`; options added since then take their defaults.

        Raises:
          RunError: as `read_config`, or naming the first option which does not fit `kind`.
        """
        try:
            return decode(kind, self.read_config())
        except RunError as error:
            raise RunError(f"{self.config_file} does not fit this version: {error}") from error

    def read_starts(self) -> list[dict[str, Any]]:
        """Return one record per start of the run, oldest first; see `describe_start`.

        Raises:
          RunError: as `read_config`.
        """
        starts: list[dict[str, Any]] = self._read("starts", list)
        return starts

    def _read(self, part: str, kind: type) -> Any:
        if not self.exists():
            raise RunError(f"no run at {self.path}: there is no {self.config_file.name}")
        content = read_json(self.config_file)
        if not isinstance(content, dict) or not isinstance(content.get(part), kind):
            raise RunError(f'{self.config_file} has no "{part}"; it was not written by this program or was edited')
        return content[part]

    def seed_directory(self, index: int, num_seeds: int, seed: int) -> Path:
        """Return where metrics, TensorBoard and media of one seed of a run go, and make it.

        Args:
          index: which of the `num_seeds` lanes, from 0.
          num_seeds: seeds trained together; a single one uses the run's root.
          seed: the first lane's seed; lane `index` has seed `seed + index` and folder `seed_<seed + index>`, so
            that lanes of several runs can be told apart.
        """
        if not 0 <= index < num_seeds:
            raise ValueError(f"seed index {index} is outside 0..{num_seeds - 1}")
        directory = self.path if num_seeds == 1 else self.path / f"seed_{seed + index}"
        (directory / "media").mkdir(parents=True, exist_ok=True)
        return directory

    def seed_directories(self) -> list[Path]:
        """Return the directories that hold metrics, ordered by seed: the root alone for a run of one seed."""
        lanes = [p for p in self.path.glob("seed_*") if p.is_dir() and p.name[5:].isdigit()]
        return sorted(lanes, key=lambda p: int(p.name[5:])) or [self.path]


def describe_start() -> dict[str, Any]:
    """Return what is needed to repeat this start of the program, as JSON types.

    Keys: time (UTC), command, git_revision (None outside a repository; "-dirty" marks uncommitted changes), python,
    packages {name: version}, platform, cpu_count, backend, device_kind, device_count.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "git_revision": _git_revision(Path(__file__).parent),
        "python": platform.python_version(),
        "packages": _package_versions(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "backend": jax.default_backend(),
        "device_kind": jax.devices()[0].device_kind,
        "device_count": jax.device_count(),
    }


def _package_versions() -> dict[str, str]:
    installed = {}
    for name in RECORDED_PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # some parts of the project are optional
    return installed


def _git_revision(folder: Path) -> str | None:
    """The commit that the source in `folder` stands at, or None without git or a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
