"""A trainer in miniature, for tests that need a process to kill: the real session, checkpoints and metrics around
arithmetic in place of training.

`python -m tests.run.toy_run LOGDIR EPOCHS SECONDS` runs it. With `--serve` in place of the numbers it runs it again and
again in forks of itself, one per line on its standard input, which spares each of them seconds of imports.
"""

import os
import sys
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from rich.console import Console

from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError
from peg_jax.run.metrics import MetricsWriter
from peg_jax.run.session import Session
from peg_jax.run.signals import StoppedError

SIZE = 250_000
STEPS = 10  # of an epoch


@dataclass(frozen=True)
class Options:
    """What such a run is configured by."""

    size: int = SIZE


def run(logdir: str, epochs: int, seconds: float) -> int:
    """Run or resume `epochs` epochs of `seconds` each; returns the exit code."""
    directory, console = RunDirectory(logdir), Console()
    try:
        with Session(directory, "the same again", console) as session:
            directory.write_config(Options())
            train(directory, session, epochs, seconds)
    except StoppedError as stopped:
        print(stopped, flush=True)
        return stopped.exit_code
    except RunError as mistake:
        print(f"error: {mistake}", file=sys.stderr, flush=True)
        return mistake.exit_code
    return 0


def train(directory: RunDirectory, session: Session, epochs: int, seconds: float) -> None:
    """The loop of a trainer."""
    store = CheckpointStore(directory.checkpoints)
    state, resumed_at = jnp.arange(SIZE, dtype=jnp.float32), None
    if store.latest() is not None:
        state, resumed_at = store.restore(jax.eval_shape(lambda: state))
    step = resumed_at or 0
    print(f"at {step}", flush=True)
    with MetricsWriter(directory.path, resumed_at) as writer, session.training():
        while step < epochs * STEPS:
            time.sleep(seconds)
            state, step = state * 0.9 + step, step + STEPS
            writer.write(step, {"mean": float(state.mean())})
            session.check()
            stopping = session.stopping
            store.save(step, state)
            print(f"saved {step}", flush=True)
            if stopping:
                session.leave(step)


def serve(logdir: str, epochs: int, seconds: float) -> None:
    """Run it once per line of standard input, saying the process id; `wait` waits for the last one to end."""
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(run(logdir, epochs, seconds))
        print(f"pid {child}", flush=True)
        _, status = os.waitpid(child, 0)
        print(f"exit {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    else:
        sys.exit(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
