"""How programs are compiled and kept."""

import os
from pathlib import Path

import jax

from experiments.options import RunOptions


def enable_compilation_cache() -> Path:
    """Keep compiled programs between processes, in `$JAX_COMPILATION_CACHE_DIR` or the user's cache directory."""
    configured = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(configured) if configured else user / "peg_jax" / "xla"
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return path


def compiler_options(config: RunOptions) -> dict[str, str | bool]:
    """What to tell the compiler."""
    return {"xla_backend_optimization_level": str(config.optimization)}
