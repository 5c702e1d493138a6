"""Options of the reachability network, the episodic memory and the bonus. Defaults are the published values.

Source: Savinov et al. 2019. Static fields shape the compiled program; plain floats enter as values.
"""

from typing import Any, Literal

from flax import struct

from peg_jax.core.config import nested, static
from peg_jax.core.optim import OptimizerConfig

Replacement = Literal["random", "fifo"]
Aggregation = Literal["percentile", "nth_largest", "max", "relative_count"]
PairMode = Literal["v1", "v2", "v3", "v4"]
Control = Literal["none", "untrained", "shuffled_labels"]


@struct.dataclass
class RNetworkConfig:
    """Siamese encoder and comparator; the defaults are the published ResNet-18."""

    encoder: Literal["residual", "plain"] = static("residual")  # plain: three strided convolutions, many times as fast
    widths: tuple[int, ...] = static((64, 128, 256, 512))  # channels; of residual stages, all but the first halve
    blocks: int = static(2)  # residual blocks per stage
    embedding: int = static(512)  # size of an embedding
    units: int = static(512)  # width of the comparator
    layers: int = static(4)  # hidden layers of the comparator
    compares: Literal["both", "difference"] = static("both")  # what it is given: both embeddings, or their difference
    momentum: float = static(0.99)  # share that a batch norm's running statistics keep at an update
    l2: float = 1e-4  # weight of the squared convolution kernels in the loss
    dtype: Literal["float32", "bfloat16"] = static("float32")  # compute type; statistics and losses are float32


@struct.dataclass
class PairConfig:
    """Which frames are paired."""

    mode: PairMode = static("v1")  # how anchors advance: v1 offline, v2 online, v3 historical, v4 no stride
    within: int = static(5)  # k: agent steps within which two frames are reachable from each other
    negative_factor: int = static(5)  # frames of a negative pair are more than this many k apart
    rate: float = static(0.25)  # v4 only: pairs per frame, half of them positive; at most 1

    @property
    def gap(self) -> int:
        """Frames of a negative pair are more than this many steps apart."""
        return self.within * self.negative_factor


def _offline_optimizer() -> OptimizerConfig:
    return OptimizerConfig(learning_rate=1e-4, epsilon=1e-8, clip=float("inf"), weight_decay=0.0)


def _online_optimizer() -> OptimizerConfig:
    return OptimizerConfig(learning_rate=1e-3, epsilon=1e-7, clip=float("inf"), weight_decay=0.0)


def _online_pairs() -> PairConfig:
    return PairConfig(mode="v2")


@struct.dataclass
class OfflineConfig:
    """Training on random behaviour before there is a policy: EC."""

    pairs: PairConfig = nested(PairConfig)
    steps: int = static(2_500_000)  # agent steps of random behaviour to learn from
    validation_steps: int = static(2_500_000)  # and in other mazes, to measure on
    epochs: int = static(2_000)  # of `updates` each; pairs are drawn afresh for each
    updates: int = static(100)  # gradient steps per epoch
    batch: int = static(64)  # pairs per gradient step
    optimizer: OptimizerConfig = struct.field(default_factory=_offline_optimizer)


@struct.dataclass
class OnlineConfig:
    """Training on what the policy has seen: ECO.

    Its rate of 1e-3 is ten times the offline one, as published: part of what ECO gains over EC may be this.
    """

    pairs: PairConfig = struct.field(default_factory=_online_pairs)
    history: int = static(720_000)  # agent steps kept
    interval: int = static(720_000)  # agent steps between two rounds of training; no bonus before the first
    passes: int = static(10)  # over the training share of the pairs, per round
    held_out: float = static(0.05)  # share of the pairs that a round is measured on
    batch: int = static(64)  # pairs per gradient step
    optimizer: OptimizerConfig = struct.field(default_factory=_online_optimizer)


@struct.dataclass
class MemoryConfig:
    """Episodic memory."""

    capacity: int = static(200)  # entries per environment
    replacement: Replacement = static("random")  # what makes way when the memory is full
    aggregation: Aggregation = static("percentile")  # how the similarities to all entries become one number
    percentile: float = 90.0  # for `percentile`
    nth: int = static(10)  # for `nth_largest`


@struct.dataclass
class BonusConfig:
    """What a step is worth, before `reward.bonus` weighs it."""

    offset: float = 0.0  # added to the bonus `0.5 - similarity`
    threshold: float = 0.5  # an observation is remembered if its similarity to the memory lies below this


@struct.dataclass
class ReachabilityConfig:
    """All of it."""

    network: RNetworkConfig = nested(RNetworkConfig)
    offline: OfflineConfig = nested(OfflineConfig)
    online: OnlineConfig = nested(OnlineConfig)
    memory: MemoryConfig = nested(MemoryConfig)
    bonus: BonusConfig = nested(BonusConfig)
    control: Control = static("none")  # for evidence: a network that learns nothing, or from labels that say nothing
    parity: bool = static(False)  # bring back the original's bugs that change results; named in `reachability`


FAST: dict[str, Any] = {
    "network.encoder": "plain",
    "network.widths": (16, 32, 32),
    "network.compares": "difference",
    "network.embedding": 64,
    "network.units": 64,
    "network.layers": 2,
    "network.momentum": 0.98,
    "offline.steps": 196_608,
    "offline.validation_steps": 32_768,
    "offline.epochs": 40,
    "offline.batch": 256,
    "offline.optimizer.learning_rate": 2e-3,  # the published 1e-4 is laid out for 200,000 updates
    "online.history": 65_536,
    "online.interval": 65_536,
    "online.passes": 2,
}
"""What `fast` changes in a `ReachabilityConfig`, by dotted name. As published, there are some 30 rounds in a run."""

SMOKE: dict[str, Any] = {
    **FAST,
    "network.widths": (8, 8, 8),
    "network.embedding": 16,
    "network.units": 16,
    "memory.capacity": 16,
    "offline.steps": 512,
    "offline.validation_steps": 256,
    "offline.epochs": 2,
    "offline.updates": 4,
    "offline.batch": 16,
    "online.history": 512,
    "online.interval": 256,
    "online.passes": 1,
    "online.batch": 16,
}
"""What `smoke` changes."""
