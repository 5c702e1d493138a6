"""Presets of Episodic Curiosity: what they change in the published values, by dotted name."""

from typing import Any

from peg_jax.curiosity import reachability_config

Changes = dict[str, Any]


def _reachability(changes: Changes) -> Changes:
    return {f"reachability.{name}": value for name, value in changes.items()}


FAST: Changes = {
    "maze.height": 42,
    "maze.width": 42,
    "network.channels": (16, 32),
    "network.kernels": (8, 4),
    "network.strides": (4, 2),
    "network.units": 128,
    "icm.size": 21,  # as published its convolutions cost ten times what this PPO does
    "icm.layers": 3,
    "icm.channels": 16,
    "icm.forward_share": 0.2,  # as in the trainer; with the visualiser's 0.96 features shrink until nothing is paid
    "ppo.num_envs": 16,
    "ppo.rollout": 128,
    "ppo.minibatches": 8,
    "ppo.clip": 0.2,
    "ppo.learning_rate": 1e-3,
    "steps": 2_000_000,
    "log_every": 32_768,
    "eval_every": 262_144,
    "checkpoint_every": 262_144,
    "media_every": 1_000_000,
    **_reachability(reachability_config.FAST),
}

# Another experiment than the published one: 85 times the environments, so 85 times fewer updates per step.
WIDE: Changes = {
    "ppo.num_envs": 1024,
    "ppo.rollout": 64,
    "ppo.minibatches": 16,
    "log_every": 655_360,
    "eval_every": 1_310_720,
    "checkpoint_every": 1_310_720,
}

SMOKE: Changes = {
    **{name: value for name, value in FAST.items() if name.split(".")[0] in ("maze", "network", "icm")},
    "maze.size": 9,
    "maze.episode_steps": 40,
    "ppo.num_envs": 4,
    "ppo.rollout": 32,
    "ppo.epochs": 2,
    "ppo.minibatches": 2,
    "steps": 1_024,
    "log_every": 256,
    "eval_every": 512,
    "eval_envs": 2,
    "checkpoint_every": 512,
    "media_every": 1_000_000,
    "optimization": 0,
    **_reachability(reachability_config.SMOKE),
}

# What a preset changes where nothing is paid. A bonus alone is learned from large batches, and freezes a policy that
# learns from small ones; rewards are learned in fewer steps by small ones.
UNPAID: dict[str, Changes] = {"fast": {"ppo.num_envs": 64}}

PRESETS: dict[str, Changes] = {"paper": {}, "fast": FAST, "wide": WIDE, "smoke": SMOKE}

# The ant's PPO, as published, for every method; its view is of its camera's shape.
ANT_NUMBERS: Changes = {
    "oracle.cell": 5.0,
    "oracle.norm": 25.0,
    "ppo.epochs": 10,
    "ppo.clip": 0.2,
    "ppo.decay": False,
    "ppo.learning_rate": 3e-4,
    "ppo.entropy": 8e-6,
}
# Its rate and entropy with a reachability network.
ANT_CURIOUS: Changes = {"ppo.learning_rate": 7.49894209332e-5, "ppo.entropy": 2.23872113857e-5}
_LARGE_VIEW, _SMALL_VIEW = {"maze.height": 120, "maze.width": 160}, {"maze.width": 56}
ANT_VIEWS: dict[str, Changes] = {
    "paper": _LARGE_VIEW,
    "fast": _SMALL_VIEW,
    "wide": _LARGE_VIEW,
    "smoke": _SMALL_VIEW,
}
