"""The R-network's stage of `ppo_plus_ec`: cut and resumed, read by another run, and refused where it does not fit."""

import dataclasses
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import r_network_stage
from experiments.curiosity_config import CuriosityRunConfig, preset
from experiments.options import override
from experiments.r_network_stage import Stage, compile_stage, load_r_networks, train_r_networks
from peg_jax.core.config import ConfigError
from peg_jax.curiosity.config import OracleConfig
from peg_jax.curiosity.r_network import RNetworkState
from peg_jax.curiosity.task import make_task
from peg_jax.run.directory import RunDirectory
from peg_jax.run.metrics import read_metrics
from peg_jax.run.session import Session
from peg_jax.run.signals import StoppedError
from tests.curiosity.corridor import STEPS, Params, SeenCorridor

TASK = make_task(SeenCorridor(), Params(), OracleConfig(cell=1.0, norm=1.0))
CONFIG = override(
    preset("smoke", "noreward", "ppo_plus_ec"),
    {
        "num_seeds": 2,
        "reachability.offline.epochs": 4,
        "reachability.offline.pairs.within": 1,
        "reachability.offline.pairs.negative_factor": 3,
        "reachability.offline.optimizer.learning_rate": 1e-2,
        "optimization": 0,
    },
)
UPDATES = 4 * 4


@dataclass
class Trained:
    """Two runs of which one was stopped on the way."""

    whole: Path
    parts: Path
    stopped: str
    networks: RNetworkState  # of the whole one
    resumed: RNetworkState


def interrupted(epoch: Callable[..., Any]) -> Callable[..., Any]:
    """The user asks to stop during the second epoch."""
    calls = []

    def run(*arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return epoch(*arguments)

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root, patch = tmp_path_factory.mktemp("stage"), pytest.MonkeyPatch()
    stage = compile_stage(CONFIG, TASK, r_network_stage.abstract_stage(CONFIG, TASK))

    def run(folder: Path, stage: Stage) -> RNetworkState:
        patch.setattr(r_network_stage, "compile_stage", lambda *_: stage)  # compiled once for all
        directory = RunDirectory(folder)
        with Session(directory, "the same again", Console()) as session:
            directory.write_config(dataclasses.replace(CONFIG, logdir=str(folder)))
            return train_r_networks(CONFIG, TASK, session)

    whole = run(root / "whole", stage)
    with pytest.raises(StoppedError) as stopped:
        run(root / "parts", stage._replace(epoch=interrupted(stage.epoch)))
    resumed = run(root / "parts", stage)
    patch.undo()
    return Trained(root / "whole", root / "parts", str(stopped.value), whole, resumed)


def test_a_walk_goes_on_from_part_to_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes are as long as ever, and the agent does not jump where a part ends."""
    monkeypatch.setattr(r_network_stage, "PART_ROWS", 16)
    stage = compile_stage(CONFIG, TASK, r_network_stage.abstract_stage(CONFIG, TASK))
    walk = r_network_stage.collect(CONFIG, TASK, stage, "r_training")
    done, shade = np.asarray(walk.done)[0, :, 0], np.asarray(walk.frames)[0, :, 0, 0, 0, 0].astype(int)
    assert len(done) == 128 and np.flatnonzero(done).tolist() == list(range(STEPS - 1, 128, STEPS))
    moved = np.abs(np.diff(shade))
    assert set(moved[~done[1:]].tolist()) == {0, 20}


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def test_a_stage_cut_in_two_ends_in_the_same_bits_and_lines(trained: Trained) -> None:
    assert "saved at 8 updates of the R-network" in trained.stopped
    assert all(np.array_equal(a, b) for a, b in zip(leaves(trained.networks), leaves(trained.resumed), strict=True))
    for seed in ("seed_0", "seed_1"):
        lines = [(path / "r_network" / seed / "metrics.jsonl").read_text() for path in (trained.whole, trained.parts)]
        assert lines[0] == lines[1]
        logged = read_metrics(trained.whole / "r_network" / seed / "metrics.jsonl")
        assert logged["val_acc"].steps.tolist() == [4, 8, 12, 16]
        assert ((logged["val_acc"].values >= 0) & (logged["val_acc"].values <= 1)).all()
    assert not np.array_equal(leaves(trained.networks)[0][0], leaves(trained.networks)[0][1])


def borrowing(path: Path, **changes: Any) -> CuriosityRunConfig:
    return override(dataclasses.replace(CONFIG, r_network=str(path)), changes)


def test_another_run_takes_the_networks_of_its_seeds_in_turn(trained: Trained) -> None:
    taken = load_r_networks(borrowing(trained.whole, num_seeds=3), TASK, print)
    for mine, theirs in zip(leaves(taken), leaves(trained.networks), strict=True):
        np.testing.assert_array_equal(mine, theirs[[0, 1, 0]])


def refusal(config: CuriosityRunConfig) -> str:
    with pytest.raises(ConfigError) as error:
        load_r_networks(config, TASK, print)
    assert f"--r-network={config.r_network} cannot work" in str(error.value)
    return str(error.value)


def test_a_network_that_is_missing_or_foreign_is_refused_by_name(trained: Trained, tmp_path: Path) -> None:
    assert "there is no run" in refusal(borrowing(tmp_path / "nowhere"))
    network = {"reachability.network.units": 8}
    assert "reachability.network.units = 16, here it is 8" in refusal(borrowing(trained.whole, **network))
    assert "maze.height = 42, here it is 84" in refusal(borrowing(trained.whole, **{"maze.height": 84}))
    for name, changes, reason in (
        ("eco", {"method": "ppo_plus_eco"}, "it is a run of ppo_plus_eco"),
        ("untrained", {"reachability.control": "untrained"}, "untrained"),
        ("young", {}, f"has made 0 of {UPDATES} updates"),
        ("borrower", {"r_network": "runs/x"}, "use --r-network=runs/x"),
    ):
        RunDirectory(tmp_path / name).write_config(override(CONFIG, changes))
        assert reason in refusal(borrowing(tmp_path / name))
    (tmp_path / "peg").mkdir()
    (tmp_path / "peg" / "config.json").write_text('{"config": {"env": "point_maze"}, "starts": []}')
    assert "no run of Episodic Curiosity" in refusal(borrowing(tmp_path / "peg"))
