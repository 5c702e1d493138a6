"""Memory is foreseen: what does not fit is refused before compiling, with a value that fits."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments import memory
from peg_jax.core.config import ConfigError
from peg_jax.run.memory import available_bytes

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
ONE_SEED = {"world_model": jax.ShapeDtypeStruct((MIB,), jnp.uint8), "replay": jax.ShapeDtypeStruct((9 * MIB,), "uint8")}

REPLAY = memory.Growing("replay", "replay.capacity", 20_000)


def test_this_machine_says_what_it_has() -> None:
    available, device = available_bytes()
    assert available is not None and MIB < available < 1 << 50
    assert device


@pytest.mark.parametrize(
    ("available", "seeds", "words"),
    [
        (35, 4, r"--num-seeds=4 cannot work: 10\.0 MiB of state x 4 seeds, and a chip has 35\.0 MiB left; 3 fit"),
        (5, 1, r"--replay\.capacity=20000 cannot work: .*about --replay\.capacity=7111 fits"),
        (1, 1, r"--replay\.capacity=20000 cannot work: .*smaller networks would help"),
    ],
)
def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, available: int, seeds: int, words: str) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: (available * MIB, "a chip"))
    with pytest.raises(ConfigError, match=words):
        memory.require_memory(seeds, ONE_SEED, REPLAY)


@pytest.mark.parametrize("available", [40 * MIB, None])
def test_what_fits_or_cannot_be_known_passes(monkeypatch: pytest.MonkeyPatch, available: int | None) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: (available, "a chip"))
    memory.require_memory(4, ONE_SEED, REPLAY)


def test_the_command_refuses_before_it_compiles(tmp_path: Path) -> None:
    options = ["--preset=smoke", "--replay.capacity=200000000000", f"--logdir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "experiments.peg", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert re.match(r"error: --replay\.capacity=200000000000 cannot work: 4\.\d TiB of state x 1 seeds", done.stderr)
    assert "compiling" not in done.stdout
    assert not (tmp_path / "run" / "config.json").exists()  # the same --logdir may be tried with other options
