"""Programs that are read instead of traced: they compute the same, and only what was made from the same is read."""

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from experiments import compilation, traces
from experiments.config import RunConfig
from experiments.options import override, without_values
from experiments.presets import preset
from experiments.program import compiled_part
from peg_jax.core.types import Array, Key
from tests.experiments.processes import template


@struct.dataclass
class State:
    key: Key
    parts: dict[str, Array]
    nothing: Array | None = None


class Log(NamedTuple):
    sums: list[Array]


X = jnp.arange(6.0).reshape(2, 3)


def fresh() -> State:
    return State(jax.random.key(3), {"x": X + 0.0})


def step(scale: Array, state: State) -> tuple[State, Log]:
    key, now = jax.random.split(state.key)
    x = scale * state.parts["x"] + jax.random.uniform(now, (2, 3))
    return State(key, {"x": x}), Log([x.sum(), jnp.sin(x)])


def never(scale: Array, state: State) -> tuple[State, Log]:
    raise AssertionError("traced again")


def lower(folder: Path | None, function: Callable[..., Any] = step) -> traces.Lowered:
    return traces.lower(folder, "step", function, 2.0, jax.eval_shape(fresh), donate=1)


def test_what_is_read_computes_the_same_bits_without_being_traced(tmp_path: Path) -> None:
    lower(tmp_path)
    results = []
    for lowered in (jax.jit(step, donate_argnums=1).lower(2.0, jax.eval_shape(fresh)), lower(tmp_path, never)):
        program, state = lowered.compile(), fresh()
        results.append(program(2.0, state))
        assert state.parts["x"].is_deleted()  # the argument that was given away
    with pytest.raises(TypeError, match="compiled for"):
        program(2.0, {"x": X})
    plain, read = results
    assert isinstance(read[0], State) and isinstance(read[1], Log) and read[0].nothing is None
    assert jax.tree.structure(plain) == jax.tree.structure(read)
    plain, read = (jax.tree.leaves((state.parts, log, jax.random.key_data(state.key))) for state, log in results)
    for a, b in zip(plain, read, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_compiled_has_one_name_whether_it_is_traced_read_or_kept_by_nobody(tmp_path: Path) -> None:
    texts = [lower(folder).lowered.as_text() for folder in (tmp_path, tmp_path, None)]  # type: ignore[attr-defined]
    assert texts[0] == texts[1] == texts[2]
    other = lower(None, lambda scale, state: step(2 * scale, state))
    assert other.lowered.as_text() != texts[0]  # type: ignore[attr-defined]


def test_a_damaged_entry_is_traced_again_and_mended(tmp_path: Path) -> None:
    lower(tmp_path)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        entry.write_bytes(damaged)
        with pytest.raises(AssertionError, match="traced again"):
            lower(tmp_path, never)
        lower(tmp_path)
        lower(tmp_path, never)


def test_an_entry_made_from_something_else_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From other options, shapes or sources, or with other settings of JAX."""
    package = tmp_path / "agents"
    package.mkdir()
    (package / "__init__.py").write_text("gain = 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(traces, "OURS", ("agents",))
    folder = tmp_path / "traced"

    def is_read(made_from: str = "step", columns: int = 3) -> bool:
        traces._made_with.cache_clear()
        traces._sources.cache_clear()
        state = jax.eval_shape(fresh).replace(parts={"x": jax.ShapeDtypeStruct((2, columns), jnp.float32)})
        try:
            traces.lower(folder, made_from, never, 2.0, state, donate=1)
        except AssertionError:
            return False
        return True

    try:
        is_read()
        lower(folder)
        assert is_read()
        assert not is_read("another")
        assert not is_read(columns=4)
        with jax.default_matmul_precision("highest"):
            assert not is_read()
        assert is_read()
        (package / "__init__.py").write_text("gain = 2.0\n")
        assert not is_read()
    finally:
        traces._made_with.cache_clear()
        traces._sources.cache_clear()


def test_a_program_that_calls_the_host_is_traced_by_each_process(tmp_path: Path) -> None:
    def calls(x: Array) -> Array:
        return jax.pure_callback(lambda y: np.asarray(y) + 1, jax.ShapeDtypeStruct((2, 3), jnp.float32), x)

    np.testing.assert_array_equal(traces.lower(tmp_path, "calls", calls, X).compile()(X), X + 1)
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_entries_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST", 2)
    for made_from in "abc":
        traces.lower(tmp_path, made_from, jnp.sin, X)
    assert len(list(tmp_path.iterdir())) == 2


def test_only_a_command_of_ours_keeps_programs_and_only_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = preset(RunConfig, "smoke", "point_maze")
    settings = SimpleNamespace(values={"jax_compilation_cache_dir": str(tmp_path)})
    monkeypatch.setattr(compilation, "jax", SimpleNamespace(config=settings))
    monkeypatch.setattr(traces, "_IMPORTED", time.time() + 2 * traces.SETTLED)  # whatever has just been edited

    def kept(config: RunConfig = config, physics: str | None = None) -> bool:
        return compilation._kept(config, SimpleNamespace(physics=physics))

    assert kept() and kept(physics="mjx") and not kept(physics="mujoco")
    assert not kept(override(config, {"compilation_cache": False}))
    assert compilation._traces_folder() is None
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", importlib.util.find_spec("experiments.peg"))
    assert compilation._traces_folder() == tmp_path / "traced"
    monkeypatch.setattr(traces, "_IMPORTED", 0.0)  # edited after it was imported, or just before
    assert compilation._traces_folder() is None
    settings.values["jax_compilation_cache_dir"] = None
    assert not kept()


def test_what_is_compiled_does_not_know_of_the_hosts_options() -> None:
    config = preset(RunConfig, "smoke", "point_maze")
    host = {"seed": 5, "steps": 7_000, "logdir": "runs/x", "eval_every": 1, "checkpoint_every": 1, "media_every": 1}
    assert compiled_part(override(config, host)) == compiled_part(config)
    for name, value in {"log_every": 400, "eval_repeats": 2, "num_seeds": 2, "loop.prefill": 8}.items():
        assert without_values(compiled_part(override(config, {name: value}))) != without_values(compiled_part(config))
    for name, value in {"loop.bad_updates": 3, "planner.discount": 0.5, "agent.achiever.entropy": 1.0}.items():
        changed = compiled_part(override(config, {name: value}))
        assert changed != compiled_part(config) and without_values(changed) == without_values(compiled_part(config))


def test_the_state_of_a_run_survives_the_packing() -> None:
    state = template("peg", 1)
    packed = traces._pack(state)
    assert jax.tree.structure(traces._unpack(packed)) == jax.tree.structure(state)
    assert "peg_jax" not in str(jax.tree.structure(packed)).replace("class peg_jax", "")
