"""The options of a run: the algorithm's, plus what only the command line knows."""

from typing import Any, Literal

from flax import struct

import envs
from experiments import options
from experiments.env_devices import require_devices
from experiments.extras import load
from experiments.options import RunOptions
from peg_jax.core.config import require, static
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.methods import METHODS
from peg_jax.peg.validation import validate

# Options that leave the numbers of a run alone, so that a resume may change them.
MAY_CHANGE = (*options.MAY_CHANGE, "eval_repeats", "loop.bad_updates")


@struct.dataclass
class RunConfig(RunOptions, PEGConfig):
    """Train an agent that plans its own exploratory goals (PEG, ICLR 2023)."""

    env: str = static("point_maze")  # environment: point_maze, walker, ant_maze or block_stack
    physics: Literal["auto", "mjx", "mujoco"] = static("auto")  # engine; auto: C MuJoCo on a CPU, else MJX
    # who chooses the goals: peg, peg_kde, mega, skewfit, lexa, lexa_chunk_starts, p2e, random_goals or env_goals
    method: str = static("peg")
    steps: int = static(1_000_000)  # environment steps of each run, prefill included
    eval_repeats: int = static(1)  # evaluation episodes per goal
    replay_from: str = static("")  # directory of a run with whose replay to begin; empty begins with random episodes

    def algorithm(self) -> PEGConfig:
        """The part that the compiled program depends on."""
        return PEGConfig(agent=self.agent, planner=self.planner, replay=self.replay, loop=self.loop)


def make_env(config: RunConfig) -> tuple[Any, Any]:
    """The run's environment and its parameters.

    Raises:
        RunError: MuJoCo is needed and not installed.
    """
    if not envs.has_physics(config.env):
        return envs.make(config.env)
    load("envs.mujoco.engine", extra="mujoco")
    return envs.make(config.env, physics=config.physics)


def require_goals(env: str) -> None:
    """Refuse an environment that has none.

    Raises:
        ConfigError: says what explores it.
    """
    command = f"python -m experiments.episodic_curiosity --scenario={env.removeprefix('maze3d_')}"
    explored = env in envs.registered() and not envs.has_goals(env)
    require(not explored, "env", env, f"it has no goals; {command} explores it")


def validate_names(config: RunConfig) -> None:
    """Refuse an environment or a method that is not there, also where a run was made when it was.

    Raises:
        ConfigError: names the option, its value and what is there.
    """
    require_goals(config.env)
    with_goals = ", ".join(name for name in envs.registered() if envs.has_goals(name))
    require(config.env in envs.registered(), "env", config.env, f"known environments: {with_goals}")
    known = f"known methods: {', '.join(METHODS)}; one of your own has to be registered in peg_jax.peg.methods"
    require(config.method in METHODS, "method", config.method, known)


def validate_run(config: RunConfig) -> None:
    """Refuse options that cannot work, before anything is compiled.

    Raises:
        ConfigError: names the option, its value and what would work.
        RunError: the environment needs a package that is not installed.
    """
    validate_names(config)
    options.validate_options(config)
    require(config.eval_repeats >= 1, "eval_repeats", config.eval_repeats, "it must be at least 1")
    without = f"{config.env} is computed without a physics engine; leave the option out"
    require(envs.has_physics(config.env) or config.physics == "auto", "physics", config.physics, without)
    env, params = make_env(config)
    validate(config, int(params.max_steps_in_episode), env.goal_space(params).shape[0])
    alike = len(env.symmetries) > 1
    require(alike or not config.replay.shuffle, "replay.shuffle", True, f"nothing in {config.env} can be exchanged")
    alone = "several processes cannot share it; leave out the one or the other"
    require(not (config.replay_from and config.coordinator), "replay_from", config.replay_from, alone)
    loop = config.loop
    require_devices(config, loop.num_envs)
    prefill = -(-loop.prefill // loop.num_envs) * loop.num_envs * int(params.max_steps_in_episode)
    require(config.steps > prefill, "steps", config.steps, f"prefill alone takes {prefill}; use more")
