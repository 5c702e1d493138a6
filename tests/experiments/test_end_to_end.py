"""The real commands, at `smoke` size: train, evaluate, report; `test_survival.py` is about what goes wrong."""

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from experiments import export
from experiments.logs import read_goals
from peg_jax.run.metrics import read_metrics
from tests.experiments.processes import command

SMOKE = ["--preset=smoke", "--eval-every=200", "--checkpoint-every=200", "--media-every=100000"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 800 steps."""
    path = tmp_path_factory.mktemp("runs") / "trained"
    command("peg", *SMOKE, "--steps=800", f"--logdir={path}")
    return path


def test_metrics_have_the_names_of_the_original(trained: Path) -> None:
    names = set(read_metrics(trained / "metrics.jsonl"))
    expected = {"kl_loss", "observation_loss", "embed_loss", "model_kl", "actor_loss", "critic_target", "dyn_dist_loss"}
    expected |= {"expl_actor_loss", "expl_expl_loss", "expl_reward_mean", "max_train_log_subgoal_success"}
    expected |= {"max_eval_metric_success/goal_all", "max_eval_metric_success_cell/goal_0"}
    assert expected - names == set()


def test_pictures_are_drawn(trained: Path) -> None:
    media = trained / "media"
    for name in ("learning_curves.png", "goals.png", "top_10_cem_800.png"):
        assert iio.imread(media / name).std() > 5
    frames = iio.imread(media / "eval_gc_policy_800.gif")
    assert frames.shape[0] > 10
    assert np.abs(frames[0].astype(int) - frames[-1]).sum() > 0


def test_a_checkpoint_evaluates_again_with_the_same_result(trained: Path) -> None:
    printed = command("evaluate", f"--logdir={trained}")
    assert "(9,9)" in printed
    again = json.loads((trained / "evaluation" / "success_800.json").read_text())
    logged = read_metrics(trained / "metrics.jsonl")
    for name, values in again["success"].items():
        last = [logged[f"max_eval_metric_{name}/goal_{i}"].values[-1] for i in range(11)]
        np.testing.assert_array_equal(values[0], last)


def test_the_replay_becomes_a_dataset(trained: Path, tmp_path: Path) -> None:
    """What it says about goals, ends and actions is what the environment says."""
    assert export.run([f"--logdir={trained}", f"--output={tmp_path}"]) == 0
    data = np.load(tmp_path / "seed_0.npz", allow_pickle=False)
    facts = json.loads(str(data["metadata"]))
    assert (facts["env"], facts["env_steps"], facts["seed"]) == ("point_maze", 800, 0)
    episodes, steps = data["rewards"].shape
    assert (episodes * steps, steps) == (800, 50)
    assert data["observations"].shape == data["desired_goals"].shape == (episodes, steps + 1, 2)
    np.testing.assert_array_equal(data["truncations"].sum(axis=0), [0] * 49 + [episodes])
    assert not data["terminations"].any()
    distance = np.linalg.norm(data["observations"][:, 1:] - data["desired_goals"][:, 1:], axis=-1)
    np.testing.assert_array_equal(data["rewards"], np.where(distance < 0.15, 0, -1))
    # A move is as long as its action, but for walls, which only shorten it.
    moved, action = np.diff(data["observations"], axis=1), np.clip(data["actions"], -0.95, 0.95)
    assert np.mean(np.abs(moved - action) < 1e-5) > 0.3 and np.all(np.abs(moved) <= np.abs(action) + 0.05)
    log = read_goals(trained / "goals.jsonl")[1]  # oldest first: the last goals are those that were logged last
    np.testing.assert_allclose(data["desired_goals"][-len(log) :, 0], log, atol=1e-4)


def test_runs_become_evidence_and_a_page_made_from_it(trained: Path, tmp_path: Path) -> None:
    """Two runs of the same seed count once; the page can be made again without them."""
    again = shutil.copytree(trained, tmp_path / "again")
    command("evidence", "--runs", str(trained), str(again), f"--output={tmp_path}")
    evidence = json.loads((tmp_path / "smoke_peg.json").read_text())
    assert evidence["command"].startswith("python -m experiments.peg")
    assert "logdir" not in evidence["command"]
    assert len(evidence["revision"]) >= 40
    (seed,) = evidence["seeds"]
    logged = read_metrics(trained / "metrics.jsonl")
    np.testing.assert_array_equal(seed["env_steps"], logged["max_eval_metric_success/goal_all"].steps)
    np.testing.assert_array_equal(np.shape(seed["success_cell"]), (len(seed["env_steps"]), 11))
    means = logged["max_eval_metric_success_cell/goal_all"].values
    np.testing.assert_allclose(np.mean(seed["success_cell"], axis=1), means, atol=1e-3)
    assert seed["updates"] == sorted(seed["updates"])
    assert seed["wall_seconds"] == sorted(seed["wall_seconds"])
    page = (tmp_path / "README.md").read_text()
    assert "smoke_peg" in page and evidence["command"] in page
    assert iio.imread(tmp_path / "curves.png").std() > 5
    command("evidence", f"--output={tmp_path}")
    assert (tmp_path / "README.md").read_text() == page
