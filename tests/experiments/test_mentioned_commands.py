"""The commands that documentation mentions beside those of its blocks, at the size of `smoke`."""

from pathlib import Path

import imageio.v3 as iio
import pytest

from tests.experiments.pages import GUIDES, commands, mentioned
from tests.experiments.shown import ELSEWHERE, run

pytestmark = pytest.mark.long

FIRST = "python -m experiments.peg --env=point_maze --preset=smoke --logdir=runs/try"  # some others read this run
TESTED_APART = ("--coordinator=", "--launcher=slurm")  # have tests of their own, with two processes and stand-ins
MENTIONED = [
    command
    for page in GUIDES
    for command in mentioned(page)
    if command not in ELSEWHERE and not any(word in command for word in TESTED_APART) and command not in commands()
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return run([FIRST, *dict.fromkeys(MENTIONED)], tmp_path_factory.mktemp("mentioned"))


def test_all_commands_work(ran: dict[str, str]) -> None:
    assert len(ran) > 12 and set(MENTIONED) <= ran.keys()


def test_runs_with_bodies_name_their_engine(ran: dict[str, str]) -> None:
    engines = [line for said in ran.values() for line in said.splitlines() if line.startswith("physics ")]
    assert set(engines) == {"physics     mujoco"}


@pytest.mark.parametrize("body", ["walker", "ant_maze", "block_stack"])
def test_runs_with_bodies_are_drawn(ran: dict[str, str], body: str) -> None:
    (media, *_) = sorted((Path(ran["cwd"]) / "runs" / body).rglob("media"))  # of each seed, where there are several
    (top,) = media.glob("top_10_cem_*.png") if body != "walker" else media.glob("goals.png")
    assert iio.imread(top).std() > 5
    for name in ("eval_gc_policy", "train_policy"):
        (animation,) = media.glob(f"{name}_*.gif")
        frames = iio.imread(animation)[..., :3].astype(int)
        assert frames.shape[0] > 10 and abs(frames[0] - frames[-1]).sum() > 0
