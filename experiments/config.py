"""The options of a run: the algorithm's, plus what only the command line knows."""

import dataclasses
from typing import Any, Literal

from flax import struct

import envs
from experiments.extras import load
from peg_jax.core.config import require, static
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.methods import METHODS
from peg_jax.peg.validation import validate
from peg_jax.run.config_json import encode, flatten

# Options that leave the numbers of a run alone, so that a resume may change them.
MAY_CHANGE = (
    "steps",
    "log_every",
    "eval_every",
    "eval_repeats",
    "checkpoint_every",
    "media_every",
    "compilation_cache",
    "loop.bad_updates",
)


@struct.dataclass
class RunConfig(PEGConfig):
    """Train an agent that plans its own exploratory goals (PEG, ICLR 2023)."""

    env: str = static("point_maze")  # environment; see `envs.registered()`
    physics: Literal["auto", "mjx", "mujoco"] = static("auto")  # engine; auto: C MuJoCo on a CPU, else MJX
    method: str = static("peg")  # who chooses the goals
    preset: str = static("fast")  # bundle of defaults: paper, fast or smoke; options given beside it win
    seed: int = static(0)  # seed of the first run; run i of several uses seed + i
    num_seeds: int = static(1)  # independent runs in one compiled program
    steps: int = static(1_000_000)  # environment steps of each run, prefill included
    logdir: str = static("")  # run directory; an existing one is resumed; empty makes a new one under runs/
    log_every: int = static(10_000)  # environment steps per compiled epoch; one line of metrics each
    eval_every: int = static(10_000)  # environment steps between evaluations
    eval_repeats: int = static(1)  # evaluation episodes per goal
    checkpoint_every: int = static(10_000)  # environment steps between checkpoints
    media_every: int = static(100_000)  # environment steps between pictures; one set is drawn at the end anyway
    optimization: int = static(3)  # of the compiled program, 0 to 3; less compiles sooner and runs slower
    compilation_cache: bool = static(True)  # keep compiled programs in the user's cache directory

    def algorithm(self) -> PEGConfig:
        """The part that the compiled program depends on."""
        return PEGConfig(agent=self.agent, planner=self.planner, replay=self.replay, loop=self.loop)


def override(config: Any, changes: dict[str, Any]) -> Any:
    """A copy of a nested config with dotted fields replaced, such as `{"agent.world_model.deter": 64}`."""
    for path, value in changes.items():
        name, _, rest = path.partition(".")
        inner = override(getattr(config, name), {rest: value}) if rest else value
        config = dataclasses.replace(config, **{name: inner})
    return config


def made_with(config: RunConfig) -> dict[str, Any]:
    """The options, by dotted name, that the numbers of a run depend on."""
    options = flatten(encode(config))
    return {name: value for name, value in options.items() if name not in (*MAY_CHANGE, "logdir")}


def make_env(config: RunConfig) -> tuple[Any, Any]:
    """The run's environment and its parameters.

    Raises:
        RunError: MuJoCo is needed and not installed.
    """
    if not envs.has_physics(config.env):
        return envs.make(config.env)
    load("envs.mujoco.engine", extra="mujoco")
    return envs.make(config.env, physics=config.physics)


def validate_run(config: RunConfig) -> None:
    """Refuse options that cannot work, before anything is compiled.

    Raises:
        ConfigError: names the option, its value and what would work.
        RunError: the environment needs a package that is not installed.
    """
    require(config.env in envs.registered(), "env", config.env, f"known environments: {', '.join(envs.registered())}")
    require(config.method in METHODS, "method", config.method, f"known methods: {', '.join(METHODS)}")
    for option in ("num_seeds", "steps", "log_every", "eval_every", "eval_repeats", "checkpoint_every", "media_every"):
        require(getattr(config, option) >= 1, option, getattr(config, option), "it must be at least 1")
    require(config.seed >= 0, "seed", config.seed, "it cannot be negative")
    require(0 <= config.optimization <= 3, "optimization", config.optimization, "it must lie between 0 and 3")
    without = f"{config.env} is computed without a physics engine; leave the option out"
    require(envs.has_physics(config.env) or config.physics == "auto", "physics", config.physics, without)
    env, params = make_env(config)
    validate(config, int(params.max_steps_in_episode), env.goal_space(params).shape[0])
    alike = len(env.symmetries) > 1
    require(alike or not config.replay.shuffle, "replay.shuffle", True, f"nothing in {config.env} can be exchanged")
    loop = config.loop
    prefill = -(-loop.prefill // loop.num_envs) * loop.num_envs * int(params.max_steps_in_episode)
    require(config.steps > prefill, "steps", config.steps, f"prefill alone takes {prefill}; use more")
