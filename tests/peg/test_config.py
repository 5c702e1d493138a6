"""Options that cannot work are refused by name, value and remedy, before anything is compiled."""

from typing import Any

import jax
import pytest

from peg_jax.core.config import ConfigError
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.validation import validate
from tests.peg import tiny

STEPS, GOAL_SIZE = 6, 2

BAD: list[tuple[str, Any, str, str]] = [  # field, value, option as typed, words of the remedy
    ("agent.world_model.deter", 0, "agent.world-model.deter", "at least 1"),
    ("agent.world_model.classes", 1, "agent.world-model.classes", "0 (Gaussian latents) or at least 2"),
    ("agent.world_model.classes", -2, "agent.world-model.classes", "negative"),
    ("agent.world_model.min_std", 0.0, "agent.world-model.min-std", "greater than 0"),
    ("agent.world_model.average_decay", 1.5, "agent.world-model.average-decay", "between 0 and 1"),
    ("agent.world_model.kl_balance", 1.5, "agent.world-model.kl-balance", "between 0 and 1"),
    ("agent.achiever.actor.decay", -1e-3, "agent.achiever.actor.decay", "negative"),
    ("agent.world_model.optimizer.learning_rate", -1e-4, "agent.world-model.optimizer.learning-rate", "greater than 0"),
    ("agent.world_model.optimizer.learning_rate", float("nan"), "agent.world-model.optimizer.learning-rate", "than 0"),
    ("agent.distance.positives", 0, "agent.distance.positives", "at least 1"),
    ("agent.distance.negative_factor", -0.1, "agent.distance.negative-factor", "negative"),
    ("agent.achiever.return_lambda", 1.1, "agent.achiever.return-lambda", "between 0 and 1"),
    ("agent.achiever.slow_every", 0, "agent.achiever.slow-every", "at least 1"),
    ("agent.achiever.sine_scale", -1.0, "agent.achiever.sine-scale", "negative"),
    ("agent.distance.sine_scale", -1.0, "agent.distance.sine-scale", "negative"),
    ("agent.world_model.sine_scale", -1.0, "agent.world-model.sine-scale", "negative"),
    ("agent.disagreement.sine_scale", -1.0, "agent.disagreement.sine-scale", "negative"),
    ("agent.reaching.states", 0, "agent.reaching.states", "at least 1"),
    ("agent.reaching.acting", 1, "agent.reaching.acting", "at least 2 actions"),
    ("agent.reaching.acting", -8, "agent.reaching.acting", "negative"),
    ("agent.reaching.acting", 8, "agent.reaching.acting", "--agent.reaching.enabled"),
    ("agent.reaching.actions", 1, "agent.reaching.actions", "at least 2"),
    ("agent.reaching.temperature", 0.0, "agent.reaching.temperature", "greater than 0"),
    ("agent.reaching.expectile", 1.5, "agent.reaching.expectile", "between 0 and 1"),
    ("agent.reaching.predicted_goals", -0.1, "agent.reaching.predicted-goals", "between 0 and 1"),
    ("agent.reaching.reached_within", -1.0, "agent.reaching.reached-within", "negative"),
    ("agent.reaching.most_steps", 0.0, "agent.reaching.most-steps", "greater than 0"),
    ("agent.explorer.sine_scale", 6.0, "agent.explorer.sine-scale", "use 0"),
    ("agent.explorer.critic.clip", 0.0, "agent.explorer.critic.clip", "greater than 0"),
    ("agent.disagreement.members", 1, "agent.disagreement.members", "at least 2"),
    ("agent.imagination.discount", -0.1, "agent.imagination.discount", "between 0 and 1"),
    ("agent.imagination.horizon", 1, "agent.imagination.horizon", "between 2 and the episode's 6 steps"),
    ("agent.imagination.horizon", 7, "agent.imagination.horizon", "between 2 and the episode's 6 steps"),
    ("agent.imagination.starts", 13, "agent.imagination.starts", "a batch has 12 states"),
    ("agent.imagination.explorer_starts", 13, "agent.imagination.explorer-starts", "an update has 12 start states"),
    ("planner.candidates", 1, "planner.candidates", "at least 2"),
    ("planner.horizon", 7, "planner.horizon", "at most 6"),
    ("planner.final_steps", 5, "planner.final-steps", "at most the planner's horizon, 4"),
    ("planner.elite_ratio", 0.0, "planner.elite-ratio", "greater than 0"),
    ("planner.elite_ratio", 0.05, "planner.elite-ratio", "use at least 0.1"),
    ("planner.init_mean", (1.0, 2.0, 3.0), "planner.init-mean", "give 2 numbers"),
    ("planner.temperature", 0.0, "planner.temperature", "greater than 0"),
    ("planner.env_goal_chance", 2.0, "planner.env-goal-chance", "between 0 and 1"),
    ("planner.seed_replay", -0.5, "planner.seed-replay", "between 0 and 1"),
    ("planner.seed_mega", 0.05, "planner.seed-mega", "none of 10 candidates; use 0, or at least 0.1"),
    ("loop.two_policy_every", 0, "loop.two-policy-every", "there is no episode to run"),
    ("replay.length", 8, "replay.length", "an episode has 7 records"),
    ("replay.length", 1, "replay.length", "at least 2"),
    ("replay.batch", 1, "replay.batch", "two different sequences"),
    ("replay.capacity", 11, "replay.capacity", "12 steps"),
    ("loop.train_every", 4, "loop.train-every", "it must divide the episode's 6 steps; for example 3"),
    ("loop.train_every", 0, "loop.train-every", "at least 1"),
    ("loop.num_envs", 0, "loop.num-envs", "at least 1"),
    ("loop.go_fraction", 1.5, "loop.go-fraction", "between 0 and 1"),
]


