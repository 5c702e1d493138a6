"""Names of runs in tables."""

import re
from collections.abc import Sequence
from typing import Any

from experiments.options import RunOptions
from peg_jax.run.config_json import encode, flatten


def changed_options(config: RunOptions, default: RunOptions, may_change: Sequence[str]) -> str:
    """The method, the preset unless it is the usual one, and the options by which a run differs from `default`."""
    usual, ignored = flatten(encode(default)), {*may_change, "seed", "num_seeds", "logdir", "schedule_steps"}
    changed = {name: value for name, value in flatten(encode(config)).items() if usual[name] != value}
    options = [f"--{name.replace('_', '-')}={_word(value)}" for name, value in changed.items() if name not in ignored]
    kind = [] if config.preset == RunOptions.preset else [f"--preset={config.preset}"]
    return " ".join([config.method, *kind, *options])


def name_of_seeds(path: str) -> str:
    """The name of a run without the number at its end: what the seeds of one command have in common."""
    return re.sub(r"_\d+/?$", "", path)


def _word(value: Any) -> str:
    """A value without spaces, at which labels are taken apart."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {noun}" + "s" * (count != 1)
