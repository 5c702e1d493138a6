"""The commands that README and documentation show, in the order shown, and the runs that they leave behind.

Those of Episodic Curiosity are in `test_curiosity_end_to_end`, whose runs are the same program. The run of two seeds is
resumed, and its numbers go bad. What else a run survives has a file of its own.
"""

import json
import re
import shutil
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import evidence, publish, weights
from experiments.config import RunConfig
from experiments.logs import read_goals
from experiments.options import override
from experiments.replays import load_replays
from peg_jax.core.config import ConfigError
from peg_jax.peg.training import SeedState, TrainState
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError
from peg_jax.run.metrics import read_metrics
from tests.experiments.processes import Ended, checkpoint, differing_leaves, ended, running
from tests.experiments.shown import OTHERS, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return run(OTHERS, tmp_path_factory.mktemp("shown"))


@pytest.fixture(scope="module")
def trained(shown: dict[str, str]) -> Path:
    """The run of the quick start, trained by one command and then by another."""
    return Path(shown["cwd"]) / "runs/try"


def test_all_commands_work(shown: dict[str, str]) -> None:
    assert len(shown) >= 10


def test_metrics_have_the_names_of_the_original(trained: Path) -> None:
    names = set(read_metrics(trained / "metrics.jsonl"))
    expected = {"kl_loss", "observation_loss", "embed_loss", "model_kl", "actor_loss", "critic_target", "dyn_dist_loss"}
    expected |= {"expl_actor_loss", "expl_expl_loss", "expl_reward_mean", "max_train_log_subgoal_success"}
    expected |= {"max_eval_metric_success/goal_all", "max_eval_metric_success_cell/goal_0"}
    assert expected - names == set()


def test_pictures_are_drawn(trained: Path) -> None:
    media = trained / "media"
    for name in ("learning_curves.png", "goals.png", "top_10_cem_2000.png"):
        assert iio.imread(media / name).std() > 5
    frames = iio.imread(media / "eval_gc_policy_2000.gif")
    assert frames.shape[0] > 10
    assert np.abs(frames[0].astype(int) - frames[-1]).sum() > 0


def test_the_report_of_the_runs_shows_what_they_chose_and_did(shown: dict[str, str]) -> None:
    text = (Path(shown["cwd"]) / "runs/report.html").read_text()
    titles = set(re.findall(r'<img src="data:image/\w+;base64,[^"]+".*? alt="([^"]+)"', text))
    assert {"curves", "goals", "eval_gc_policy after 2,000 steps", "train_policy after 2,000 steps"} <= titles
    assert "<h1>2 runs</h1>" in text and "git_revision" in text


def test_a_checkpoint_evaluates_again_with_the_same_result(shown: dict[str, str], trained: Path) -> None:
    assert "(9,9)" in shown["python -m experiments.evaluate --logdir=runs/try"]
    again = json.loads((trained / "evaluation" / "success_2000.json").read_text())
    logged = read_metrics(trained / "metrics.jsonl")
    for name, values in again["success"].items():
        last = [logged[f"max_eval_metric_{name}/goal_{i}"].values[-1] for i in range(11)]
        np.testing.assert_array_equal(values[0], last)


def test_the_weights_that_come_with_the_project_fit_and_reach_the_goals(shown: dict[str, str]) -> None:
    (file,) = (Path(shown["cwd"]) / "runs/pretrained_point_maze/evaluation").glob("success_*.json")
    (reached,) = json.loads(file.read_text())["success"]["success_cell"]
    assert np.mean(reached) > 0.75 and reached[0] > 0.5
    (said,) = (printed for command, printed in shown.items() if command.endswith("--pretrained=point_maze"))
    assert "success 0.46, success_cell 0.94 in 40 episodes per goal" in said and "after 1,292,800 steps of" in said


