"""A process's hold on a run directory: what every trainer shares, whatever it trains.

with Session(directory, resume_command, console) as session:
    ...                                 # read, compile; a signal ends the process
    with session.training():
        while not done:
            ...                         # one compiled epoch, its log
            session.check()
            stopping = session.stopping
            if due or stopping:
                store.save(step, state)
            if stopping:
                session.leave(step)
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from peg_jax.run import processes
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import remove_unfinished
from peg_jax.run.lock import RunLock
from peg_jax.run.progress import print_line
from peg_jax.run.signals import StoppedError, StopSignals


class Session:
    """Locks the directory, cleans up after a killed process, and turns signals into an orderly end.

    Of several processes, the one that writes locks and cleans up.
    """

    def __init__(self, directory: RunDirectory, resume: str, console: Console) -> None:
        """Prepare; nothing is touched before the block is entered.

        Args:
          directory: of the run, new or existing.
          resume: the command that goes on with it.
          console: where to speak.
        """
        self.directory, self.console, self._resume = directory, console, resume
        self._lock = RunLock(directory.path) if processes.writes() else None
        self._signals = StopSignals(self.say, self._delay, resume)
        self._longest, self._began = 0.0, 0.0

    def __enter__(self) -> "Session":
        """Take the directory.

        Raises:
          RunError: another process has it, or it cannot be written.
        """
        if self._lock:
            if remark := self._lock.acquire():
                self.say(remark)
            remove_unfinished(self.directory.path)
        self._signals.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self._signals.__exit__(*reason)
        if self._lock:
            self._lock.release()

    @contextmanager
    def training(self) -> Iterator[None]:
        """While this lasts there is work to save: signals wait for `leave`."""
        self._began, self._signals.defer = time.monotonic(), True
        try:
            yield
        finally:
            self._signals.defer = False

    @property
    def stopping(self) -> bool:
        """Whether the user or the system has asked the run to stop, any of its processes."""
        return processes.any_of_all(self._signals.received is not None)

    def check(self) -> None:
        """Between two epochs: see that the directory is still there, and time the epoch.

        Raises:
          DiskError: it was removed or replaced.
        """
        now = time.monotonic()
        self._longest, self._began = max(self._longest, now - self._began), now
        if self._lock:
            self._lock.check()

    def leave(self, step: int, unit: str = "steps") -> None:
        """End the run, which was asked to stop; `step`, counted in `unit`, was just saved.

        Raises:
          StoppedError: with the exit code of the signal.
        """
        message = f"stopped and saved at {step:,} {unit}; resume with: {self._resume}"
        raise StoppedError(message, self._signals.received or signal.SIGTERM)  # which another process may have got

    def _delay(self) -> str:
        when = f"in at most {self._longest:.0f} s" if self._longest else "which takes an unknown time, it is the first"
        return f"when this epoch is done, {when}"

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.show_cursor(True)  # a process that leaves at once cannot do it later
        print_line(self.console, line)
