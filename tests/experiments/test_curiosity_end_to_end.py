"""The real command of Episodic Curiosity, at `smoke` size: train, and train in two parts."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.curiosity_config import CuriosityRunConfig, run_task
from experiments.curiosity_program import abstract_state
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.metrics import read_metrics

pytestmark = pytest.mark.slow

SMOKE = ["--preset=smoke", "--scenario=noreward", "--method=ppo_plus_grid_oracle"]


def command(*arguments: str) -> str:
    """Run the command and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments.episodic_curiosity", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "."},
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run of 1,024 steps, and the same run stopped at 512 and resumed by a new process."""
    root = tmp_path_factory.mktemp("runs")
    whole, parts = root / "whole", root / "parts"
    command(*SMOKE, f"--logdir={whole}")
    command(*SMOKE, "--steps=512", "--schedule-steps=1024", f"--logdir={parts}")
    command("--steps=1024", f"--logdir={parts}")
    return {"whole": whole, "parts": parts}


def test_a_resumed_run_writes_the_same_lines(runs: dict[str, Path]) -> None:
    whole, parts = ((path / "metrics.jsonl").read_text() for path in runs.values())
    assert whole == parts
    assert len(whole.splitlines()) > 4


def test_a_resumed_run_ends_in_the_same_bits(runs: dict[str, Path]) -> None:
    config = RunDirectory(runs["whole"]).read_config_as(CuriosityRunConfig)
    template = abstract_state(config, run_task(config))
    states = [CheckpointStore(path / "checkpoints").restore(template, 1024)[0] for path in runs.values()]
    leaves = [[_plain(x) for x in jax.tree.leaves(state)] for state in states]
    assert len(leaves[0]) > 40
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(*leaves, strict=True))


def _plain(x: jax.Array) -> np.ndarray:
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def test_tables_hold_each_step_once_and_agree_with_the_metrics(runs: dict[str, Path]) -> None:
    tables = []
    for path in runs.values():
        rows = {name: list(csv.reader((path / f"reward_{name}.csv").open())) for name in ("train", "valid", "test")}
        assert all(table[0] == ["step", "coverage", "timestamp_s"] for table in rows.values())
        tables.append({name: [row[:2] for row in table] for name, table in rows.items()})
    assert tables[0] == tables[1]
    assert [int(row[0]) for row in tables[0]["test"][1:]] == [0, 512, 1024]
    logged = read_metrics(runs["whole"] / "metrics.jsonl")["test_coverage"]
    np.testing.assert_allclose([float(row[1]) for row in tables[0]["test"][1:]], logged.values)
    assert logged.values.min() > 1


def test_an_episode_and_curves_are_drawn(runs: dict[str, Path]) -> None:
    media = runs["whole"] / "media"
    assert iio.imread(media / "learning_curves.png").std() > 5
    frames = iio.imread(media / "episode_1024.gif")
    assert frames.shape[0] > 10
    view, above = np.array_split(frames[..., :3].astype(int), 2, axis=2)
    assert min(view.std(), above.std()) > 20
    assert np.abs(view[0] - view[-1]).mean() > 1 and np.abs(above[0] - above[-1]).mean() > 0.1
