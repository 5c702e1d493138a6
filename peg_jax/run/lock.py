"""One process at a time in a run directory."""

import errno
import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peg_jax.run.files import DiskError, RunError, disk_error

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # as some network file systems answer


class RunLock:
    """A lock on a directory, which the kernel gives back when its holder dies, however it dies.

    `.lock` in the directory says who holds it, so that others can be told; what a dead process left there is taken
    over.
    """

    def __init__(self, folder: Path) -> None:
        """Name the lock of `folder`; nothing is made."""
        self.folder, self.path = folder, folder / ".lock"
        self._file: int | None = None

    def acquire(self) -> str | None:
        """Take the lock, making the directory where needed; returns what there is to say about it.

        Raises:
          RunError: another process holds it; names its pid and host.
          DiskError: the directory cannot be written.
        """
        remark = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = self._owner()
            self._close()
            raise RunError(
                f"{self.folder} is in use by {_describe(owner)}; wait for it, stop it, or choose another --logdir"
            ) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                self._close()
                raise disk_error(self.path, error) from error
            remark = f"the file system of {self.folder} has no locks: see to it that one process at a time uses it"
        if owner := self._owner():
            remark = remark or f"taking over from {_describe(owner)}, which ended without saying so"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write({"pid": os.getpid(), "host": socket.gethostname(), "since": now})
        return remark

    def check(self) -> None:
        """See that the directory is still the one that was locked.

        Raises:
          DiskError: it was removed or replaced.
        """
        assert self._file is not None
        try:
            same = os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except OSError:
            same = False
        if not same:
            raise DiskError(f"{self.folder} was removed or replaced while the run was writing to it")

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._write(None)
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _owner(self) -> Any:
        try:
            return json.loads(self.path.read_text())
        except (OSError, ValueError):
            return None

    def _write(self, owner: dict[str, Any] | None) -> None:
        assert self._file is not None
        try:
            os.ftruncate(self._file, 0)
            if owner is not None:
                os.pwrite(self._file, json.dumps(owner).encode(), 0)
        except OSError as error:
            if owner is not None:
                self._close()
                raise disk_error(self.path, error) from error


def _describe(owner: Any) -> str:
    if not isinstance(owner, dict):
        return "another process"
    return f"process {owner.get('pid')} on {owner.get('host')} (since {owner.get('since')})"
