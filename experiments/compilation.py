"""How programs are traced, compiled and kept."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from experiments import traces
from experiments.options import RunOptions
from experiments.seeds import seed_devices
from peg_jax.run.config_json import encode
from peg_jax.run.processes import several

CALLS_THE_HOST = "mujoco"  # physics by a function of the process, which no file can hold


def enable_compilation_cache() -> Path:
    """Keep compiled programs between processes, in `$JAX_COMPILATION_CACHE_DIR` or the user's cache directory."""
    configured = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(configured) if configured else user / "peg_jax" / "xla"
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return path


def lower(
    config: RunOptions,
    env: Any,
    name: str,
    function: Callable[..., Any],
    *arguments: Any,
    donate: int | None = None,
    stay: Any = None,
) -> traces.Lowered:
    """Trace and lower a run's program, or read what an earlier process made of it, if compiled programs are kept.

    Args:
        config: all options that `function` may depend on, and no others; without the values that it is given.
        env: the run's environment.
        name: which of the run's programs it is.
        function: a pure function.
        arguments: arrays or their shapes.
        donate: which argument's memory the results may take.
        stay: which devices are to hold the results, where it matters; such a program is not kept.
    """
    if stay is not None or not _kept(config, env):
        donated = () if donate is None else donate
        return jax.jit(function, donate_argnums=donated, out_shardings=stay).lower(*arguments)
    made_from = f"{name} {json.dumps(encode(config))}"
    return traces.lower(_traces_folder(), made_from, function, *arguments, donate=donate)


def at_first_call(config: RunOptions, env: Any, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which is lowered as by `lower` and compiled when it is first called, for the shapes of that call."""
    if not _kept(config, env):
        return jax.jit(function, compiler_options=compiler_options(config))
    made: list[Callable[..., Any]] = []

    def call(*arguments: Any) -> Any:
        if not made:
            made.append(lower(config, env, name, function, *arguments).compile(compiler_options(config)))
        return made[0](*arguments)

    return call


def _kept(config: RunOptions, env: Any) -> bool:
    """Whether processes can share what they make of a run's programs."""
    alone = config.env_devices == seed_devices(config.num_seeds) == 1 and not several()
    possible = alone and getattr(env, "physics", None) != CALLS_THE_HOST
    return bool(config.compilation_cache and jax.config.values["jax_compilation_cache_dir"] and possible)


def _traces_folder() -> Path | None:
    """Where traced programs are kept, by a process that is known by its sources."""
    kept = Path(jax.config.values["jax_compilation_cache_dir"])
    return kept / "traced" if traces.known_by_sources() else None


def compiler_options(config: RunOptions) -> dict[str, str | bool]:
    """What to tell the compiler."""
    options: dict[str, str | bool] = {"xla_backend_optimization_level": str(config.optimization)}
    # The older code for fused loops compiles in three quarters of the time; later compilers have it no more.
    if config.optimization <= 1 and jax.default_backend() == "cpu" and jax.__version_info__ < (0, 11):
        options["xla_cpu_use_fusion_emitters"] = False
    return options
