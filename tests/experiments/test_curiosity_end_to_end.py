"""The real commands of Episodic Curiosity, at `smoke` size: those that are shown, and training in two parts."""

import csv
import dataclasses
import json
import signal
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import imageio.v3 as iio
import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import curiosity_evidence, evaluate_curiosity, weights
from experiments.curiosity_config import CuriosityRunConfig, run_task
from experiments.curiosity_pictures import CHART_HEIGHT
from experiments.curiosity_program import abstract_state, checkpoint_store
from experiments.restored import CURIOSITY, restore_as
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.media import CAPTION_HEIGHT
from peg_jax.run.metrics import read_metrics
from tests.experiments.processes import Ended, command, differing_leaves, ended, running, wait_for_checkpoint
from tests.experiments.shown import CURIOUS, run

pytestmark = pytest.mark.slow

SMOKE = ["--preset=smoke", "--scenario=noreward", "--method=ppo_plus_eco", "--schedule-steps=1000000"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return run(CURIOUS, tmp_path_factory.mktemp("shown"))


def test_all_commands_work(shown: dict[str, str]) -> None:
    assert len(shown) >= 5


def test_an_explorer_is_watched_with_what_it_visited_and_remembers(shown: dict[str, str]) -> None:
    """The map has marks, in blue, of what the memory holds; view, map and curves change."""
    frames = iio.imread(Path(shown["cwd"]) / "runs/maze/media/curiosity_policy_1024.gif")[..., :3].astype(int)
    panels, charts = frames[:, CAPTION_HEIGHT:-CHART_HEIGHT], frames[:, -CHART_HEIGHT:]
    view, above = np.array_split(panels, 2, axis=2)
    marked = (np.abs(above - np.array((40, 90, 230))).max(axis=-1) < 30).sum(axis=(1, 2))
    assert marked[0] < 100 < 500 < marked.max()  # at first the agent stands on the only one
    assert all(np.abs(part[0] - part[-1]).mean() > 0.1 for part in (view, above, charts))
    assert view.std() > 20


def test_what_an_explorer_has_learned_is_published_and_read(shown: dict[str, str], tmp_path: Path) -> None:
    run = restore_as(CURIOSITY, f"{shown['cwd']}/runs/maze", -1, Console())
    weights.publish(run, "walks", {"episodes": 0}, tmp_path)
    assert weights.program_of("walks", tmp_path) == "episodic_curiosity"
    read, ours = weights.load_curious("walks", tmp_path), run.state.seed
    assert (dataclasses.replace(read.config, optimization=0), read.step) == (run.config, 1024)
    parts = ("learner.params", "bonus.network.variables")
    for found, expected in ((attrgetter(part)(seed) for seed in (read.state.seed, ours)) for part in parts):
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_weights_that_come_with_the_project_find_the_goal_of_a_room() -> None:
    run = weights.load_curious("maze3d_room")
    quick = dataclasses.replace(run.config, optimization=0, eval_envs=16)
    scores = evaluate_curiosity.means(evaluate_curiosity.evaluate(run._replace(config=quick), 0))
    assert min(scores["test"]["reward"][0], scores["validation"]["reward"][0]) > 60  # a random policy: 8


@dataclass
class Runs:
    """A run, and the same run killed on the way, resumed, told to stop, and resumed again by new processes."""

    whole: Path
    parts: Path
    steps: int
    stopped: Ended
    resumed: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    whole, parts = root / "whole", root / "parts"
    with running("episodic_curiosity", *SMOKE, "--steps=1000000", f"--logdir={parts}") as process:
        killed = wait_for_checkpoint(parts, process)
        process.kill()
    with running("episodic_curiosity", f"--logdir={parts}") as process:
        wait_for_checkpoint(parts, process, after=killed)
        process.send_signal(signal.SIGTERM)
        stopped = ended(process)
    steps = (CheckpointStore(parts / "checkpoints").latest() or 0) + 512
    resumed = command("episodic_curiosity", f"--steps={steps}", "--media-every=0", f"--logdir={parts}")
    command("episodic_curiosity", *SMOKE, f"--steps={steps}", f"--logdir={whole}")
    return Runs(whole, parts, steps, stopped, resumed)


def test_sigterm_saves_and_exits_with_75_and_the_line_that_resumes(runs: Runs) -> None:
    assert runs.stopped.code == 75, runs.stopped.err
    saved = f"{runs.steps - 512:,}"
    last = f"stopped and saved at {saved} steps; resume with: python -m experiments.episodic_curiosity --logdir="
    assert runs.stopped.out.splitlines()[-1].startswith(last)
    assert f"resumed at {saved} of {runs.steps:,} environment steps" in runs.resumed


def test_a_resumed_run_writes_the_same_lines(runs: Runs) -> None:
    whole, parts = ((path / "metrics.jsonl").read_text() for path in (runs.whole, runs.parts))
    assert whole == parts
    assert len(whole.splitlines()) > 4


def test_a_resumed_run_ends_in_the_same_bits(runs: Runs) -> None:
    config = RunDirectory(runs.whole).read_config_as(CuriosityRunConfig)
    template = abstract_state(config, run_task(config))
    stores = [checkpoint_store(config, RunDirectory(path), print) for path in (runs.whole, runs.parts)]
    assert differing_leaves(*(store.restore(template, runs.steps)[0] for store in stores)) == []


def test_the_r_network_is_trained_and_judged_on_unseen_mazes(runs: Runs) -> None:
    logged = read_metrics(runs.whole / "metrics.jsonl")
    assert logged["r_updates"].values.min() >= 1
    assert len(logged["valid_r_acc"].values) == len(logged["test_coverage"].values)
    assert ((logged["valid_r_acc"].values > 0) & (logged["valid_r_acc"].values <= 1)).all()


def test_tables_hold_each_step_once_and_agree_with_the_metrics(runs: Runs) -> None:
    tables = []
    for path in (runs.whole, runs.parts):
        rows = {name: list(csv.reader((path / f"reward_{name}.csv").open())) for name in ("train", "valid", "test")}
        assert all(table[0] == ["step", "coverage", "timestamp_s"] for table in rows.values())
        tables.append({name: [row[:2] for row in table] for name, table in rows.items()})
    assert tables[0] == tables[1]
    assert [int(row[0]) for row in tables[0]["test"][1:]] == sorted({*range(0, runs.steps, 512), runs.steps})
    logged = read_metrics(runs.whole / "metrics.jsonl")["test_coverage"]
    np.testing.assert_allclose([float(row[1]) for row in tables[0]["test"][1:]], logged.values)
    assert logged.values.min() > 1


def test_an_episode_and_curves_are_drawn(runs: Runs) -> None:
    media = runs.whole / "media"
    assert iio.imread(media / "learning_curves.png").std() > 5
    frames = iio.imread(media / f"episode_{runs.steps}.gif")
    assert frames.shape[0] > 10
    view, above = np.array_split(frames[..., :3].astype(int), 2, axis=2)
    assert min(view.std(), above.std()) > 20
    assert np.abs(view[0] - view[-1]).mean() > 1 and np.abs(above[0] - above[-1]).mean() > 0.1


def test_what_a_run_knows_and_pays_for_is_measured(runs: Runs, tmp_path: Path) -> None:
    sizes = ["--episodes=2", "--steps=64", "--shots=64", "--pairs=64"]
    assert curiosity_evidence.run(["--runs", str(runs.whole), f"--output={tmp_path}", *sizes]) == 0
    (seed,) = json.loads((tmp_path / "whole.json").read_text())["seeds"]
    assert 0 < seed["pairs"]["pairs"] <= 64 and 0 <= seed["pairs"]["accuracy"] <= 1
    assert sum(row["pairs"] for row in seed["pairs"]["by_path_distance"]) == seed["pairs"]["pairs"]
    assert -0.5 <= seed["fire"]["later"] <= 0.5 and seed["places"]["unseen_steps"] > 0
    assert seed["away"]["by_path_distance"][0]["steps"] > 0
    assert seed["episodes"]["random_walk"]["cells"] > 1
