"""SIGTERM, SIGUSR2 and Ctrl-C as a wish that a training loop polls between compiled epochs.

Python runs its signal handlers between two bytecodes of the main thread, which may wait minutes for a compiled epoch.
So the signal's number is taken from the wake-up pipe by a thread of its own, which can speak, and leave, at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

AGAIN = 75  # EX_TEMPFAIL of sysexits.h: run the same again
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: AGAIN, signal.SIGUSR2: AGAIN}  # the last by submitit, as time ends


class StoppedError(Exception):
    """The run was asked to stop and has saved everything; the message says how to go on."""

    def __init__(self, message: str, received: signal.Signals) -> None:
        super().__init__(message)
        self.exit_code = EXIT_CODES[received]


class StopSignals:
    """Watches for SIGTERM, SIGUSR2 and Ctrl-C; a context manager of the main thread (elsewhere it watches for nothing).

    While there is nothing to save, a signal ends the process at once. With `defer` set, the first one is kept in
    `received` for the loop to act upon; the next Ctrl-C ends the process at once.
    """

    def __init__(self, say: Callable[[str], None], delay: Callable[[], str], resume: str) -> None:
        """Prepare.

        Args:
          say: shows a line to the user, from any thread.
          delay: says when the loop will act, such as "in at most 12 s".
          resume: the command that goes on.
        """
        self._say, self._delay, self._resume = say, delay, resume
        self.received: signal.Signals | None = None
        self.defer = False
        self._reader = self._writer = -1

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._previous = {number: signal.signal(number, _leave_to_watcher) for number in EXIT_CODES}
        self._previous_pipe = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer < 0:
            return
        signal.set_wakeup_fd(self._previous_pipe)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._writer)  # ends the watcher
        self._writer = -1

    def _watch(self) -> None:
        while number := os.read(self._reader, 1):
            if number[0] in EXIT_CODES:
                self._handle(signal.Signals(number[0]))
        os.close(self._reader)

    def _handle(self, received: signal.Signals) -> None:
        name = "Ctrl-C" if received is signal.SIGINT else received.name
        if not self.defer:
            self._leave(received, f"{name}: leaving, nothing is unsaved")
        elif self.received is None:
            self.received = received
            self._say(f"{name}: saving and leaving {self._delay()}; Ctrl-C{_again(received)} leaves at once")
        elif received is signal.SIGINT:
            self._leave(received, "Ctrl-C: leaving at once, what was done since the last checkpoint is lost")

    def _leave(self, received: signal.Signals, message: str) -> None:
        self._say(f"{message}; resume with: {self._resume}")
        sys.stdout.flush()
        os._exit(EXIT_CODES[received])  # the main thread may be inside a compiled program for minutes


def _again(received: signal.Signals) -> str:
    return " again" if received is signal.SIGINT else ""


def _leave_to_watcher(number: int, frame: object) -> None:
    """Python's own handler, without which nothing is written to the pipe."""
