"""Memory is foreseen: what does not fit is refused before compiling, with a value that fits."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments import memory, peg
from peg_jax.core.config import ConfigError
from peg_jax.run.memory import available_bytes

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


def test_the_command_refuses_before_it_compiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logdir = tmp_path / "run"
    options = ["--preset=smoke", "--replay.capacity=200000000000", "--no-compilation-cache", f"--logdir={logdir}"]
    with pytest.raises(ConfigError, match=r"--replay\.capacity=200000000000 cannot work: 4\.\d TiB of state x 1 seeds"):
        peg.run(options)
    shown = capsys.readouterr().out
    assert "replay" in shown and "compiling" not in shown
    assert not (logdir / "config.json").exists()  # the same --logdir may be tried with other options
