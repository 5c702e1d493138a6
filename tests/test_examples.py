"""The cluster examples: what their schedulers would accept, and that their commands are commands of ours."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from experiments.cli import parse_run
from experiments.config import RunConfig
from peg_jax.core.config import ConfigError
from peg_jax.run.files import DiskError, NumbersError, RunError
from peg_jax.run.signals import EXIT_CODES

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((EXAMPLES / name).read_text())


def options_of(line: str) -> RunConfig:
    """What the `experiments.peg` in a shell line asks for, as seed 3."""
    words = shlex.split(re.sub(r"\$(JOB_COMPLETION_INDEX|SEED)", "3", line))
    return parse_run(RunConfig, words[words.index("experiments.peg") + 1 :])[0]


def test_kubernetes_accepts_the_job() -> None:
    job = load("kubernetes/seeds.yaml")
    kubernetes_validate.validate(job, "1.33", strict=True)
    job["spec"]["podFailurePolicy"]["rules"][0]["onExitCode"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):  # strict means strict
        kubernetes_validate.validate(job, "1.33", strict=True)


def test_the_job_answers_exit_codes_as_they_are_meant() -> None:
    spec = load("kubernetes/seeds.yaml")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    rules = [rule for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert {rule["onExitCodes"]["containerName"] for rule in rules} == {container["name"]}
    actions = {code: rule["action"] for rule in rules for code in rule["onExitCodes"]["values"]}
    sigterm = {name.name: code for name, code in EXIT_CODES.items()}["SIGTERM"]
    assert actions == {sigterm: "Ignore", NumbersError.exit_code: "FailIndex", RunError.exit_code: "FailJob"}
    assert DiskError.exit_code not in actions  # counts as a failure, of which an index may have a few
    config = options_of(container["args"][0])
    assert (config.env, config.seed, config.logdir) == ("point_maze", 3, "/runs/point_maze_peg_seed3")


def test_the_sky_task_runs_our_command_again_after_sigterm() -> None:
    task = load("skypilot/seeds.yaml")
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [
        code for name, code in EXIT_CODES.items() if name.name == "SIGTERM"
    ]
    config = options_of(task["run"])
    assert config.seed == 3 and config.logdir.startswith(next(iter(task["file_mounts"])))
    with pytest.raises(ConfigError):
        options_of(task["run"].replace("--seed", "--sead"))


def test_skypilot_accepts_the_task() -> None:
    """By the schemas that its client uses, as `tests/golden/make_skypilot.py` took them from it."""
    schemas = json.loads((Path(__file__).parent / "golden" / "skypilot_schemas.json").read_text())
    task = load("skypilot/seeds.yaml")
    jsonschema.validate(task, schemas["task"])
    jsonschema.validate(task["resources"], schemas["resources"])
    for mount in task["file_mounts"].values():
        jsonschema.validate(mount, schemas["storage"])
    task["file_mount"] = task.pop("file_mounts")
    with pytest.raises(jsonschema.ValidationError, match="file_mount"):
        jsonschema.validate(task, schemas["task"])
