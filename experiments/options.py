"""The options that every run has, whatever it trains."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import jax
from flax import struct

from peg_jax.core.config import require, static
from peg_jax.run.config_json import encode, flatten
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError

Config = TypeVar("Config")

# Options that leave the numbers of a run alone, so that a resume may change them.
MAY_CHANGE = (
    *("steps", "log_every", "eval_every", "checkpoint_every", "media_every", "compilation_cache"),
    *("coordinator", "num_processes", "process_id", "env_devices"),
)

MOST_STEPS = 2_000_000_000  # the last epoch may go beyond

# Options that only the host reads.
HOST_ONLY = ("preset", "seed", "logdir", "eval_every", "checkpoint_every", "media_every")


@struct.dataclass
class RunOptions:
    """What the host needs to know."""

    method: str = static("")  # name of the method
    preset: str = static("fast")  # defaults: paper, fast, smoke or, for mazes, wide; options beside it win
    seed: int = static(0)  # seed of the first run; run i of several uses seed + i
    num_seeds: int = static(1)  # independent runs in one compiled program
    steps: int = static(1_000_000)  # environment steps of each run
    logdir: str = static("")  # run directory; an existing one is resumed; empty makes a new one under runs/
    log_every: int = static(10_000)  # environment steps per compiled epoch; one line of metrics each
    eval_every: int = static(10_000)  # environment steps between evaluations
    checkpoint_every: int = static(10_000)  # environment steps between checkpoints
    media_every: int = static(100_000)  # environment steps between pictures, drawn at the end anyway; 0: none at all
    optimization: int = static(3)  # of the compiled program, 0 to 3; less compiles sooner and runs slower
    compilation_cache: bool = static(True)  # keep compiled programs in the user's cache directory
    env_devices: int = static(1)  # local devices that share the environments of a single seed
    coordinator: str = static("")  # host:port of process 0 where several share the seeds; auto: ask the scheduler
    num_processes: int = static(0)  # how many these are; not needed with auto
    process_id: int = static(-1)  # which of them this is, from 0; not needed with auto


def override(config: Any, changes: dict[str, Any]) -> Any:
    """A copy of a nested config with dotted fields replaced, such as `{"agent.world_model.deter": 64}`."""
    for path, value in changes.items():
        name, _, rest = path.partition(".")
        inner = override(getattr(config, name), {rest: value}) if rest else value
        config = dataclasses.replace(config, **{name: inner})
    return config


def made_with(config: RunOptions, may_change: Sequence[str]) -> dict[str, Any]:
    """The options, by dotted name, that the numbers of a run depend on: all but those in `may_change`."""
    options = flatten(encode(config))
    return {name: value for name, value in options.items() if name not in (*may_change, "logdir")}


def read_options(directory: RunDirectory, kind: type[Config]) -> Config:
    """The options of a run, which must be of the program whose options are a `kind`.

    Raises:
        RunError: it is of another program, or cannot be read.
    """
    saved = directory.read_config()
    names = {"env", "scenario"} & set(saved)  # one of the two programs has the first, the other the second
    if names and not names & {field.name for field in dataclasses.fields(cast(Any, kind))}:
        program = "peg" if "env" in names else "episodic_curiosity"
        raise RunError(f"{directory.path} is a run of experiments.{program}, which this command does not take")
    return directory.read_config_as(kind)


def without(config: Any, names: Sequence[str]) -> Any:
    """A copy of a config whose options `names` have their defaults: those that no compiled program may depend on."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    return dataclasses.replace(config, **{name: defaults[name] for name in names})


def without_values(config: Any) -> Any:
    """A copy of a config with zeros for the numbers which programs take as arguments: what only names a program."""
    return jax.tree.map(lambda _: 0, config)


def at_least_one(config: Any, *names: str, under: str = "") -> None:
    """Require fields of a config, or of the part of it that lies `under` a dotted name, to be 1 or more.

    Raises:
        ConfigError: names the first that is not.
    """
    for name in names:
        value = getattr(config, name)
        require(value >= 1, f"{under}.{name}" if under else name, value, "it must be at least 1")


def validate_options(config: RunOptions) -> None:
    """Refuse options of the host that cannot work.

    Raises:
        ConfigError: names the option, its value and what would work.
    """
    for name, value in flatten(encode(config)).items():
        require("nan" not in (value if isinstance(value, list) else [value]), name, value, "it must be a number")
    at_least_one(config, "num_seeds", "steps", "log_every", "eval_every", "checkpoint_every")
    for option, most in (("steps", MOST_STEPS), ("log_every", MOST_STEPS // 20)):
        value = getattr(config, option)
        require(value <= most, option, value, f"steps are counted in 32 bits; use at most {most}")
    require(config.media_every >= 0, "media_every", config.media_every, "it cannot be negative; 0 draws no pictures")
    require(config.seed >= 0, "seed", config.seed, "it cannot be negative")
    require(0 <= config.optimization <= 3, "optimization", config.optimization, "it must lie between 0 and 3")
