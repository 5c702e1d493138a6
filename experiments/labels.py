"""Names of runs in tables."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from experiments.options import RunOptions
from peg_jax.run.config_json import encode, flatten


def changed_options(config: RunOptions, default: RunOptions, may_change: Sequence[str]) -> str:
    """The method, the preset unless it is the usual one, and the options by which a run differs from `default`."""
    ignored = {*may_change, "seed", "num_seeds", "logdir", "schedule_steps"}
    options = [written for name, written in _changes(config, default).items() if name not in ignored]
    kind = [] if config.preset == RunOptions.preset else [f"--preset={config.preset}"]
    return " ".join([config.method, *kind, *options])


def unused_options(config: RunOptions, default: RunOptions, idle: Collection[str]) -> list[str]:
    """The options that differ from `default` and belong to a part that the method has no use for, one of `idle`."""
    return [written for name, written in _changes(config, default).items() if name.partition(".")[0] in idle]


def _changes(config: RunOptions, default: RunOptions) -> dict[str, str]:
    """The options by which `config` differs, by dotted name, as the command line has them."""
    usual, values = flatten(encode(default)), flatten(encode(config))
    changed = {name: value for name, value in values.items() if usual[name] != value}
    return {name: f"--{name.replace('_', '-')}={_word(value)}" for name, value in changed.items()}


def name_of_seeds(path: str) -> str:
    """The name of a run without the number at its end: what the seeds of one command have in common."""
    return re.sub(r"_\d+/?$", "", path)


def _word(value: Any) -> str:
    """A value without spaces, at which labels are taken apart."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {noun}" + "s" * (count != 1)
