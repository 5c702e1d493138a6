"""The options of an Episodic Curiosity run, their presets and their checks."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from flax import struct

import envs
from envs.maze3d.television import Television
from experiments import options
from experiments.cli import parse_command
from experiments.curiosity_checks import validate_reachability
from experiments.curiosity_presets import ANT_CURIOUS, ANT_NUMBERS, ANT_VIEWS, PRESETS, UNPAID, Changes
from experiments.env_devices import require_devices
from experiments.extras import load
from experiments.options import RunOptions, at_least_one, override
from peg_jax.core.config import ConfigError, nested, require, static
from peg_jax.curiosity.bonus import ANT, MAZES_WITHOUT_REWARD, SCENARIOS, settings
from peg_jax.curiosity.config import CuriosityConfig
from peg_jax.curiosity.methods import METHODS
from peg_jax.curiosity.ppo import budget, num_updates
from peg_jax.curiosity.task import Task, make_task

# Options that leave the numbers of a run alone, so that a resume may change them.
MAY_CHANGE = (*options.MAY_CHANGE, "eval_envs", "ppo.bad_updates", "schedule_steps")

ICM = "ppo_plus_icm"
NO_REWARD = (*MAZES_WITHOUT_REWARD, ANT)
FIXED_SIZE = ("dense1", "dense2", ANT)
BEFORE, BESIDE = "ppo_plus_ec", "ppo_plus_eco"
CURIOUS = (BEFORE, BESIDE)
"""Methods with a reachability network, trained before or beside the policy."""
USERS = {"icm": (ICM,), "reachability": CURIOUS}
"""The methods that have any use for a part of the configuration."""


def idle_parts(method: str) -> set[str]:
    """The parts of the configuration for which `method` has no use."""
    return {part for part, methods in USERS.items() if method not in methods}


@struct.dataclass
class MazeConfig:
    """The environment's options."""

    size: int = static(17)  # cells along a maze's edge, border included; dense1, dense2 and the ant have their own
    height: int = static(84)  # of the view, pixels
    width: int = static(84)  # of the view, pixels
    episode_steps: int = static(0)  # longest episode; 0: the scenario's own
    television: Literal["none", "image", "noise"] = static("none")  # what a noisy television in the view shows
    television_switches: Literal["step", "action"] = static("step")  # when it switches: at each step, or by firing


@struct.dataclass
class CuriosityRunConfig(RunOptions, CuriosityConfig):
    """Train PPO with a bonus for exploration (Episodic Curiosity, ICLR 2019)."""

    # task: sparse, verysparse, sparseplusdoors, noreward, norewardnofire, dense1, dense2 or ant_no_reward
    scenario: str = static("verysparse")
    # which bonus is added: ppo (none), ppo_plus_grid_oracle, ppo_plus_ec, ppo_plus_eco or ppo_plus_icm
    method: str = static("ppo_plus_grid_oracle")
    r_network: str = static("")  # ppo_plus_ec: directory of a run whose R-network to use; empty trains one
    maze: MazeConfig = nested(MazeConfig)
    physics: Literal["auto", "mjx", "mujoco"] = static("auto")  # the ant's engine; auto: C MuJoCo on a CPU, else MJX
    steps: int = static(20_000_000)  # environment steps of each run
    schedule_steps: int = static(0)  # steps that the learning rate's decay is laid out for; 0: `steps` at the start
    log_every: int = static(15_360)  # environment steps per compiled epoch; one line of metrics each
    eval_every: int = static(76_800)  # environment steps between evaluations
    eval_envs: int = static(12)  # environments of an evaluation, for each of the two splits
    checkpoint_every: int = static(614_400)  # environment steps between checkpoints
    media_every: int = static(2_000_000)  # environment steps between pictures, drawn at the end anyway; 0: none at all

    def algorithm(self) -> CuriosityConfig:
        """The part that the compiled program depends on."""
        reachability = self.reachability
        if reachability.parity:
            replacement = settings(self.scenario, parity=True).memory.replacement
            reachability = override(reachability, {"memory.replacement": replacement})
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(CuriosityConfig)}
        return CuriosityConfig(**parts | {"reachability": reachability})

    @property
    def metric(self) -> str:
        """What is maximised: the task's reward, or coverage where there is none."""
        return "coverage" if self.scenario in NO_REWARD else "reward"