def test_what_a_run_has_learned_is_published(trained: Path, tmp_path: Path) -> None:
    assert publish.run([f"--logdir={trained}", "--name=tried", "--repeats=1", f"--output={tmp_path}"]) == 0
    loaded, ours = weights.load("tried", tmp_path), checkpoint(trained)[0]
    for part in ("model", "achiever.actor.params", "achiever.slow_critic"):
        found, expected = (attrgetter(part)(state.seed.agent) for state in (loaded.state, ours))
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    facts = json.loads((tmp_path / "tried.json").read_text())
    assert facts["command"].startswith("python -m experiments.peg") and len(facts["success"]["success_cell"]) == 11
    with pytest.raises(ConfigError, match=r"--pretrained=other cannot work: known weights: tried"):
        weights.load("other", tmp_path)
    facts["config"]["agent"]["world_model"]["deter"] = 33
    (tmp_path / "tried.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="whose networks have other sizes"):
        weights.load("tried", tmp_path)


def test_the_replay_becomes_a_dataset(trained: Path) -> None:
    """What it says about goals, ends and actions is what the environment says."""
    data = np.load(trained.parent / "dataset" / "seed_0.npz", allow_pickle=False)
    facts = json.loads(str(data["metadata"]))
    assert (facts["env"], facts["env_steps"], facts["seed"]) == ("point_maze", 2000, 0)
    episodes, steps = data["rewards"].shape
    assert (episodes * steps, steps) == (2000, 50)
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
    assert evidence.run(["--runs", str(trained), str(again), f"--output={tmp_path}"]) == 0
    data = json.loads((tmp_path / "smoke_peg.json").read_text())
    assert data["command"].startswith("python -m experiments.peg")
    assert "logdir" not in data["command"]
    assert len(data["revision"]) >= 40
    (seed,) = data["seeds"]
    logged = read_metrics(trained / "metrics.jsonl")
    np.testing.assert_array_equal(seed["env_steps"], logged["max_eval_metric_success/goal_all"].steps)
    np.testing.assert_array_equal(np.shape(seed["success_cell"]), (len(seed["env_steps"]), 11))
    np.testing.assert_allclose(np.array(seed["closest"])[:, 3], logged["eval_closest/goal_3"].values, atol=1e-3)
    means = logged["max_eval_metric_success_cell/goal_all"].values
    np.testing.assert_allclose(np.mean(seed["success_cell"], axis=1), means, atol=1e-3)
    assert seed["updates"] == sorted(seed["updates"])
    assert seed["wall_seconds"] == sorted(seed["wall_seconds"])
    page = (tmp_path / "README.md").read_text()
    assert "smoke_peg" in page and data["command"] in page
    control = json.loads((tmp_path / "random_policy.json").read_text())
    assert (control["env"], len(control["success_cell"])) == ("point_maze", 11)
    assert 0.0 < np.mean(control["success_cell"]) < 0.3 and control["closest"][0] > 4.0
    assert iio.imread(tmp_path / "curves.png").std() > 5
    assert evidence.run([f"--output={tmp_path}"]) == 0
    assert (tmp_path / "README.md").read_text() == page


def test_how_far_runs_explored_is_measured_and_drawn(shown: dict[str, str]) -> None:
    folder = Path(shown["cwd"]) / "runs" / "reach"
    found = json.loads((folder / "reach.json").read_text())
    assert {figures["method"] for figures in found.values()} == {"smoke_peg", "smoke_random_goals"}
    assert iio.imread(folder / "reach.png").std() > 5


def test_a_run_begins_with_the_replay_of_another(shown: dict[str, str], trained: Path) -> None:
    began, theirs = (checkpoint(path)[0].seed.replay for path in (trained.parent / "again", trained))
    held = int(theirs.current_index[0])
    assert int(began.current_index[0]) > held
    for mine, other in zip(*(jax.tree.leaves(replay.experience) for replay in (began, theirs)), strict=True):
        np.testing.assert_array_equal(mine[:, :, :held], other[:, :, :held])
    config = replace(RunDirectory(trained).read_config_as(RunConfig), num_seeds=3, replay_from=str(trained))
    lanes = load_replays(config, print).experience.obs
    for lane_of_three in lanes:
        np.testing.assert_array_equal(lane_of_three, theirs.experience.obs[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"replay_from": "runs/nothing"}, "there is no run"),
        ({"loop.num_envs": 3}, "it has loop.num_envs = 4, here it is 3; give --loop.num-envs=4"),
        ({"env": "walker"}, "it has env = point_maze, here it is walker"),
    ],
)
def test_a_replay_that_does_not_fit_is_refused(trained: Path, changes: dict[str, object], said: str) -> None:
    config = override(RunDirectory(trained).read_config_as(RunConfig), {"replay_from": str(trained)} | changes)
    with pytest.raises(ConfigError, match=re.escape(f"--replay-from={config.replay_from} cannot work: {said}")):
        load_replays(config, print)


