"""Every option of the agent, the planner and the loop. Defaults are the published values (Hu et al. 2023).

Static fields shape the compiled program; plain floats enter it as values (see `peg_jax.core.config`).
"""

from typing import Literal

from flax import struct

from peg_jax.core.config import nested, static
from peg_jax.core.optim import OptimizerConfig


def _model_optimizer() -> OptimizerConfig:
    return OptimizerConfig(learning_rate=3e-4)


@struct.dataclass
class WorldModelConfig:
    """RSSM, encoder, decoder and embed head."""

    deter: int = static(200)  # size of the deterministic (GRU) state
    stoch: int = static(50)  # number of stochastic latents
    classes: int = static(0)  # classes of each latent; 0 means Gaussian latents
    hidden: int = static(200)  # width of the RSSM's own layers
    units: int = static(400)  # width of encoder, decoder and embed head; also the size of an embedding
    encoder_layers: int = static(3)  # ELU layers of the encoder
    decoder_layers: int = static(3)  # ELU layers of the decoder and of the embed head
    octaves: int = static(0)  # sine and cosine pairs per input of the encoder, each of half the period before
    period: float = 32.0  # longest of these periods, in units of the observation
    sine_scale: float = static(0.0)  # above 0: the RSSM's input layer is a `GoalMLP` of state and action
    grounded: int = static(0)  # length of the observation, to make it a part of the latent state; 0 decodes it instead
    residual: bool = static(False)  # the prior predicts the change of the stochastic state, not the state
    min_std: float = 0.1  # floor of the latents' standard deviation
    decoder_std: float = 1.0  # standard deviation of the decoder's Gaussian, in units of the observation
    kl_free: float = 1.0  # free nats, on the KL averaged over the batch
    kl_balance: float = 0.8  # weight of the prior's side of the KL
    kl_free_average: bool = static(True)  # apply the free nats to the average (False: to each element)
    kl_scale: float = 1.0  # weight of the KL in the loss
    updates: int = static(1)  # steps on as many batches per full update; the policies dream from the last one
    averaged: bool = static(False)  # act and dream with a moving average of the weights instead of the newest
    average_decay: float = 0.98  # share of it that stays with each full update, once there have been many
    optimizer: OptimizerConfig = struct.field(default_factory=_model_optimizer)


@struct.dataclass
class DistanceConfig:
    """Temporal distance between embeddings."""

    layers: int = static(4)  # ELU layers
    units: int = static(400)  # width
    sine_scale: float = static(0.0)  # above 0: a `GoalMLP` with sines of this frequency; 0: one plain network
    positives: int = static(256)  # pairs from one imagined rollout, per update
    negative_factor: float = static(0.0)  # pairs across replay sequences, as a share of the positives
    expectile: float = 0.5  # of the labels that the network learns: 0.5 their mean, less the shorter ones among them
    normalize_inputs: bool = static(False)  # divide each embedding by its own norm
    optimizer: OptimizerConfig = nested(OptimizerConfig)


@struct.dataclass
class ActorCriticConfig:
    """One imagination actor-critic; the achiever and the explorer have one each."""

    layers: int = static(4)  # ELU layers of actor and critic
    units: int = static(400)  # their width
    sine_scale: float = static(0.0)  # above 0: networks with a goal are a `GoalMLP` with sines of this frequency
    min_std: float = 0.1  # floor of the actor's standard deviation
    entropy: float = 1e-4  # weight of the policy's entropy
    return_lambda: float = 0.95  # mixing weight of the lambda-return
    gradient: Literal["auto", "dynamics", "reinforce", "both"] = static("auto")  # auto: reinforce for discrete actions
    dynamics_share: float = 0.1  # weight of the dynamics term when gradient is `both`; the reinforce term has the rest
    slow_every: int = static(100)  # updates between two steps of the slow critic
    slow_fraction: float = 1.0  # share of the critic taken over by the slow critic at each step
    actor: OptimizerConfig = nested(OptimizerConfig)
    critic: OptimizerConfig = nested(OptimizerConfig)


@struct.dataclass
class ReachingConfig:
    """An achiever that counts steps and compares actions; the published one adds distances and follows gradients.

    With `achiever.gradient=dynamics` it follows the gradient of the steps instead.
    """

    enabled: bool = static(False)  # train the achiever this way
    states: int = static(1024)  # dreamed states per update, at most all, at which actions are compared
    actions: int = static(16)  # actions compared at each, half of them the policy's own
    hold: int = static(1)  # imagined steps for which a compared action is kept
    acting: int = static(0)  # actions compared in the same way whenever it acts; 0: the actor's own is taken
    temperature: float = 0.3  # of the softmax over them, in standard deviations of a state's values
    expectile: float = 0.1  # of the steps between two states that the critic learns
    reached_within: float = 1.0  # estimated steps below which the goal counts as reached
    most_steps: float = 60.0  # ceiling of an estimate that others are built on
    predicted_goals: float = 0.5  # share of the goals embedded by the embed head instead of the encoder


@struct.dataclass
class DisagreementConfig:
    """Plan2Explore's ensemble of one-step predictors."""

    members: int = static(10)  # networks
    layers: int = static(4)  # ELU layers of each
    units: int = static(400)  # their width
    sine_scale: float = static(0.0)  # above 0: each is a `GoalMLP` of state and action with sines of this frequency
    log: bool = static(False)  # reward the logarithm of the disagreement
    scale: float = 1.0  # factor of the intrinsic reward
    condition: Literal["previous_action", "next_action"] = static("previous_action")  # as published, or textbook
    optimizer: OptimizerConfig = struct.field(default_factory=_model_optimizer)


