"""Presets are data: `paper` is the published configuration, `fast` learns on a laptop, `smoke` runs in seconds.

Each is a table of dotted fields over the defaults of `RunConfig`, which are the values common to the published tasks.
"""

from typing import Any, TypeVar

from experiments.config import RunConfig, require_goals
from experiments.options import override
from peg_jax.core.config import ConfigError
from peg_jax.peg.methods import METHODS

Changes = dict[str, Any]
Config = TypeVar("Config", bound=RunConfig)

# Where the planner's first mean has the ant: standing at the start, nearly at rest; from the released code.
ANT_POSE = (
    *(0.0, 0.0, 0.8199, 0.9951, 0.0349, -0.0619, 0.0681, -0.0442, -0.0481, 0.0146, -0.0776, 0.0501, 0.0366, 0.0500),
    *(0.0103, -0.2276, 0.0802, -0.0882, 0.0777, 0.0337, 0.0228, -0.0224, -0.0378, -0.0656, 0.1357, 0.0693, -0.1712),
    *(-0.1121, 0.0177),
)

# What the three tasks with bodies have in common.
_BODIES: Changes = {
    "agent.achiever.entropy": 1e-5,
    "agent.explorer.entropy": 1e-5,
    "agent.distance.negative_factor": 0.1,
    "planner.kind": "mppi",
    "planner.final_steps": 10,
    "steps": 1_000_000,
    "eval_repeats": 10,
}

# What each task's published configuration says beyond the common values.
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
    "walker": {
        **_BODIES,
        "loop.prefill": 33,
        "loop.subgoal_threshold": 2.0,
        "planner.discount": 0.996,
        "planner.horizon": 75,
        "planner.temperature": 2.0,
        "planner.std_scale": 5.0,
        "log_every": 150,
        "eval_every": 9_900,
    },
    "ant_maze": {
        **_BODIES,
        "agent.imagination.discount": 0.996,
        "loop.prefill": 5,
        "loop.go_fraction": 0.3,
        "loop.subgoal_threshold": 2.0,
        "planner.discount": 0.996,
        "planner.horizon": 150,
        "planner.temperature": 2.0,
        "planner.init_mean": ANT_POSE,
        "planner.std_scale": 10.0,
        "log_every": 500,
        "eval_every": 20_000,
    },
    "block_stack": {
        **_BODIES,
        "loop.prefill": 25,
        "loop.subgoal_threshold": 1.0,
        "planner.horizon": 50,
        "planner.candidates": 2000,
        "planner.std_scale": 0.5,
        "replay.capacity": 10_000_000,
        "replay.shuffle": True,
        "steps": 1_100_000,
        "log_every": 150,
        "eval_every": 19_950,
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
    "agent.world_model.residual": True,
    "agent.world_model.updates": 4,
    "agent.world_model.averaged": True,
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
    "agent.reaching.acting": 8,
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
    "planner.kind": "cem",
    "planner.candidates": 100,
    "planner.discount": 0.97,
    "planner.seed_replay": 0.5,
    "planner.seed_mega": 0.5,
    "planner.evaluate_only": True,
    "agent.imagination.starts": 256,
    "agent.imagination.explorer_starts": 64,
    "replay.batch": 100,
    "replay.length": 8,
    "replay.oversample": 8,
    "loop.num_envs": 64,
    "loop.goal_update_every": 64,
    "loop.prefill": 64,
    "loop.train_every": 50,
    "loop.updates_per_burst": 15,
    "loop.random_explore": 0.5,
    "log_every": 32_000,
    "eval_every": 32_000,
    "eval_repeats": 5,
    "checkpoint_every": 32_000,
    "media_every": 64_000,
    "steps": 128_000,
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
    "optimization": 0,
}

PRESETS: dict[str, Changes] = {"paper": {}, "fast": FAST, "smoke": SMOKE}

_FAST_BODIES: Changes = {
    "agent.world_model.octaves": 0,
    "agent.imagination.discount": 0.99,
    "agent.reaching.most_steps": 150.0,
    "planner.discount": 0.99,
    "replay.batch": 64,
    "replay.length": 16,
    "log_every": 9_600,
    "eval_every": 48_000,
    "eval_repeats": 2,
    "checkpoint_every": 96_000,
    "media_every": 96_000,
    "loop.train_every": 25,
    "steps": 800_000,
}

_SMOKE_BODIES: Changes = {
    "log_every": 600,
    "eval_every": 1_200,
    "checkpoint_every": 1_200,
    "loop.train_every": 50,
    "steps": 1_800,
}

# What a task needs beside a preset made for Point Maze.
PRESETS_FOR: dict[tuple[str, str], Changes] = {
    ("fast", "point_maze"): {
        "agent.world_model.grounded": 2,
        "agent.world_model.stoch": 4,
        "loop.subgoal_threshold": 2.0,
    },
    ("fast", "walker"): {**_FAST_BODIES, "agent.world_model.sine_scale": 0.0},
    ("fast", "ant_maze"): {
        **_FAST_BODIES,
        "agent.reaching.most_steps": 300.0,
        "loop.num_envs": 32,
        "loop.goal_update_every": 32,
        "loop.prefill": 32,
        "loop.train_every": 50,
        "log_every": 16_000,
    },
    ("fast", "block_stack"): {**_FAST_BODIES, "agent.world_model.decoder_std": 0.05},
    ("smoke", "walker"): _SMOKE_BODIES,
    ("smoke", "ant_maze"): {**_SMOKE_BODIES, "log_every": 2_000, "eval_every": 2_000, "steps": 4_000},
    ("smoke", "block_stack"): _SMOKE_BODIES,
}


def preset(cls: type[Config], name: str, env: str, method: str = RunConfig.method) -> Config:
    """The defaults of a run: the task's published values, with the preset's and the method's changes on top.

    Raises:
        ConfigError: an unknown preset or method, or an environment without published values.
    """
    if name not in PRESETS:
        raise ConfigError(f"--preset={name} cannot work: known presets: {', '.join(PRESETS)}")
    require_goals(env)
    if env not in PAPER:
        raise ConfigError(f"--env={env} cannot work: known environments: {', '.join(PAPER)}")
    if method not in METHODS:
        raise ConfigError(f"--method={method} cannot work: known methods: {', '.join(METHODS)}")
    cadence = {f"loop.{field}": value for field, value in METHODS[method].cadence.items()}
    # Episodes that are the explorer's from the start would be random walks, and the method another one.
    own = {"loop.random_explore": 0.0} if METHODS[method].cadence.get("explorer_every") else {}
    changes = PAPER[env] | PRESETS[name] | PRESETS_FOR.get((name, env), {}) | cadence | own
    return override(cls(env=env, preset=name, method=method), changes)
