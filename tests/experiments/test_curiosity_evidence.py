"""Evidence about curiosity: figures that can be checked by hand, and the page made of them."""

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from experiments import curiosity_evidence
from experiments.compare_curiosity import label
from experiments.curiosity_config import preset
from experiments.curiosity_evidence import by_distance, firing, places
from experiments.curiosity_evidence_page import write_page
from experiments.curiosity_places import paid_by_distance
from experiments.evidence import add, portable
from experiments.options import override
from experiments.visualize_curiosity import Seen
from peg_jax.curiosity.intrinsic import Appraisal
from peg_jax.curiosity.watching import Episodes
from peg_jax.run.files import RunError


def seen(x: list[float], bonus: list[float], alive: list[bool]) -> Seen:
    """One episode along a corridor, at `x` cells before the first step and after each."""
    position = np.stack([100 * np.asarray(x), np.full(len(x), 150.0), np.full(len(x), 50.0)], axis=-1)[:, None]
    episodes = Episodes(None, None, None, position, np.asarray(alive)[:, None])  # type: ignore[arg-type]
    return Seen(episodes, Appraisal(np.asarray(bonus)[:, None], None, None))  # type: ignore[arg-type]


def test_places_are_unseen_once_and_seen_where_the_agent_returns() -> None:
    """Steps within a cell count as neither; what follows the episode's end does not count."""
    walk = seen([1.5, 1.9, 2.1, 2.5, 1.9, 2.2, 3.5], [9, 0.4, 9, -0.2, 0.1, 9], [True] * 5 + [False])
    found = places(walk)
    assert (found["unseen_steps"], found["seen_steps"]) == (1, 2)
    assert found["unseen"] == pytest.approx(0.4) and found["seen"] == pytest.approx(-0.05)
    assert found["unseen_is_higher"] == 1.0


def test_what_is_paid_is_told_by_the_way_to_the_nearest_visited_cell() -> None:
    paid, length = np.array([[-0.4, 0.2], [0.1, 0.3], [0.5, 9.0]]), np.array([[0, 0], [1, 3], [7, 0]])
    found = paid_by_distance(paid, length, np.array([[True, True], [True, True], [True, False]]))
    rows = {tuple(row["cells"]): row for row in found["by_path_distance"]}
    assert rows[0, 0] == {"cells": [0, 0], "steps": 2, "bonus": -0.1} and rows[2, 2]["steps"] == 0
    assert rows[3, 10_000]["bonus"] == 0.4 and found["unseen_is_higher"] == 1.0


def test_firing_is_told_apart_by_time() -> None:
    shots = seen([1.5] * 41, [0.5] * 20 + [-0.25] * 20, [True] * 40)
    figures = firing(shots, seen([1.5] * 4, [0.0, 0.1, 0.5], [True] * 3))
    assert (figures["first_steps"], figures["later"], figures["random_walk_median"]) == (0.5, -0.25, 0.1)


def test_pairs_are_judged_by_path_distance() -> None:
    """Five pairs, of which the last is none: a near one taken for far, and far ones of which one is taken for near."""
    similar = np.array([0.9, 0.2, 0.1, 0.8, 0.8])
    label, length = np.array([1, 1, 0, 0, 0]), np.array([0, 1, 9, 9, 9])
    found = by_distance(similar, label, length, np.array([True] * 4 + [False]))
    assert found["pairs"] == 4 and found["accuracy"] == 0.5 and found["balanced_accuracy"] == 0.5
    rows = {tuple(row["cells"]): row for row in found["by_path_distance"]}
    assert rows[0, 0]["near_in_time"] == {"pairs": 1, "accuracy": 1.0}
    assert rows[1, 1]["accuracy"] == 0.0 and rows[2, 2] == {"cells": [2, 2], "pairs": 0}
    assert rows[9, 10_000]["similarity"] == 0.45 and rows[9, 10_000]["far_in_time"]["accuracy"] == 0.5


