"""The real commands, at `smoke` size: train, resume, evaluate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config import RunConfig
from experiments.program import abstract_state, run_task
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.metrics import read_metrics

SMOKE = ["--preset=smoke", "--eval-every=200", "--checkpoint-every=200", "--media-every=100000"]


def command(module: str, *arguments: str) -> str:
    """Run `python -m experiments.<module>` and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{module}", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "."},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run of 800 steps, and the same run stopped at 400 and resumed by a new process."""
    root = tmp_path_factory.mktemp("runs")
    whole, parts = root / "whole", root / "parts"
    command("peg", *SMOKE, "--steps=800", f"--logdir={whole}")
    command("peg", *SMOKE, "--steps=400", f"--logdir={parts}")
    command("peg", "--steps=800", f"--logdir={parts}")
    return {"whole": whole, "parts": parts}


def test_a_resumed_run_writes_the_same_lines(runs: dict[str, Path]) -> None:
    whole, parts = ((path / "metrics.jsonl").read_text() for path in runs.values())
    assert whole == parts
    assert len(whole.splitlines()) > 3


def test_a_resumed_run_ends_in_the_same_bits(runs: dict[str, Path]) -> None:
    config = RunDirectory(runs["whole"]).read_config_as(RunConfig)
    template = abstract_state(config, run_task(config))
    states = [CheckpointStore(path / "checkpoints").restore(template, 800)[0] for path in runs.values()]
    leaves = [jax.tree_util.tree_leaves_with_path(jax.tree.map(_plain, state)) for state in states]
    different = [jax.tree_util.keystr(path) for (path, a), (_, b) in zip(*leaves, strict=True) if not (a == b).all()]
    assert len(leaves[0]) > 100
    assert different == []


def _plain(x: jax.Array) -> np.ndarray:
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def test_metrics_have_the_names_of_the_original(runs: dict[str, Path]) -> None:
    names = set(read_metrics(runs["whole"] / "metrics.jsonl"))
    expected = {"kl_loss", "observation_loss", "embed_loss", "model_kl", "actor_loss", "critic_target", "dyn_dist_loss"}
    expected |= {"expl_actor_loss", "expl_expl_loss", "expl_reward_mean", "max_train_log_subgoal_success"}
    expected |= {"max_eval_metric_success/goal_all", "max_eval_metric_success_cell/goal_0"}
    assert expected - names == set()


def test_pictures_are_drawn(runs: dict[str, Path]) -> None:
    media = runs["whole"] / "media"
    for name in ("learning_curves.png", "goals.png", "top_10_cem_800.png"):
        assert iio.imread(media / name).std() > 5
    frames = iio.imread(media / "eval_gc_policy_800.gif")
    assert frames.shape[0] > 10
    assert np.abs(frames[0].astype(int) - frames[-1]).sum() > 0


def test_a_checkpoint_evaluates_again_with_the_same_result(runs: dict[str, Path]) -> None:
    printed = command("evaluate", f"--logdir={runs['whole']}")
    assert "(9,9)" in printed
    again = json.loads((runs["whole"] / "evaluation" / "success_800.json").read_text())
    logged = read_metrics(runs["whole"] / "metrics.jsonl")
    for name, values in again["success"].items():
        last = [logged[f"max_eval_metric_{name}/goal_{i}"].values[-1] for i in range(11)]
        np.testing.assert_array_equal(values[0], last)


def test_runs_become_evidence_and_a_page_made_from_it(runs: dict[str, Path], tmp_path: Path) -> None:
    """Two runs of the same seed count once; the page can be made again without them."""
    command("report", "--runs", *map(str, runs.values()), f"--output={tmp_path}")
    evidence = json.loads((tmp_path / "smoke_peg.json").read_text())
    assert evidence["command"].startswith("python -m experiments.peg")
    assert "logdir" not in evidence["command"]
    assert len(evidence["revision"]) >= 40
    (seed,) = evidence["seeds"]
    logged = read_metrics(runs["parts"] / "metrics.jsonl")
    np.testing.assert_array_equal(seed["env_steps"], logged["max_eval_metric_success/goal_all"].steps)
    np.testing.assert_array_equal(np.shape(seed["success_cell"]), (len(seed["env_steps"]), 11))
    means = logged["max_eval_metric_success_cell/goal_all"].values
    np.testing.assert_allclose(np.mean(seed["success_cell"], axis=1), means, atol=1e-3)
    assert seed["updates"] == sorted(seed["updates"])
    assert seed["wall_seconds"] == sorted(seed["wall_seconds"])
    page = (tmp_path / "README.md").read_text()
    assert "smoke_peg" in page and evidence["command"] in page
    assert iio.imread(tmp_path / "curves.png").std() > 5
    command("report", f"--output={tmp_path}")
    assert (tmp_path / "README.md").read_text() == page


def test_seeds_of_one_program_have_their_own_directories(tmp_path: Path) -> None:
    command("peg", *SMOKE, "--steps=400", "--num-seeds=2", "--method=random_goals", f"--logdir={tmp_path / 'two'}")
    lines = [(tmp_path / "two" / f"seed_{i}" / "metrics.jsonl").read_text() for i in (0, 1)]
    assert lines[0] != lines[1]
    assert [len(text.splitlines()) for text in lines] == [len(lines[0].splitlines())] * 2