def preset(name: str, scenario: str, method: str) -> CuriosityRunConfig:
    """The defaults of a run: the published values, with the scenario's, the method's and the preset's changes on top.

    Raises:
        ConfigError: an unknown preset, scenario or method.
    """
    for option, value, known in (
        ("preset", name, PRESETS),
        ("scenario", scenario, SCENARIOS),
        ("method", method, METHODS),
    ):
        if value not in known:
            raise ConfigError(f"--{option}={value} cannot work: known {option}s: {', '.join(known)}")
    task: Changes = {"reward.task": 0.0} if scenario in NO_REWARD else {}
    if method in CURIOUS:
        memory, bonus, reward = settings(scenario)
        task = {"reachability.memory": memory, "reachability.bonus": bonus, "reward": reward}
    own: Changes = {"maze.size": MazeConfig.size} if scenario in FIXED_SIZE else {}
    numbers, view = (ANT_NUMBERS, ANT_VIEWS[name]) if scenario == ANT else ({}, {})
    if scenario == ANT and method in CURIOUS:
        numbers = numbers | ANT_CURIOUS
    config = CuriosityRunConfig(scenario=scenario, method=method, preset=name)
    unpaid = UNPAID.get(name, {}) if scenario in NO_REWARD else {}
    return override(config, task | METHODS[method].numbers | numbers | PRESETS[name] | unpaid | view | own)


def parse_curious(arguments: Sequence[str]) -> tuple[CuriosityRunConfig, bool]:
    """The options that a command line asks for, validated, and whether it continues an existing run.

    Raises:
        ConfigError, RunError: the user's mistakes.
    """
    choices = ("preset", "scenario", "method")
    return parse_command(CuriosityRunConfig, arguments, choices, preset, validate, MAY_CHANGE)


def run_task(config: CuriosityRunConfig, action_set: str = "") -> Task:
    """The task of a run, in the stream of episodes for training; a maze's actions are its own, or those of a named set.

    Raises:
        RunError: MuJoCo is needed and not installed.
    """
    env, params = _make_ant(config) if config.scenario == ANT else _make_maze(config, action_set)
    if config.maze.episode_steps:
        params = dataclasses.replace(params, max_steps_in_episode=config.maze.episode_steps)
    return make_task(env, params, config.oracle)


def _make_ant(config: CuriosityRunConfig) -> tuple[Any, Any]:
    load("envs.mujoco.engine", extra="mujoco")
    return envs.make(ANT, physics=config.physics, height=config.maze.height, width=config.maze.width)


def _make_maze(config: CuriosityRunConfig, action_set: str) -> tuple[Any, Any]:
    maze = config.maze
    made: dict[str, Any] = {"height": maze.height, "width": maze.width}
    if config.scenario not in FIXED_SIZE:
        made["size"] = maze.size
    if action_set:
        made["action_set"] = action_set
    if maze.television != "none":
        made["television"] = Television(maze.television, maze.television_switches)
    return envs.make(f"maze3d_{config.scenario}", **made)


def validate_names(config: CuriosityRunConfig) -> None:
    """Refuse a scenario or a method that is not there, also where a run was made when it was.

    Raises:
        ConfigError: names the option, its value and what is there.
    """
    require(config.scenario in SCENARIOS, "scenario", config.scenario, f"known scenarios: {', '.join(SCENARIOS)}")
    require(config.method in METHODS, "method", config.method, f"known methods: {', '.join(METHODS)}")


def validate(config: CuriosityRunConfig) -> None:
    """Refuse options that cannot work, before anything is compiled.

    Raises:
        ConfigError: names the option, its value and what would work.
    """
    validate_names(config)
    options.validate_options(config)
    require(config.eval_envs >= 1, "eval_envs", config.eval_envs, "it must be at least 1")
    require_devices(config, config.ppo.num_envs)
    apart = f"the R-network of {BEFORE} is trained on one device; leave the option out"
    require(config.method != BEFORE or config.env_devices == 1, "env_devices", config.env_devices, apart)
    for option in ("cell", "norm"):
        value = getattr(config.oracle, option)
        require(value > 0, f"oracle.{option}", value, "it must be above 0")
    _validate_ppo(config)
    _validate_world(config)
    if config.scenario == ANT:
        require(min(config.network.mlp, default=1) >= 1, "network.mlp", config.network.mlp, "each must be at least 1")
    else:
        _validate_network(config)
    _validate_curiosity(config)


def _validate_ppo(config: CuriosityRunConfig) -> None:
    ppo = config.ppo
    require(ppo.bad_updates >= 0, "ppo.bad_updates", ppo.bad_updates, "it cannot be negative")
    at_least_one(ppo, "num_envs", "rollout", "minibatches", "epochs", under="ppo")
    samples = ppo.num_envs * ppo.rollout
    require(samples % ppo.minibatches == 0, "ppo.minibatches", ppo.minibatches, f"it must divide the {samples} samples")
    _validate_schedule(config)
    icm = config.icm
    at_least_one(icm, "size", "layers", "channels", "units", under="icm")
    require(0 <= icm.forward_share <= 1, "icm.forward_share", icm.forward_share, "it is a share, 0 to 1")


