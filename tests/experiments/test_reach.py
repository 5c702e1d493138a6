"""How far episodes went, on episodes whose ways can be counted by hand."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from envs import make
from envs.point_maze import route_length
from experiments import evidence, reach
from peg_jax.core.config import ConfigError
from peg_jax.core.environment import Task, make_task
from peg_jax.core.replay import Episode
from peg_jax.run.files import RunError

FARTHEST = [(0, 1), (9, 8), (9, 9), (0, 0), (3, 4)]  # cells


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(*make("point_maze"))


@pytest.fixture(scope="module")
def figures(task: Task) -> dict:
    """Five episodes of three steps that jump to a cell and back; their goals are the cells in reverse order."""
    cells = jnp.array(FARTHEST, jnp.float32)
    start = jnp.zeros_like(cells)
    obs = jnp.stack([start, cells, start, start], axis=1)
    goal = jnp.broadcast_to(cells[::-1, None], obs.shape)
    return reach.explored(task, Episode(obs, jnp.zeros_like(obs), goal), group=2, last_step=15)


def test_groups_end_with_the_last_episode(figures: dict) -> None:
    ways = np.array([route_length((0, 0), cell) for cell in FARTHEST])
    assert figures["env_steps"] == [9, 15]
    np.testing.assert_allclose(figures["visited"], [ways[1:3].mean(), ways[3:].mean()])
    np.testing.assert_allclose(figures["goals"], [ways[::-1][1:3].mean(), ways[::-1][3:].mean()])
    assert figures["far"] == [1.0, 0.0]  # 22 and 23 passages are far, 0 and 7 are not


def test_kept_figures_are_drawn_again_and_stand_on_the_page(figures: dict, tmp_path: Path) -> None:
    kept = {f"fast_peg_{seed}": figures | {"env": "point_maze", "method": "fast_peg"} for seed in (0, 1)}
    (tmp_path / "reach.json").write_text(json.dumps(kept))
    assert reach.run([f"--output={tmp_path}"]) == 0
    assert (tmp_path / "reach.png").exists()
    with pytest.raises(RunError, match="holds no evidence"):
        evidence.run([f"--output={tmp_path}"])
    (tmp_path / "reach.json").write_text(json.dumps(kept | {"fast_peg_2": figures | {"env": "walker", "method": "x"}}))
    with pytest.raises(RunError, match="several environments"):
        reach.run([f"--output={tmp_path}"])


def test_what_is_no_run_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    with pytest.raises(RunError, match=r"no run of experiments\.peg in "):
        reach.run(["--runs", str(tmp_path / "foreign"), f"--output={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()
    (tmp_path / "reach.json").write_text("{")
    with pytest.raises(RunError, match=r"reach\.json is not valid JSON"):
        reach.run([f"--output={tmp_path}"])


def test_without_runs_and_figures_nothing_can_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--runs= cannot work: name run directories"):
        reach.run([f"--output={tmp_path}"])