@struct.dataclass
class ImaginationConfig:
    """Dreams that train both policies."""

    horizon: int = static(15)  # imagined steps
    starts: int = static(0)  # start states per update, drawn from the batch; 0 means all of them
    explorer_starts: int = static(0)  # how many of these the explorer dreams from; 0 means all of them
    sample: bool = static(True)  # sample the imagined latents (False: go on with the prior's mean)
    discount: float = 0.99  # gamma of both actor-critics, the explorer's too
    hindsight: float = 0.0  # share of the goals taken from later in the start state's own sequence
    goals: Literal["batch", "record"] = static("batch")  # other states of the batch, or the goal stored in the record
    reward_shape: Literal["sum", "sum_diff"] = static("sum")  # minus distance, or its decrease per step


@struct.dataclass
class AgentConfig:
    """Everything that learns."""

    world_model: WorldModelConfig = nested(WorldModelConfig)
    imagination: ImaginationConfig = nested(ImaginationConfig)
    distance: DistanceConfig = nested(DistanceConfig)
    achiever: ActorCriticConfig = nested(ActorCriticConfig)
    reaching: ReachingConfig = nested(ReachingConfig)
    explorer: ActorCriticConfig = nested(ActorCriticConfig)
    disagreement: DisagreementConfig = nested(DisagreementConfig)
    dtype: Literal["float32", "bfloat16"] = static("float32")  # compute type of the networks; losses are float32


@struct.dataclass
class PlannerConfig:
    """Search for the goal from which exploring pays most."""

    kind: Literal["cem", "mppi"] = static("mppi")  # how the goal distribution is refitted
    candidates: int = static(500)  # goals per iteration
    iterations: int = static(5)  # sample, score, refit
    horizon: int = static(50)  # imagined steps of the Go phase
    elite_ratio: float = static(0.2)  # share of the candidates that CEM keeps
    temperature: float = 10.0  # MPPI's gamma: weights are softmax(gamma * fitness)
    init_mean: tuple[float, ...] = static(())  # first mean; empty means the current observation
    std_scale: float = 1.0  # first standard deviation, in every dimension
    min_std: float = 0.0  # floor of a refitted standard deviation; the original has none
    clip_goals: bool = static(False)  # clip drawn goals to the bounds; the original does not
    discount: float = 0.99  # gamma of the goal's score (`p2e_discount`)
    use_value: bool = static(True)  # score by the explorer's lambda-returns; False: by the sum of its rewards
    final_steps: int = static(10)  # imagined steps whose returns count, from the end; 0 means all of them
    repeat_samples: int = static(1)  # imagined rollouts averaged per candidate
    seed_replay: float = static(0.0)  # share of the first candidates taken from replay; the original ignored them
    seed_env_goals: float = static(0.0)  # share of the first candidates taken from the environment's goals
    seed_mega: float = static(0.0)  # share of the first candidates taken from MEGA's choice, the rarest states
    evaluate_only: bool = static(False)  # score the first candidates once and draw the goal among the elites
    env_goal_chance: float = 0.0  # chance that an episode's goal is one of the environment's own


@struct.dataclass
class ReplayConfig:
    """What is stored and how it is cut."""

    capacity: int = static(2_000_000)  # environment steps kept
    batch: int = static(45)  # sequences per update
    length: int = static(50)  # records per sequence
    prioritize_ends: bool = static(False)  # draw sequences at the end of their episode more often
    shuffle: bool = static(False)  # exchange what is alike in the observations, such as blocks, in each sequence
    oversample: int = static(1)  # sequences drawn for each one kept, those with rare ends; 1 keeps all


@struct.dataclass
class LoopConfig:
    """The cadence of Algorithm 1 (Hu et al. 2023)."""

    num_envs: int = static(1)  # parallel environments, one episode each per cycle
    prefill: int = static(50)  # episodes of random actions before learning
    pretrain: int = static(101)  # updates before the first episode of the agent
    train_every: int = static(5)  # steps of each environment between two bursts of updates
    updates_per_burst: int = static(2)  # updates per burst; 2 as in the original, whose "recent" stream is uniform too
    goal_update_every: int = static(50)  # episodes between two plans; 0 plans once, at the start
    two_policy_every: int = static(1)  # rounds between episodes in which the achiever goes, then the explorer; 0: never
    achiever_every: int = static(0)  # rounds between episodes of the achiever alone; 0: never
    explorer_every: int = static(0)  # rounds between episodes of the explorer alone; 0: never
    go_fraction: float = static(0.5)  # longest Go phase, as a share of the episode; 1: until the goal is reached
    subgoal_threshold: float = 5.0  # the goal counts as reached below this many predicted steps; negative: never
    bad_updates: int = 100  # updates in a row not finite, after which a seed is left alone; 0: never
    random_explore: float = 0.0  # share of the episodes that explore with uniformly random actions


@struct.dataclass
class PEGConfig:
    """The whole algorithm."""

    agent: AgentConfig = nested(AgentConfig)
    planner: PlannerConfig = nested(PlannerConfig)
    replay: ReplayConfig = nested(ReplayConfig)
    loop: LoopConfig = nested(LoopConfig)