def _validate_schedule(config: CuriosityRunConfig) -> None:
    ppo, planned = config.ppo, config.schedule_steps or config.steps
    require(config.schedule_steps >= 0, "schedule_steps", config.schedule_steps, "it cannot be negative")
    require(ppo.budget_factor > 0, "ppo.budget_factor", ppo.budget_factor, "it must be above 0")
    if not ppo.decay:
        return
    option = "schedule_steps" if config.schedule_steps else "steps"
    batch = ppo.num_envs * ppo.rollout
    short = f"the rate decays over whole rollouts of {batch:,} steps; use more, or --ppo.no-decay"
    require(num_updates(ppo, planned) >= 1, option, planned, short)
    end = budget(ppo, planned)
    over = f"the learning rate is 0 after {end:,} steps; give --schedule-steps={config.steps} too, or --ppo.no-decay"
    require(config.steps <= end, "steps", config.steps, over)


def _validate_world(config: CuriosityRunConfig) -> None:
    maze, scenario = config.maze, config.scenario
    without = f"{scenario} is computed without a physics engine; leave the option out"
    require(scenario == ANT or config.physics == "auto", "physics", config.physics, without)
    felt = f"{scenario} has no discrete actions; use another method, such as ppo, or a maze"
    require(config.method != ICM or scenario != ANT, "method", config.method, felt)
    require(maze.size % 2 == 1 and maze.size >= 5, "maze.size", maze.size, "it must be odd, and at least 5")
    fixed = scenario not in FIXED_SIZE or maze.size == MazeConfig.size
    require(fixed, "maze.size", maze.size, f"{scenario} has a size of its own; leave it out")
    require(maze.height % 2 == 0 and maze.height >= 2, "maze.height", maze.height, "it must be even, and at least 2")
    require(maze.width >= 2, "maze.width", maze.width, "it must be at least 2")
    require(maze.episode_steps >= 0, "maze.episode_steps", maze.episode_steps, "it cannot be negative")
    shown = scenario != ANT or maze.television == "none"
    require(shown, "maze.television", maze.television, f"{ANT} has none; leave it out, or name a maze")
    waits = maze.television != "none" and maze.television_switches == "action"
    silent = waits and scenario == "norewardnofire"
    require(not silent, "maze.television_switches", "action", "norewardnofire has no action to switch it by; use step")


def _validate_curiosity(config: CuriosityRunConfig) -> None:
    reachability, method = config.reachability, config.method
    given, control = config.r_network, reachability.control
    curious = method in CURIOUS
    has_none = f"{method} has no R-network; use it with {BEFORE}"
    require(curious or control == "none", "reachability.control", control, f"{has_none} or {BESIDE}")
    require(curious or not reachability.parity, "reachability.parity", True, f"{has_none} or {BESIDE}")
    trains_its_own = f"{method} trains its own; leave it out, or use {BEFORE}"
    require(not given or curious, "r_network", given, has_none)
    require(not given or method == BEFORE, "r_network", given, trains_its_own)
    both = f"there is nothing to train with --r-network={given}; leave one of them out"
    require(not given or control == "none", "reachability.control", control, both)
    if not curious:
        return
    validate_reachability(reachability, config.ppo.num_envs, config.ppo.rollout, method == BESIDE)
    pairs = reachability.online.pairs if method == BESIDE else reachability.offline.pairs
    steps = config.maze.episode_steps
    short = f"episodes must be longer than {pairs.gap + 1} steps, or no two frames are far apart"
    require(not steps or steps > pairs.gap + 1, "maze.episode_steps", steps, short)


def _validate_network(config: CuriosityRunConfig) -> None:
    maze, network = config.maze, config.network
    lengths = {len(network.channels), len(network.kernels), len(network.strides)}
    require(len(lengths) == 1, "network.kernels", network.kernels, "channels, kernels and strides need equal lengths")
    for option in ("channels", "kernels", "strides"):
        sizes = getattr(network, option)
        require(min(sizes, default=1) >= 1, f"network.{option}", sizes, "each must be at least 1")
    at_least_one(network, "units", under="network")
    height, width = maze.height, maze.width
    for kernel, stride in zip(network.kernels, network.strides, strict=True):
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    fits = f"a view of {maze.height} x {maze.width} is too small for these kernels and strides"
    require(min(height, width) >= 1, "network.kernels", network.kernels, fits)
