"""A reachability network small enough to compile in a moment."""

from peg_jax.curiosity.r_network import RNetwork
from peg_jax.curiosity.reachability_config import RNetworkConfig

FRAME = (8, 8, 3)
CONFIG = RNetworkConfig(widths=(8,), blocks=1, embedding=12, units=16, layers=2, momentum=0.95)
NET = RNetwork(CONFIG)
