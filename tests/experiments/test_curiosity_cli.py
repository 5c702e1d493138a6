"""Episodic Curiosity's command line: mistakes, presets, and what a resume may change."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from experiments.curiosity_config import PRESETS, SCENARIOS, CuriosityRunConfig, parse_curious, preset, validate
from experiments.curiosity_trainer import RewardTable
from peg_jax.core.config import ConfigError
from peg_jax.curiosity.methods import METHODS
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import DiskError


def parse(*arguments: str) -> tuple[CuriosityRunConfig, bool]:
    return parse_curious(arguments)


MISTAKES = [
    (["--scenario=dense"], ["--scenario=dense", "dense1"]),
    (["--method=icm"], ["--method=icm", "ppo_plus_grid_oracle"]),
    (["--method=ppo_plus_icm", "--scenario=ant_no_reward"], ["--method=ppo_plus_icm", "discrete"]),
    (["--scenario=ant_no_reward", "--maze.size=9"], ["--maze.size=9", "ant_no_reward"]),
    (["--scenario=ant_no_reward", "--maze.television=noise"], ["--maze.television=noise", "ant_no_reward"]),
    (["--physics=mjx"], ["--physics=mjx", "without a physics engine"]),
    (["--method=ppo_plus_icm", "--icm.forward-share=2"], ["--icm.forward-share=2", "0 to 1"]),
    (["--method=ppo_plus_icm", "--icm.layers=0"], ["--icm.layers=0", "at least 1"]),
    (["--network.strides", "0", "2"], ["--network.strides", "at least 1"]),
    (["--network.units=0"], ["--network.units=0", "at least 1"]),
    (["--oracle.norm=0"], ["--oracle.norm=0", "above 0"]),
    (["--preset=paper", "--steps=2000"], ["--steps=2000", "3,072", "--ppo.no-decay"]),
    (["--schedule-steps=1"], ["--schedule-steps=1", "--ppo.no-decay"]),
    (["--schedule-steps=-1"], ["--schedule-steps=-1", "negative"]),
    (["--ppo.budget-factor=0"], ["--ppo.budget-factor=0", "above 0"]),
    (["--preset=quick"], ["--preset=quick", "wide"]),
    (["--maze.size=8"], ["--maze.size=8", "odd"]),
    (["--maze.size=9", "--scenario=dense1"], ["--maze.size=9", "dense1"]),
    (["--ppo.minibatches=7"], ["--ppo.minibatches=7", "divide"]),
    (["--maze.height=41"], ["--maze.height=41", "even"]),
    (["--maze.height=20"], ["--network.kernels", "too small"]),
    (["--ppo.clop=0.1"], ["--ppo.clop"]),
    (
        ["--scenario=norewardnofire", "--maze.television=noise", "--maze.television-switches=action"],
        ["--maze.television-switches=action", "norewardnofire"],
    ),
    (["--method=ppo", "--reachability.control=untrained"], ["--reachability.control=untrained", "ppo_plus_ec"]),
    (["--method=ppo", "--reachability.parity"], ["--reachability.parity", "ppo_plus_eco"]),
    (["--method=ppo_plus_eco", "--r-network=runs/x"], ["--r-network=runs/x", "ppo_plus_ec"]),
    (
        ["--method=ppo_plus_ec", "--r-network=runs/x", "--reachability.control=untrained"],
        ["--reachability.control=untrained", "runs/x"],
    ),
    (["--method=ppo_plus_eco", "--reachability.online.history=100"], ["--reachability.online.history=100", "2048"]),
    (["--method=ppo_plus_eco", "--reachability.online.batch=1"], ["--reachability.online.batch=1", "2 pairs"]),
    (["--method=ppo_plus_eco", "--maze.episode-steps=20"], ["--maze.episode-steps=20", "26"]),
    (["--method=ppo_plus_ec", "--reachability.offline.steps=100"], ["--reachability.offline.steps=100", "432"]),
    (["--method=ppo_plus_ec", "--reachability.memory.capacity=0"], ["--reachability.memory.capacity=0", "at least 1"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_is_one_clear_line(arguments: list[str], words: list[str]) -> None:
    if arguments == ["--maze.height=20"]:
        arguments = [*arguments, "--preset=paper"]
    with pytest.raises(ConfigError) as error:
        parse(*arguments)
    message = str(error.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_combination_is_valid_but_curiosity_without_discrete_actions(
    name: str, method: str, scenario: str
) -> None:
    config = preset(name, scenario, method)
    if (method, scenario) == ("ppo_plus_icm", "ant_no_reward"):
        with pytest.raises(ConfigError, match="discrete"):
            validate(config)
    else:
        validate(config)


def test_paper_is_the_published_configuration() -> None:
    config = preset("paper", "noreward", "ppo_plus_grid_oracle")
    ppo = config.ppo
    assert (ppo.num_envs, ppo.rollout, ppo.minibatches, ppo.epochs) == (12, 256, 4, 4)
    assert (ppo.discount, ppo.gae_lambda, ppo.clip, ppo.learning_rate) == (0.99, 0.95, 0.1, 2.5e-4)
    assert (ppo.value_coefficient, ppo.max_grad_norm, ppo.adam_epsilon) == (0.5, 0.5, 1e-5)
    assert ppo.entropy == 6.6116902624148155e-3
    assert (config.reward.task, config.reward.bonus) == (0.0, 0.05246913580246913)
    assert (config.oracle.cell, config.oracle.norm, config.oracle.rounding) == (30.0, 900.0, "truncate")
    assert (config.maze.size, config.maze.height, config.maze.width) == (17, 84, 84)
    assert (config.steps, config.eval_every, config.eval_envs) == (20_000_000, 76_800, 12)
    plain = preset("paper", "sparse", "ppo")
    assert (plain.reward.task, plain.reward.bonus) == (1.0, 0.0)
    assert (plain.ppo.learning_rate, plain.ppo.entropy) == (1.9306977288832496e-4, 1.0941138105771857e-3)


def test_episodic_curiosity_has_the_numbers_of_its_scenario() -> None:
    for method in ("ppo_plus_ec", "ppo_plus_eco"):
        quiet, sparse = preset("paper", "noreward", method), preset("paper", "sparse", method)
        assert (quiet.reward.task, quiet.reward.bonus) == (0.0, 0.03017241379310345)
        assert (sparse.reward.task, sparse.reward.bonus) == (1.0, 0.03017241379310345)
        assert (sparse.ppo.learning_rate, sparse.ppo.entropy) == (2.5e-4, 2.053525026457146e-3)
        memory = quiet.algorithm().reachability.memory
        assert (memory.capacity, memory.replacement, memory.aggregation) == (200, "random", "percentile")
    online = preset("paper", "sparse", "ppo_plus_eco").reachability.online
    assert (online.history, online.interval, online.passes, online.batch) == (720_000, 720_000, 10, 64)


def test_fast_takes_large_batches_where_nothing_is_paid() -> None:
    sizes = [
        preset("fast", scenario, "ppo").ppo.num_envs for scenario in ("noreward", "norewardnofire", "sparse", "dense1")
    ]
    assert sizes == [64, 64, 16, 16]
    assert [preset(name, "noreward", "ppo").ppo.num_envs for name in ("paper", "wide", "smoke")] == [12, 1024, 4]


def test_parity_replaces_the_oldest_where_no_reward_is_paid() -> None:
    config, _ = parse("--method=ppo_plus_eco", "--scenario=noreward", "--reachability.parity")
    assert config.algorithm().reachability.memory.replacement == "fifo"
    config, _ = parse("--method=ppo_plus_eco", "--scenario=sparse", "--reachability.parity")
    assert config.algorithm().reachability.memory.replacement == "random"


def test_paper_is_the_published_ant() -> None:
    config = preset("paper", "ant_no_reward", "ppo")
    ppo = config.ppo
    assert (ppo.num_envs, ppo.rollout, ppo.minibatches, ppo.epochs) == (12, 256, 4, 10)
    assert (ppo.clip, ppo.decay, ppo.learning_rate, ppo.entropy) == (0.2, False, 3e-4, 8e-6)
    assert (config.oracle.cell, config.oracle.norm, config.reward.task) == (5.0, 25.0, 0.0)
    assert (config.maze.height, config.maze.width, config.metric) == (120, 160, "coverage")
    curious = preset("paper", "ant_no_reward", "ppo_plus_ec")
    assert (curious.ppo.learning_rate, curious.ppo.entropy) == (7.49894209332e-5, 2.23872113857e-5)
    assert (curious.reward.bonus, curious.ppo.epochs) == (1.0, 10)


def test_a_resume_keeps_the_options_of_the_run(tmp_path: Path) -> None:
    logdir = str(tmp_path / "run")
    config = dataclasses.replace(preset("smoke", "sparse", "ppo"), logdir=logdir, schedule_steps=1024)
    RunDirectory(logdir).write_config(config)
    longer, resuming = parse(f"--logdir={logdir}", "--steps=1100")
    assert resuming and longer == dataclasses.replace(config, steps=1100)
    with pytest.raises(ConfigError, match=r"--ppo\.clip=0\.3 cannot change the run"):
        parse(f"--logdir={logdir}", "--ppo.clip=0.3")


def test_a_run_is_not_continued_at_a_learning_rate_of_zero(tmp_path: Path) -> None:
    logdir = str(tmp_path / "run")
    config = dataclasses.replace(preset("smoke", "sparse", "ppo"), logdir=logdir, schedule_steps=1024)
    RunDirectory(logdir).write_config(config)
    with pytest.raises(ConfigError, match=r"--steps=4096 .* 0 after 1,126 steps; give --schedule-steps=4096 too"):
        parse(f"--logdir={logdir}", "--steps=4096")
    longer, _ = parse(f"--logdir={logdir}", "--steps=4096", "--schedule-steps=4096")
    assert longer == dataclasses.replace(config, steps=4096, schedule_steps=4096)


def test_paper_evaluates_and_saves_between_epochs() -> None:
    for scenario in SCENARIOS:
        config = preset("paper", scenario, "ppo")
        batch = config.ppo.num_envs * config.ppo.rollout
        assert [config.log_every % batch, config.eval_every % config.log_every] == [0, 0]
        assert config.checkpoint_every % config.log_every == 0


def test_reward_tables_have_each_step_once_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "reward_test.csv"
    first = RewardTable(path, "reward", None)
    first.write([0, 512, 1024], [0.0, 10.0, 20.0])
    RewardTable(path, "reward", 512).write([1024], [25.0])
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert lines[0] == ["step", "reward", "timestamp_s"]
    assert [line[:2] for line in lines[1:]] == [["0", "0.0"], ["512", "10.0"], ["1024", "25.0"]]


def test_reward_tables_outlive_torn_lines_and_say_when_the_disk_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "reward_test.csv"
    path.parent.mkdir()
    RewardTable(path, "reward", None).write([512], [10.0])
    with path.open("a") as file:
        file.write("\0\0,\0,\0\n600,1")
    table = RewardTable(path, "reward", 600)
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["step", "512"]
    shutil.rmtree(path.parent)
    with pytest.raises(DiskError, match=r"reward_test\.csv"):
        table.write([1024], [0.0])
