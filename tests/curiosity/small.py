"""A reachability network small enough to compile in a moment."""

from peg_jax.core.optim import OptimizerConfig
from peg_jax.curiosity.r_network import RNetwork
from peg_jax.curiosity.reachability_config import OnlineConfig, PairConfig, RNetworkConfig

FRAME = (8, 8, 3)
CONFIG = RNetworkConfig(widths=(8,), blocks=1, embedding=12, units=16, layers=2, momentum=0.95)
NET = RNetwork(CONFIG)


def online(num_envs: int, history: int, every: int, learning_rate: float = 1e-2) -> OnlineConfig:
    """Its training beside a policy: after `every` vector steps on the last `history` of each environment.

    By the usual epsilon rounding errors would move the biases before a batch norm, whose gradient is 0, at full speed.
    """
    return OnlineConfig(
        pairs=PairConfig(mode="v2", within=1, negative_factor=3),
        history=num_envs * history,
        interval=num_envs * every,
        passes=2,
        batch=4,
        optimizer=OptimizerConfig(learning_rate, epsilon=1e-3, clip=float("inf"), weight_decay=0.0),
    )
