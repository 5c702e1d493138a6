"""Options that cannot work are refused by name, value and remedy, before anything is compiled."""

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from peg_jax.core.config import require
from peg_jax.peg.config import PEGConfig, PlannerConfig
from peg_jax.peg.goals import DENSITY_SAMPLES
from peg_jax.peg.planner import count_of

AT_LEAST_ONE = (
    "agent.world_model.deter",
    "agent.world_model.stoch",
    "agent.world_model.hidden",
    "agent.world_model.units",
    "agent.world_model.updates",
    "agent.world_model.encoder_layers",
    "agent.world_model.decoder_layers",
    "agent.distance.layers",
    "agent.distance.units",
    "agent.distance.positives",
    "agent.achiever.layers",
    "agent.achiever.units",
    "agent.achiever.slow_every",
    "agent.reaching.states",
    "agent.reaching.hold",
    "agent.explorer.layers",
    "agent.explorer.units",
    "agent.explorer.slow_every",
    "agent.disagreement.layers",
    "agent.disagreement.units",
    "planner.horizon",
    "planner.iterations",
    "planner.repeat_samples",
    "loop.num_envs",
    "loop.prefill",
    "loop.train_every",
    "loop.updates_per_burst",
    "replay.batch",
    "replay.oversample",
)
AT_LEAST_TWO = ("agent.disagreement.members", "agent.reaching.actions", "planner.candidates", "replay.length")
NOT_NEGATIVE = (
    "agent.world_model.classes",
    "agent.world_model.octaves",
    "agent.world_model.sine_scale",
    "agent.disagreement.sine_scale",
    "agent.achiever.sine_scale",
    "agent.reaching.reached_within",
    "agent.reaching.acting",
    "agent.distance.sine_scale",
    "planner.final_steps",
    "loop.pretrain",
    "loop.goal_update_every",
    "loop.bad_updates",
    "loop.two_policy_every",
    "loop.achiever_every",
    "loop.explorer_every",
    "agent.distance.negative_factor",
)
SHARES = (
    "agent.imagination.discount",
    "agent.achiever.return_lambda",
    "agent.achiever.slow_fraction",
    "agent.achiever.dynamics_share",
    "agent.explorer.return_lambda",
    "agent.explorer.slow_fraction",
    "agent.explorer.dynamics_share",
    "agent.imagination.hindsight",
    "agent.distance.expectile",
    "agent.reaching.expectile",
    "agent.reaching.predicted_goals",
    "agent.world_model.kl_balance",
    "agent.world_model.average_decay",
    "planner.discount",
    "planner.env_goal_chance",
    "loop.go_fraction",
    "loop.random_explore",
)
POSITIVE = (
    "agent.distance.expectile",
    "agent.reaching.expectile",
    "agent.reaching.temperature",
    "agent.reaching.most_steps",
    "agent.world_model.decoder_std",
    "agent.world_model.period",
    "agent.world_model.min_std",
    "agent.achiever.min_std",
    "agent.explorer.min_std",
    "planner.temperature",
    "planner.std_scale",
)
OPTIMIZERS = (
    "agent.world_model.optimizer",
    "agent.distance.optimizer",
    "agent.achiever.actor",
    "agent.achiever.critic",
    "agent.explorer.actor",
    "agent.explorer.critic",
    "agent.disagreement.optimizer",
)
PRODUCTS = ("agent.distance", "agent.disagreement", "agent.achiever")  # a `GoalMLP` where `sine_scale` is above 0


def validate(config: PEGConfig, episode_steps: int, goal_size: int) -> None:
    """Refuse combinations that cannot work, before anything is compiled.

    Args:
        config: the algorithm's options.
        episode_steps: steps of one episode of the environment.
        goal_size: dimensions of a goal, which is a whole observation.

    Raises:
        ConfigError: names the option, its value and what would work.
    """
    _validate_ranges(config)
    _validate_parts(config)
    _validate_grounded(config, goal_size)
    _validate_planner(config.planner, episode_steps, goal_size)
    agent, replay, loop = config.agent, config.replay, config.loop
    horizon = agent.imagination.horizon
    require(
        2 <= horizon <= episode_steps,
        "agent.imagination.horizon",
        horizon,
        f"it must lie between 2 and the episode's {episode_steps} steps",
    )
    require(
        replay.length <= episode_steps + 1,
        "replay.length",
        replay.length,
        f"an episode has {episode_steps + 1} records; use at most that many",
    )
    require(
        episode_steps % loop.train_every == 0,
        "loop.train-every",
        loop.train_every,
        f"it must divide the episode's {episode_steps} steps; for example {_divisor(episode_steps, loop.train_every)}",
    )
    require(
        replay.capacity >= loop.num_envs * episode_steps,
        "replay.capacity",
        replay.capacity,
        f"it must hold one episode of each environment, {loop.num_envs * episode_steps} steps",
    )
    starts = replay.batch * replay.length
    require(
        0 <= agent.imagination.starts <= starts,
        "agent.imagination.starts",
        agent.imagination.starts,
        f"a batch has {starts} states; use 0 (all) or at most that many",
    )
    starts = agent.imagination.starts or starts
    require(
        0 <= agent.imagination.explorer_starts <= starts,
        "agent.imagination.explorer_starts",
        agent.imagination.explorer_starts,
        f"an update has {starts} start states; use 0 (all) or at most that many",
    )


def _check(config: PEGConfig, fields: Sequence[str], holds: Callable[[Any], bool], remedy: str) -> None:
    """Require `holds` of each of the dotted fields."""
    for field in fields:
        value = attrgetter(field)(config)
        require(holds(value), field, value, remedy)


