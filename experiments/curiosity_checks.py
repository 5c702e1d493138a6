"""Options of the reachability network that cannot work."""

from experiments.options import at_least_one
from peg_jax.core.config import require
from peg_jax.curiosity.r_network import PLAIN_KERNELS
from peg_jax.curiosity.reachability_config import OfflineConfig, OnlineConfig, PairConfig, ReachabilityConfig


def validate_reachability(config: ReachabilityConfig, num_envs: int, rollout: int, online: bool) -> None:
    """Refuse options of EC, or of ECO if `online`, that cannot work.

    Raises:
        ConfigError: names the option, its value and what would work.
    """
    _validate_network(config)
    memory = config.memory
    at_least_one(memory, "capacity", "nth", under="reachability.memory")
    _between("reachability.memory.percentile", float(memory.percentile), 0.0, 100.0)
    if online:
        _validate_online(config.online, num_envs, rollout)
    else:
        _validate_offline(config.offline, num_envs)


def _validate_network(config: ReachabilityConfig) -> None:
    network = config.network
    widths = network.widths
    require(bool(widths) and min(widths) >= 1, "reachability.network.widths", widths, "name at least one, all above 0")
    plain = network.encoder == "plain" and len(widths) != len(PLAIN_KERNELS)
    require(not plain, "reachability.network.widths", widths, f"a plain encoder has {len(PLAIN_KERNELS)} of them")
    at_least_one(network, "blocks", "embedding", "units", "layers", under="reachability.network")
    _between("reachability.network.momentum", network.momentum, 0.0, 1.0)


def _validate_online(config: OnlineConfig, num_envs: int, rollout: int) -> None:
    name = "reachability.online"
    at_least_one(config, "interval", "passes", under=name)
    fits = f"it must hold a rollout, {num_envs} x {rollout} = {num_envs * rollout} steps"
    require(config.history >= num_envs * rollout, f"{name}.history", config.history, fits)
    require(0.0 <= config.held_out < 1.0, f"{name}.held_out", config.held_out, "it must lie from 0 to below 1")
    require(config.batch >= 2, f"{name}.batch", config.batch, "a batch norm needs at least 2 pairs")
    _validate_pairs(f"{name}.pairs", config.pairs)
    _long_enough(f"{name}.history", config.history, num_envs, config.pairs)


def _validate_offline(config: OfflineConfig, num_envs: int) -> None:
    name = "reachability.offline"
    _validate_pairs(f"{name}.pairs", config.pairs)
    at_least_one(config, "epochs", "updates", under=name)
    require(config.batch >= 2, f"{name}.batch", config.batch, "a batch norm needs at least 2 pairs")
    for option in ("steps", "validation_steps"):
        _long_enough(f"{name}.{option}", getattr(config, option), num_envs, config.pairs)


def _validate_pairs(name: str, config: PairConfig) -> None:
    at_least_one(config, "within", "negative_factor", under=name)
    require(0.0 < config.rate <= 1.0, f"{name}.rate", config.rate, "it must lie above 0 and at most at 1")


def _long_enough(option: str, value: int, num_envs: int, pairs: PairConfig) -> None:
    steps = num_envs * (pairs.gap + 2)
    remedy = f"{num_envs} environments need {steps} steps for frames more than {pairs.gap} apart"
    require(value >= steps, option, value, remedy)


def _between(option: str, value: float, low: float, high: float) -> None:
    require(low <= value <= high, option, value, f"it must lie between {low:g} and {high:g}")
