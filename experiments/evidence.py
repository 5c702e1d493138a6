"""Turn runs into evidence: `python -m experiments.evidence --runs runs/a runs/b --output=benchmarks/point_maze`.

Runs are grouped by preset and method into `<preset>_<method>.json`, those that began with the replay of another into
`<preset>_<method>_from_<its name>.json`; the page and its curves are made from all such
files in the folder, so they can be made again from committed data alone (no `--runs`).
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments import random_policy
from experiments.cli import main, parse
from experiments.config import MAY_CHANGE, RunConfig, make_env, validate_names
from experiments.evidence_page import Evidence, write_page
from experiments.labels import changed_options, name_of_seeds
from experiments.logs import TIMING, read_wall_seconds
from experiments.options import read_options
from experiments.presets import preset
from experiments.success import CLOSEST, RANDOM_POLICY
from peg_jax.core.config import require
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError, write_json
from peg_jax.run.metrics import read_metrics

OTHER_RUNS = ("--r-network=", "--replay-from=")
SHOWN, ALL = "max_eval_metric_", "/goal_all"  # around a metric's name in the logs


@dataclasses.dataclass(frozen=True)
class EvidenceConfig:
    """Collect finished or interrupted runs, and write the page and the curves."""

    runs: tuple[str, ...] = ()  # run directories to add
    output: str = "runs/evidence"  # folder of the evidence, one JSON file per preset and method


def label(config: RunConfig) -> str:
    """The method, and the options by which the run differs from the method's defaults.

    Replays of runs that differ in a number at the end of their name, as seeds do, count as one.
    """
    config = dataclasses.replace(config, replay_from=_origin(config))
    return changed_options(config, preset(RunConfig, config.preset, config.env, config.method), MAY_CHANGE)


def _origin(config: RunConfig) -> str:
    return name_of_seeds(Path(config.replay_from).name)


def collect(directory: RunDirectory) -> tuple[str, Evidence]:
    """Name and evidence of one run.

    Raises:
        RunError: no run there, or one without an evaluation.
    """
    config, start = read_options(directory, RunConfig), directory.read_starts()[-1]
    wall = read_wall_seconds(directory.path / TIMING)
    seeds = [
        {"seed": config.seed + index} | _evaluations(path / "metrics.jsonl", wall)
        for index, path in enumerate(directory.seed_directories())
    ]
    evidence = {
        "env": config.env,
        "options": label(config),
        "command": portable(start["command"]),
        "revision": start["git_revision"],
        "machine": {name: start[name] for name in ("cpu_count", "backend", "device_kind", "python")}
        | {"jax": start["packages"]["jax"]},
        "seeds": seeds,
    }
    kind = f"{config.preset}_{config.method}"
    return f"{kind}_from_{_origin(config)}" if config.replay_from else kind, evidence


def _evaluations(path: Path, wall: dict[int, float]) -> Evidence:
    """One entry per evaluation: environment steps, updates, seconds and success per goal."""
    series = read_metrics(path)
    known = [name[len(SHOWN) : -len(ALL)] for name in series if name.startswith(SHOWN) and name.endswith(ALL)]
    if not known:
        raise RunError(f"{path} has no evaluation yet")
    steps = [int(step) for step in series[f"{SHOWN}{known[0]}{ALL}"].steps if int(step) in wall]
    if not steps:
        raise RunError(f"{path} has no evaluation of which the time is known yet")
    updates = dict(zip(series["updates"].steps.tolist(), series["updates"].values.tolist(), strict=True))
    found: Evidence = {
        "env_steps": steps,
        "updates": [int(updates[step]) for step in steps],
        "wall_seconds": [wall[step] for step in steps],
    }
    prefixes = {metric: f"{SHOWN}{metric}" for metric in sorted(known)} | {CLOSEST: "eval_closest"}
    for metric, prefix in prefixes.items():
        goals = [name for name in series if name.startswith(f"{prefix}/goal_") and name[-1].isdigit()]
        goals.sort(key=lambda name: int(name.rpartition("_")[2]))
        if goals and set(steps) <= set(series[goals[0]].steps.tolist()):  # earlier versions logged no `closest`
            table = np.stack([series[name].values for name in goals], axis=1)
            found[metric] = np.round(table[np.isin(series[goals[0]].steps, steps)], 4).tolist()
    return found


def portable(command: str) -> str:
    """The command as a reader would type it: no interpreter's path, no run directory, that of another under `runs`."""
    words = command.split(" ")
    words = ["python", *words[words.index("-m") :]] if "-m" in words else words
    words = [_elsewhere(word) if word.startswith(OTHER_RUNS) else word for word in words]
    return " ".join(word for word in words if not word.startswith("--logdir"))


def _elsewhere(word: str) -> str:
    option, _, path = word.partition("=")
    return f"{option}=runs/{Path(path).name}"


def add(folder: Path, name: str, evidence: Evidence) -> None:
    """Put a run's seeds into `<name>.json`, in place of earlier ones of the same number, each with the run's command.

    Raises:
        RunError: the file is of another revision or of other options; such seeds cannot stand beside these.
    """
    path = folder / f"{name}.json"
    earlier = _read(path) if path.exists() else evidence
    for what in ("revision", "options"):
        if earlier.get(what, evidence[what]) != evidence[what]:  # earlier versions did not note the options
            raise RunError(f"{path} is of {what} {earlier[what]}, this run of {evidence[what]}; remove the file")
    added = [seed | {"command": evidence["command"]} for seed in evidence["seeds"]]
    seeds = {seed["seed"]: seed for seed in (*earlier["seeds"], *added)}
    first = min(evidence, earlier, key=lambda content: content["seeds"][0]["seed"])
    write_json(path, first | {"seeds": [seeds[number] for number in sorted(seeds)]})


def _read(path: Path) -> Evidence:
    evidence: Evidence = json.loads(path.read_text())
    return evidence


def run(arguments: Sequence[str]) -> int:
    """Collect and write as the command line says; returns the exit code."""
    options = parse(EvidenceConfig, arguments, EvidenceConfig())
    folder = Path(options.output)
    for path in options.runs:
        directory = RunDirectory(path)
        require(directory.exists(), "runs", path, "there is no run; it should hold a config.json")
        config = read_options(directory, RunConfig)
        validate_names(config)
        name, evidence = collect(directory)
        folder.mkdir(parents=True, exist_ok=True)
        add(folder, name, evidence | {"goal_groups": make_env(config)[0].goal_groups})
    if options.runs:
        control = random_policy.play(RunDirectory(options.runs[0]).read_config_as(RunConfig))
        write_json(folder / f"{RANDOM_POLICY}.json", control)
    Console().print(f"page   {write_page(folder)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