def test_seeds_join_those_of_the_same_revision_and_options(tmp_path: Path) -> None:
    run = {"revision": "0123", "options": "ppo_plus_ec"}
    for seed, cells in ((1, 30), (0, 40), (1, 50)):
        add(tmp_path, "ec", run | {"command": f"--seed={seed}", "seeds": [{"seed": seed, "cells": cells}]})
    found = json.loads((tmp_path / "ec.json").read_text())
    kept = [{"seed": 0, "cells": 40, "command": "--seed=0"}, {"seed": 1, "cells": 50, "command": "--seed=1"}]
    assert found["seeds"] == kept
    assert found["command"] == "--seed=0"
    for what in run:
        with pytest.raises(RunError, match=rf"ec.json is of {what} .*, this run of other; remove the file"):
            add(tmp_path, "ec", run | {what: "other", "seeds": [{"seed": 2}]})


@pytest.mark.parametrize(
    ("method", "said"),
    [("ppo", ""), ("ppo_plus_icm", " --icm.size=9"), ("ppo_plus_eco", " --reachability.memory.capacity=7")],
)
def test_a_run_is_told_apart_by_options_that_its_method_uses(method: str, said: str) -> None:
    changes = {"icm.size": 9, "reachability.memory.capacity": 7, "ppo.clip": 0.3}
    words = label(override(preset("fast", "sparse", method), changes)).split()
    assert {*words} == {method, "--ppo.clip=0.3", *said.split()}


def test_a_command_names_no_place_of_the_machine() -> None:
    said = (
        "/home/me/.venv/bin/python -m experiments.episodic_curiosity --r-network=/data/runs/ec_1 --logdir=/data/runs/a"
    )
    assert portable(said) == "python -m experiments.episodic_curiosity --r-network=runs/ec_1"


def test_the_page_is_made_from_the_files_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no evidence"):
        write_page(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    pairs = {
        "pairs": 64,
        "accuracy": 0.8,
        "balanced_accuracy": 0.8,
        "by_path_distance": [{"cells": [0, 0], "pairs": 3, "similarity": 0.95, "accuracy": 0.9}] * 6,
    }
    figures: dict[str, Any] = {
        "command": "python -m experiments.episodic_curiosity --method=ppo_plus_ec",
        "revision": "0123456789abcdef",
        "machine": {"cpu_count": 2, "device_kind": "cpu", "jax": "0.10"},
        "scenario": "noreward",
        "metric": "coverage",
        "measured_on": {},
        "seeds": [
            {
                "seed": seed,
                "env_steps": 8192,
                "r_network_pairs": 1000,
                "minutes": 2.0,
                "r_network_minutes": 10.0,
                "curve": {"env_steps": [0, 4096, 8192][: 3 - seed], "coverage": [30.0, 40.0, 50.0][: 3 - seed]},
                "episodes": {who: {"reward": seed, "cells": 30.0} for who in ("policy", "random_walk")},
                "pairs": pairs | {"accuracy": 0.8 + seed / 10},
                "untrained_pairs": pairs | {"accuracy": 0.5},
            }
            for seed in (0, 1)
        ],
    }
    (tmp_path / "ec.json").write_text(json.dumps(figures))
    assert curiosity_evidence.run([f"--output={tmp_path}"]) == 0
    page = (tmp_path / "README.md").read_text()
    assert "| ec | 64 | 0.85 (0.80, 0.90) | 0.80 (0.80, 0.80) | 0.95, 0.90 |" in page
    assert "| ec, not trained | 64 | 0.50 (0.50, 0.50) |" in page
    assert "| ec | 0.50 (0.00, 1.00) | 0.50 (0.00, 1.00) | 30.00 (30.00, 30.00) |" in page
    assert "2.0, 2.0 minutes and 10.0, 10.0 for the R-network" in page and "Firing" not in page
    assert "seeds 0, 1, revision" in page and iio.imread(tmp_path / "curves.png").std() > 5
