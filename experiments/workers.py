"""Runs as processes of this machine, a bounded number at a time, which save when they are asked to stop."""

import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from experiments.labels import counted
from experiments.sweep_runs import Run
from peg_jax.run.signals import StoppedError, StopSignals

PAUSE = 0.1  # seconds between two looks at the processes


def run_here(runs: Sequence[Run], at_once: int, told: Callable[[Run, int], None]) -> None:
    """Run all, `at_once` at a time; `told` is called with each that has ended and its exit code.

    A signal to stop is handed on once to those that run, which then save and leave, and none is started any more;
    another Ctrl-C leaves at once.

    Raises:
        StoppedError: that was so, and all have ended.
    """
    waiting, running = deque(runs), dict[str, tuple[Run, subprocess.Popen[Any]]]()
    with StopSignals(print, lambda: "when its runs have", "the same command") as signals, _ended_with(running):
        signals.defer, asked = True, False
        while running or (waiting and not signals.received):
            while waiting and len(running) < at_once and not signals.received:
                run = waiting.popleft()
                running[run.name] = run, run.start()
            if signals.received and not asked:
                asked = True
                for _, process in running.values():
                    process.send_signal(signal.SIGTERM)
            for name, (run, process) in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    told(run, process.returncode)
            time.sleep(PAUSE)
    if signals.received:
        left = f"{counted(len(waiting), 'run')} not begun" if waiting else "all runs were begun"
        raise StoppedError(f"stopped, {left}; the same command goes on", signals.received)


@contextmanager
def _ended_with(running: "dict[str, tuple[Run, subprocess.Popen[Any]]]") -> Iterator[None]:
    """Whatever ends the block, no process outlives it: those that are left save, and are waited for."""
    try:
        yield
    finally:
        for _, process in running.values():
            process.send_signal(signal.SIGTERM)
        for _, process in running.values():
            process.wait()


def start_and_wait(run: Run) -> int:
    """`wait` for a run that is started."""
    return wait(run.start())


def wait(process: "subprocess.Popen[Any]") -> int:
    """Wait for a run, handing on the warning that a job's time ends (submitit would end the run); its exit code."""
    before = signal.signal(signal.SIGUSR2, lambda number, _: process.send_signal(number))
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGUSR2, before)
