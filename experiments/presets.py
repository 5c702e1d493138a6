"""Presets are data: `paper` is the published configuration, `fast` learns on a laptop, `smoke` runs in seconds.

Each is a table of dotted fields over the defaults of `RunConfig`, which are the values common to the published tasks.
"""

from typing import Any, TypeVar

from experiments.config import RunConfig, override
from peg_jax.core.config import ConfigError
from peg_jax.peg.methods import METHODS

Changes = dict[str, Any]
Config = TypeVar("Config", bound=RunConfig)

# What each task's published configuration says beyond the common values (peg.md section 9.2).
PAPER: dict[str, Changes] = {
    "point_maze": {
        "steps": 1_000_000,
        "planner.kind": "cem",
        "planner.horizon": 25,
        "planner.final_steps": 0,
        "planner.init_mean": (0.0, 0.0),
        "planner.std_scale": 4.0,
        "log_every": 50,
    },
}

_NETWORKS = ("agent.distance", "agent.achiever", "agent.explorer", "agent.disagreement")


def _sizes(units: int, layers: int) -> Changes:
    widths = {f"{part}.units": units for part in (*_NETWORKS, "agent.world_model")}
    return widths | {f"{part}.layers": layers for part in _NETWORKS}


FAST: Changes = {
    **_sizes(units=128, layers=2),
    "agent.world_model.deter": 128,
    "agent.world_model.stoch": 32,
    "agent.world_model.hidden": 128,
    "agent.world_model.encoder_layers": 2,
    "agent.world_model.decoder_layers": 2,
    "agent.disagreement.members": 5,
    "agent.world_model.octaves": 6,
    "agent.world_model.decoder_std": 0.1,
    "agent.world_model.min_std": 0.03,
    "agent.world_model.sine_scale": 6.0,
    "agent.world_model.updates": 4,
    "agent.world_model.optimizer.learning_rate": 3e-3,
    "agent.world_model.optimizer.decay": 1e-3,
    "agent.distance.optimizer.learning_rate": 3e-3,
    "agent.distance.optimizer.decay": 1e-3,
    "agent.distance.expectile": 0.1,
    "agent.distance.negative_factor": 0.5,
    "agent.distance.sine_scale": 6.0,
    "agent.achiever.sine_scale": 6.0,
    "agent.disagreement.optimizer.learning_rate": 1e-3,
    "agent.disagreement.sine_scale": 6.0,
    "agent.disagreement.scale": 10.0,
    "agent.imagination.sample": False,
    "agent.imagination.discount": 0.97,
    "agent.imagination.hindsight": 0.3,
    "agent.reaching.enabled": True,
    "agent.achiever.actor.learning_rate": 3e-3,
    "agent.achiever.actor.decay": 1e-3,
    "agent.achiever.critic.learning_rate": 3e-3,
    "agent.achiever.critic.decay": 1e-3,
    "agent.achiever.entropy": 1e-2,
    "agent.achiever.slow_every": 1,
    "agent.achiever.slow_fraction": 0.1,
    "agent.explorer.actor.learning_rate": 3e-4,
    "agent.explorer.critic.learning_rate": 3e-3,
    "agent.explorer.entropy": 1e-2,
    "agent.explorer.return_lambda": 0.6,
    "agent.explorer.slow_every": 1,
    "agent.explorer.slow_fraction": 0.05,
    "planner.discount": 0.97,
    "planner.seed_replay": 0.5,
    "planner.seed_mega": 0.5,
    "planner.evaluate_only": True,
    "planner.elite_ratio": 0.5,
    "agent.imagination.starts": 256,
    "replay.batch": 100,
    "replay.length": 8,
    "replay.oversample": 8,
    "loop.num_envs": 128,
    "loop.goal_update_every": 128,
    "loop.prefill": 128,
    "loop.train_every": 50,
    "loop.updates_per_burst": 15,
    "log_every": 64_000,
    "eval_every": 64_000,
    "eval_repeats": 5,
    "checkpoint_every": 128_000,
    "steps": 430_000,
}

# The published parts at toy size: those of `fast` that replace them take twice as long to compile.
SMOKE: Changes = {
    **_sizes(units=32, layers=1),
    "agent.world_model.deter": 32,
    "agent.world_model.stoch": 8,
    "agent.world_model.hidden": 32,
    "agent.world_model.encoder_layers": 1,
    "agent.world_model.decoder_layers": 1,
    "agent.disagreement.members": 3,
    "agent.imagination.starts": 64,
    "planner.candidates": 50,
    "replay.batch": 8,
    "replay.length": 8,
    "replay.capacity": 20_000,
    "loop.num_envs": 4,
    "loop.goal_update_every": 4,
    "loop.prefill": 4,
    "loop.pretrain": 5,
    "loop.train_every": 25,
    "log_every": 200,
    "eval_every": 400,
    "eval_repeats": 1,
    "checkpoint_every": 400,
    "steps": 1_000,
    "optimization": 1,
}

PRESETS: dict[str, Changes] = {"paper": {}, "fast": FAST, "smoke": SMOKE}


def preset(cls: type[Config], name: str, env: str, method: str = RunConfig.method) -> Config:
    """The defaults of a run: the task's published values, with the preset's and the method's changes on top.

    Raises:
        ConfigError: an unknown preset or method, or an environment without published values.
    """
    if name not in PRESETS:
        raise ConfigError(f"--preset={name} cannot work: known presets: {', '.join(PRESETS)}")
    if env not in PAPER:
        raise ConfigError(f"--env={env} cannot work: known environments: {', '.join(PAPER)}")
    if method not in METHODS:
        raise ConfigError(f"--method={method} cannot work: known methods: {', '.join(METHODS)}")
    cadence = {f"loop.{field}": value for field, value in METHODS[method].cadence.items()}
    return override(cls(env=env, preset=name, method=method), PAPER[env] | PRESETS[name] | cadence)