@pytest.mark.parametrize(("field", "value", "option", "remedy"), BAD, ids=[f"{f}={v}" for f, v, _, _ in BAD])
def test_refused(field: str, value: Any, option: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(tiny.replace(tiny.config(), field, value), STEPS, GOAL_SIZE)
    message = str(error.value)
    shown = f"{value:g}" if isinstance(value, float) else value
    assert message.startswith(f"--{option}={shown} ")
    assert remedy in message


def test_seed_shares_must_not_sum_past_one() -> None:
    config = tiny.replace(tiny.replace(tiny.config(), "planner.seed_replay", 0.7), "planner.seed_mega", 0.4)
    with pytest.raises(ConfigError, match=r"--planner\.seed-replay=0\.7 .* must not sum past 1"):
        validate(config, STEPS, GOAL_SIZE)


def test_categories_have_no_difference_to_predict() -> None:
    config = tiny.replace(tiny.config(), "agent.world_model.residual", True)
    config = tiny.replace(config, "agent.world_model.classes", 2)
    with pytest.raises(ConfigError, match=r"--agent\.world-model\.residual=True .*--agent\.world-model\.classes=0"):
        validate(config, STEPS, GOAL_SIZE)


WHOLE = f"use 0, or .* {GOAL_SIZE} entries"


@pytest.mark.parametrize(("grounded", "classes", "remedy"), [(GOAL_SIZE + 1, 0, WHOLE), (GOAL_SIZE, 2, "classes=0")])
def test_all_of_an_observation_is_grounded_or_nothing_and_no_category(grounded: int, classes: int, remedy: str) -> None:
    config = tiny.replace(tiny.config(), "agent.world_model.grounded", grounded)
    config = tiny.replace(config, "agent.world_model.classes", classes)
    with pytest.raises(ConfigError, match=rf"--agent\.world-model\.grounded={grounded} .*{remedy}"):
        validate(config, STEPS, GOAL_SIZE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent.imagination.horizon", 6),
        ("agent.imagination.starts", 12),
        ("agent.imagination.explorer_starts", 12),
        ("planner.horizon", 6),
        ("planner.final_steps", 4),
        ("planner.elite_ratio", 0.1),
        ("planner.init_mean", ()),
        ("replay.length", 7),
        ("replay.capacity", 12),
        ("loop.train_every", 6),
        ("loop.goal_update_every", 0),
    ],
)
def test_the_last_value_that_works_is_accepted(field: str, value: Any) -> None:
    validate(tiny.replace(tiny.config(), field, value), STEPS, GOAL_SIZE)


@pytest.mark.parametrize(("steps", "size"), [(50, 2), (150, 9), (500, 29), (150, 14)])
def test_the_defaults_suit_all_four_tasks(steps: int, size: int) -> None:
    validate(PEGConfig(), steps, size)


def test_numbers_are_leaves_and_sizes_are_not() -> None:
    base = jax.tree.structure(PEGConfig())
    for field, value in [("agent.achiever.actor.learning_rate", 1e-3), ("planner.discount", 0.9)]:
        assert jax.tree.structure(tiny.replace(PEGConfig(), field, value)) == base
    for field, value in [("agent.world_model.deter", 100), ("planner.kind", "cem"), ("loop.num_envs", 4)]:
        assert jax.tree.structure(tiny.replace(PEGConfig(), field, value)) != base


@pytest.mark.parametrize("candidates", [3, 7, 300])
def test_the_least_share_of_elites_that_is_named_works(candidates: int) -> None:
    config = tiny.replace(tiny.config(), "planner.candidates", candidates)
    with pytest.raises(ConfigError) as error:
        validate(tiny.replace(config, "planner.elite_ratio", 1e-6), STEPS, GOAL_SIZE)
    validate(tiny.replace(config, "planner.elite_ratio", float(str(error.value).split()[-1])), STEPS, GOAL_SIZE)
