"""Hyper-parameters; defaults are the published ones (Savinov et al. 2019)."""

from typing import Literal

from flax import struct

from peg_jax.core.config import nested, static
from peg_jax.curiosity.reachability_config import ReachabilityConfig


@struct.dataclass
class NetworkConfig:
    """Policy and value network: the published CNN for pictures, two tanh MLPs for vectors."""

    channels: tuple[int, ...] = static((32, 64, 64))  # of the CNN's convolutions
    kernels: tuple[int, ...] = static((8, 4, 3))  # their edge, pixels
    strides: tuple[int, ...] = static((4, 2, 1))  # pixels
    units: int = static(512)  # of the CNN's dense layer
    mlp: tuple[int, ...] = static((64, 64))  # units of each layer of the MLPs


@struct.dataclass
class PPOConfig:
    """Proximal policy optimisation."""

    num_envs: int = static(12)  # parallel environments
    rollout: int = static(256)  # steps of each between two updates
    minibatches: int = static(4)  # per pass over a rollout
    epochs: int = static(4)  # passes over a rollout
    discount: float = 0.99  # gamma
    gae_lambda: float = 0.95  # of the advantages
    clip: float = 0.1  # of the ratio and of the value, at the start
    learning_rate: float = 2.5e-4  # Adam's, at the start
    decay: bool = static(True)  # let clip and learning rate fall to 0 over the budget, linearly
    budget_factor: float = static(1.1)  # the budget is this many times `--steps`, as published
    value_coefficient: float = 0.5  # of the value loss
    entropy: float = 1.0941138105771857e-3  # coefficient of the entropy bonus
    max_grad_norm: float = 0.5  # global
    adam_epsilon: float = 1e-5  # Adam's
    bad_updates: int = 10  # updates in a row not finite, after which a seed is left alone; 0: never


@struct.dataclass
class OracleConfig:
    """The grid oracle: a bonus for every cell of a grid that is entered for the first time in the episode."""

    cell: float = static(30.0)  # edge, in the units of the environment's positions
    norm: float = 900.0  # a new cell pays cell^2 / norm
    rounding: Literal["truncate", "floor"] = static("truncate")  # toward zero as published, or down


@struct.dataclass
class RewardConfig:
    """What the policy maximises: `task * task reward + bonus * bonus`."""

    task: float = 1.0  # weight of the task's reward
    bonus: float = 0.0  # weight of the method's bonus


@struct.dataclass
class ICMConfig:
    """Intrinsic curiosity, of the method `ppo_plus_icm` (Pathak et al. 2017)."""

    eta: float = 0.55  # the bonus is this many times the forward error, clipped to [-1, 1]
    forward_share: float = 0.96  # of the forward error in the module's loss; the rest is the inverse model's
    scale: float = 10.0  # of the module's loss
    learning_rate: float = 2.5e-4  # Adam's; the module passes over a rollout as often as PPO does
    size: int = static(42)  # edge to which pictures are reduced, pixels
    layers: int = static(4)  # convolutions, each of which halves the edge
    channels: int = static(32)  # of each
    units: int = static(256)  # hidden ones of the forward and the inverse model


@struct.dataclass
class CuriosityConfig:
    """The whole algorithm."""

    network: NetworkConfig = nested(NetworkConfig)
    ppo: PPOConfig = nested(PPOConfig)
    reward: RewardConfig = nested(RewardConfig)
    oracle: OracleConfig = nested(OracleConfig)
    reachability: ReachabilityConfig = nested(ReachabilityConfig)
    icm: ICMConfig = nested(ICMConfig)