@pytest.fixture(scope="module")
def seeds(shown: dict[str, str]) -> Path:
    """The run of two seeds in one program."""
    return Path(shown["cwd"]) / "runs/control"


@pytest.fixture
def halfway(seeds: Path, tmp_path: Path) -> Path:
    """The same run without its last checkpoint."""
    path = shutil.copytree(seeds, tmp_path / "run")
    shutil.rmtree(CheckpointStore(path / "checkpoints").folder(1000))
    return path


def test_several_seeds_resume_bit_for_bit(seeds: Path, halfway: Path) -> None:
    assert "resumed at 800 of 1,000" in resume(halfway).out
    assert differing_leaves(checkpoint(halfway)[0], checkpoint(seeds)[0]) == []
    lines = [(seeds / seed / "metrics.jsonl").read_bytes() for seed in ("seed_0", "seed_1")]
    assert lines == [(halfway / seed / "metrics.jsonl").read_bytes() for seed in ("seed_0", "seed_1")]
    assert lines[0] != lines[1]


def resume(logdir: Path, *arguments: str) -> Ended:
    with running("peg", f"--logdir={logdir}", *arguments) as process:
        return ended(process)


def poison(logdir: Path, lanes: list[int]) -> None:
    """Write not-a-number over all experience of some lanes of the newest checkpoint."""
    state, store = checkpoint(logdir)
    seed = state.seed
    experience = jax.tree.map(lambda x: x.at[jnp.array(lanes)].set(jnp.nan), seed.replay.experience)
    seed = replace(seed, replay=replace(seed.replay, experience=experience))
    store.save(store.latest() or 0, replace(state, seed=seed))


def lane(state: TrainState, index: int) -> SeedState:
    chosen: SeedState = jax.tree.map(lambda x: x[index], state.seed)
    return chosen


def test_a_seed_whose_numbers_go_bad_is_left_alone_and_the_others_do_not_notice(seeds: Path, halfway: Path) -> None:
    poison(halfway, [0])
    before, store = checkpoint(halfway)
    done = resume(halfway, "--loop.bad-updates=3")
    assert done.code == 0, done.err
    said = re.search(r"seed 0 is updated no more at 1,000 steps: 3 updates in a row were not finite; (.*)", done.out)
    assert said and said[1] == f"last good checkpoint: {store.folder(800)}"
    after, _ = checkpoint(halfway)
    assert differing_leaves(lane(after, 1), lane(checkpoint(seeds)[0], 1)) == []
    assert (halfway / "seed_1/metrics.jsonl").read_bytes() == (seeds / "seed_1/metrics.jsonl").read_bytes()
    assert after.seed.bad_updates.tolist() == [3, 0]
    params = [lane(state, 0).agent.explorer.actor.params for state in (before, after)]
    for a, b in zip(*map(jax.tree.leaves, params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isnan(read_metrics(halfway / "seed_0/metrics.jsonl")["model_loss"].values[-1])


def test_a_run_without_a_good_seed_stops_and_names_the_last_good_checkpoint(halfway: Path) -> None:
    poison(halfway, [0, 1])
    done = resume(halfway, "--loop.bad-updates=3")
    assert done.code == 70
    assert re.fullmatch(r"error: the numbers of every seed went bad by 1,000 steps: .*/0{9}800\. A run .*\n", done.err)
    assert CheckpointStore(halfway / "checkpoints").steps() == [800]
