"""The real commands in real processes, and states that are compared bit by bit."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import parse_run
from experiments.config import RunConfig
from experiments.program import abstract_state, checkpoint_store, run_task
from peg_jax.peg.training import TrainState
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory

ROOT = Path(__file__).parents[2]
# Processes share what they compile, and draw: machine code that is not optimised at all would cost more than it saves.
ENVIRONMENT = os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("--xla_backend_optimization_level=0", "")}


@dataclass
class Ended:
    """A process that is over."""

    code: int
    out: str
    err: str


@contextmanager
def running(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m experiments.<module>` at work."""
    command = [sys.executable, "-m", f"experiments.{module}", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=600)
    return Ended(process.returncode, out, err)


def command(module: str, *arguments: str) -> str:
    """Run `python -m experiments.<module>`, which must work, and return what it printed."""
    with running(module, *arguments) as process:
        done = ended(process)
    assert done.code == 0, f"{done.out[-1000:]}\n{done.err[-2000:]}"
    return done.out


def wait_for_checkpoint(logdir: Path, process: subprocess.Popen[str], after: int = 0) -> int:
    """Wait until a step later than `after` is on disk, and return it."""
    store = CheckpointStore(logdir / "checkpoints")
    while (store.latest() or 0) <= after:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return store.latest() or 0


def checkpoint(logdir: Path) -> tuple[TrainState, CheckpointStore]:
    """The newest checkpoint of a `smoke` run on its main environment, and the store that it lies in."""
    directory = RunDirectory(logdir)
    config = directory.read_config_as(RunConfig)
    store = checkpoint_store(config, directory, print)
    return store.restore(template(config.method, config.num_seeds))[0], store


@cache
def template(method: str, num_seeds: int) -> TrainState:
    """The shapes of a state; asking for them costs seconds."""
    config, _ = parse_run(RunConfig, ["--preset=smoke", f"--method={method}", f"--num-seeds={num_seeds}"])
    return abstract_state(config, run_task(config))


def differing_leaves(a: object, b: object) -> list[str]:
    leaves = [jax.tree_util.tree_leaves_with_path(jax.tree.map(_bits, tree)) for tree in (a, b)]
    assert len(leaves[0]) > 40
    return [jax.tree_util.keystr(path) for (path, x), (_, y) in zip(*leaves, strict=True) if x != y]


def _bits(x: jax.Array) -> bytes:
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x).tobytes()
