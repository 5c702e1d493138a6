"""The page of the evidence about curiosity and its curves, from the JSON files in a folder."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from experiments.curiosity_places import AWAY
from experiments.evidence_page import shared_steps
from peg_jax.run.files import RunError
from peg_jax.run.plots import learning_curves

DISTANCES = ((0, 0), (1, 1), (2, 2), (3, 4), (5, 8), (9, 10_000))
"""Path lengths in cells, first and last of each row."""

Figures = dict[str, Any]


def write_page(folder: Path) -> Path:
    """Curves and tables of everything in the folder; returns the page's path.

    Raises:
        RunError: there is no evidence.
    """
    files = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    found: dict[str, Figures] = {name: content for name, content in files.items() if "measured_on" in content}
    if not found:
        raise RunError(f"{folder} holds no evidence; name runs with --runs")
    lines = [
        f"# {folder.name}",
        "",
        "Made by `python -m experiments.curiosity_evidence`. Test mazes, from which nothing learns; values are means",
        "over a run's seeds, with each seed's in brackets where there are several.",
        "",
        *_runs(found),
    ]
    if panels := _panels(found):
        learning_curves(folder / "curves.png", panels)
        lines += [
            "![curves](curves.png)",
            "",
            "*Evaluations in test mazes on the way, first of a network that has learned nothing: means over the seeds,",
            "bands of one standard deviation.*",
            "",
        ]
    for title, key, table in (
        ("Reward and coverage", "episodes", _episodes),
        ("What the R-network knows", "pairs", _pairs),
        ("The bonus at new places and at old ones", "places", _places),
        ("The bonus by distance from what was visited", "away", _away),
        ("Firing at a wall", "fire", _fire),
    ):
        some = {name: one for name, one in found.items() if key in one["seeds"][0]}
        if some:
            lines += [f"## {title}", "", *table(some), ""]
    page = folder / "README.md"
    page.write_text("\n".join(lines).rstrip() + "\n")
    return page


def _panels(found: dict[str, Figures]) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Curves by scenario and what it measures, of the evaluations that all seeds of a run made."""
    panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = defaultdict(dict)
    for name, one in found.items():
        curves = [seed["curve"] for seed in one["seeds"] if "curve" in seed]
        if curves:
            steps = np.array(shared_steps(curves))
            values = np.array([curve[one["metric"]][: len(steps)] for curve in curves])
            panels[f"{one['scenario']}: {one['metric']}"][name] = (steps, values)
    return panels


def _runs(found: dict[str, Figures]) -> list[str]:
    lines = []
    for name, one in found.items():
        machine = f"{one['machine']['cpu_count']} CPU cores, {one['machine']['device_kind']}"
        seeds = ", ".join(str(seed["seed"]) for seed in one["seeds"])
        first = one["seeds"][0]
        lines.append(
            f"* **{name}**: `{one['command']}`, {first['env_steps']:,} steps, {first['r_network_pairs']:,} pairs for "
            f"the R-network, seeds {seeds}, revision {one['revision'][:10]}, {machine}, jax {one['machine']['jax']}; "
            f"{_took(one['seeds'])}."
        )
    return [*lines, ""]


def _took(seeds: list[Figures]) -> str:
    parts = [_minutes(seeds, "minutes", "minutes"), _minutes(seeds, "r_network_minutes", "for the R-network")]
    return " and ".join(filter(None, parts)) or "not timed"


def _minutes(seeds: list[Figures], key: str, unit: str) -> str:
    timed = [f"{seed[key]:.1f}" for seed in seeds if seed.get(key)]
    return f"{', '.join(timed)} {unit}" if timed else ""


def _of(one: Figures, *path: str, digits: int = 2) -> str:
    """The mean of a figure over seeds, and each seed's."""
    values = []
    for seed in one["seeds"]:
        for key in path:
            seed = seed[key]
        values.append(float(seed))
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({', '.join(f'{value:.{digits}f}' for value in values)})"


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows)]


def _episodes(found: dict[str, Figures]) -> list[str]:
    heads = ["run", "reward", "of a random walk", "cells", "of a random walk"]
    rows = [
        [name, *(_of(one, "episodes", who, what) for what in ("reward", "cells") for who in ("policy", "random_walk"))]
        for name, one in found.items()
    ]
    return _table(heads, rows)


def _pairs(found: dict[str, Figures]) -> list[str]:
    heads = ["run", "pairs", "accuracy", "balanced", *(f"{_cells(row)}: similarity, accuracy" for row in DISTANCES)]
    rows = []
    for name, one in found.items():
        for key, told in (("pairs", name), ("untrained_pairs", f"{name}, not trained")):
            figures = [_of(one, key, figure) for figure in ("accuracy", "balanced_accuracy")]
            by_distance = [seed[key]["by_path_distance"] for seed in one["seeds"]]
            cells = [_told([row for row in alike if "accuracy" in row]) for alike in zip(*by_distance, strict=True)]
            rows.append([told, str(one["seeds"][0]["pairs"]["pairs"]), *figures, *cells])
    return [
        *_table(heads, rows),
        "",
        "Distances are cells of path between the two places; those columns are means over the seeds.",
    ]


def _told(rows: list[Figures]) -> str:
    """Mean similarity and accuracy of some seeds' pairs."""
    means = [np.mean([row[key] for row in rows]) for key in ("similarity", "accuracy")] if rows else []
    return ", ".join(f"{mean:.2f}" for mean in means) or "-"


def _cells(row: tuple[int, int]) -> str:
    low, high = row
    return str(low) if low == high else f"{low}-{high}" if high < 1000 else f"from {low}"


def _away(found: dict[str, Figures]) -> list[str]:
    heads = ["run", *(f"{_cells(row)} cells" for row in AWAY), "chance that the last pays more than the first", "steps"]
    rows = []
    for name, one in found.items():
        for key, told in (("away", name), ("untrained_away", f"{name}, not trained")):
            first = one["seeds"][0][key]["by_path_distance"]
            paid = [f"{row['bonus']:.3f}" if "bonus" in row else "-" for row in first]
            steps = ", ".join(str(row["steps"]) for row in first)
            known = all("unseen_is_higher" in seed[key] for seed in one["seeds"])
            rows.append([told, *paid, _of(one, key, "unseen_is_higher") if known else "-", steps])
    return [
        *_table(heads, rows),
        "",
        "The memory of the first half of a random walk judges the second, by cells of path to the nearest visited one;",
        "bonus and steps are of the first seed.",
    ]


def _places(found: dict[str, Figures]) -> list[str]:
    heads = ["run", "bonus entering a new cell", "returning to an old one", "chance that a new one pays more", "steps"]
    rows = []
    for name, one in found.items():
        first = one["seeds"][0]["places"]
        figures = [_of(one, "places", key, digits=3) for key in ("unseen", "seen", "unseen_is_higher")]
        rows.append([name, *figures, f"{first['unseen_steps']}, {first['seen_steps']}"])
    return _table(heads, rows)


def _fire(found: dict[str, Figures]) -> list[str]:
    heads = ["run", "first 20 steps", "later", "median later", "random walk", "its median"]
    keys = ("first_steps", "later", "later_median", "random_walk", "random_walk_median")
    return _table(heads, [[name, *(_of(one, "fire", key, digits=3) for key in keys)] for name, one in found.items()])