def _validate_ranges(config: PEGConfig) -> None:
    products = [f"{part}.layers" for part in PRODUCTS if attrgetter(part)(config).sine_scale > 0]
    rates = [f"{part}.{field}" for part in OPTIMIZERS for field in ("learning_rate", "epsilon", "clip")]
    decays = [f"{part}.decay" for part in OPTIMIZERS]
    _check(config, AT_LEAST_ONE, lambda value: value >= 1, "it must be at least 1")
    _check(config, (*AT_LEAST_TWO, *products), lambda value: value >= 2, "it must be at least 2")
    _check(config, (*NOT_NEGATIVE, *decays), lambda value: value >= 0, "it cannot be negative")
    _check(config, SHARES, lambda value: 0.0 <= value <= 1.0, "it must lie between 0 and 1")
    _check(config, (*POSITIVE, *rates), lambda value: value > 0.0, "it must be greater than 0")


def _validate_parts(config: PEGConfig) -> None:
    agent, loop = config.agent, config.loop
    kinds = loop.two_policy_every + loop.achiever_every + loop.explorer_every
    hint = "with --loop.achiever-every=0 and --loop.explorer-every=0 there is no episode to run; set one of them to 1"
    require(kinds > 0, "loop.two-policy-every", loop.two_policy_every, hint)
    scale = agent.explorer.sine_scale
    require(scale == 0, "agent.explorer.sine-scale", scale, "the explorer has no goal to multiply with; use 0")
    acting = agent.reaching.acting
    require(acting != 1, "agent.reaching.acting", acting, "compare at least 2 actions, or use 0, the actor's own")
    counts = agent.reaching.enabled
    hint = "actions are compared by the steps that --agent.reaching.enabled counts; switch it on, or use 0"
    require(not acting or counts, "agent.reaching.acting", acting, hint)
    gradient = agent.achiever.gradient
    hint = (
        "one that counts steps compares actions (auto) or follows dynamics; choose one, or --agent.reaching.no-enabled"
    )
    require(not counts or gradient in ("auto", "dynamics"), "agent.achiever.gradient", gradient, hint)
    shape = agent.imagination.reward_shape
    hint = "an achiever that counts steps is paid by no reward; use sum, or --agent.reaching.no-enabled"
    require(not counts or shape == "sum", "agent.imagination.reward-shape", shape, hint)
    classes = agent.world_model.classes
    require(classes != 1, "agent.world-model.classes", classes, "use 0 (Gaussian latents) or at least 2 classes")
    residual = agent.world_model.residual
    hint = "categories have no difference to predict; use Gaussian latents (--agent.world-model.classes=0)"
    require(not (residual and classes), "agent.world-model.residual", residual, hint)
    require(
        agent.distance.negative_factor == 0 or config.replay.batch >= 2,
        "replay.batch",
        config.replay.batch,
        "negative pairs need two different sequences; use at least 2",
    )


def _validate_grounded(config: PEGConfig, obs_size: int) -> None:
    model = config.agent.world_model
    hint = f"use 0, or the observation's {obs_size} entries"
    require(model.grounded in (0, obs_size), "agent.world-model.grounded", model.grounded, hint)
    hint = "observations are no categories; use Gaussian latents (--agent.world-model.classes=0)"
    require(not (model.grounded and model.classes), "agent.world-model.grounded", model.grounded, hint)


def _validate_planner(planner: PlannerConfig, episode_steps: int, goal_size: int) -> None:
    require(
        planner.horizon <= episode_steps,
        "planner.horizon",
        planner.horizon,
        f"the Go phase cannot outlast the episode; use at most {episode_steps}",
    )
    require(
        0.0 < planner.elite_ratio <= 1.0,
        "planner.elite-ratio",
        planner.elite_ratio,
        "it is a share of the candidates, greater than 0 and at most 1; for example 0.2",
    )
    require(
        count_of(planner.elite_ratio, planner) >= 1,
        "planner.elite-ratio",
        planner.elite_ratio,
        f"it leaves no elite among {planner.candidates} candidates; use at least {_least_share(planner.candidates):g}",
    )
    require(
        planner.final_steps <= planner.horizon,
        "planner.final-steps",
        planner.final_steps,
        f"at most the planner's horizon, {planner.horizon}",
    )
    require(
        len(planner.init_mean) in (0, goal_size),
        "planner.init-mean",
        planner.init_mean,
        f"give {goal_size} numbers, one per dimension of the goal, or none for the current observation",
    )
    seeded = planner.seed_replay + planner.seed_env_goals + planner.seed_mega
    for option in ("seed_replay", "seed_env_goals", "seed_mega"):
        share = getattr(planner, option)
        require(0.0 <= share <= 1.0, f"planner.{option}", share, "it must lie between 0 and 1")
        none = f"none of {planner.candidates} candidates; use 0, or at least {_least_share(planner.candidates):g}"
        require(share == 0.0 or count_of(share, planner) > 0, f"planner.{option}", share, none)
    require(seeded <= 1.0, "planner.seed-replay", planner.seed_replay, "the seed-* shares must not sum past 1")
    rarest = f"of {planner.candidates} candidates that is more than the {DENSITY_SAMPLES} records that it picks from"
    require(planner.seed_mega * planner.candidates <= DENSITY_SAMPLES, "planner.seed-mega", planner.seed_mega, rarest)
    draws = "of candidates that are only evaluated the elites are drawn; use cem, or --planner.no-evaluate-only"
    require(planner.kind == "cem" or not planner.evaluate_only, "planner.kind", planner.kind, draws)


def _least_share(count: int) -> float:
    """One of `count`, rounded up to what can be written."""
    return math.ceil(1e6 / count) / 1e6


def _divisor(total: int, near: int) -> int:
    return min((d for d in range(1, total + 1) if total % d == 0), key=lambda d: abs(d - near))
