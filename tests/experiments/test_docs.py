"""What the README and the documentation show works: code, make targets, links; the commands have their own file."""

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from experiments import curiosity_evidence, evidence
from experiments.cli import parse
from experiments.compare import CompareConfig
from experiments.config import RunConfig
from experiments.curiosity_config import CuriosityRunConfig
from experiments.evaluate import EvaluateConfig
from experiments.export import ExportConfig
from experiments.programs import PROGRAMS
from experiments.sweep_runs import SweepConfig
from experiments.visualize_curiosity import VisualizeConfig
from peg_jax.peg.methods import METHODS
from peg_jax.run.config_json import encode, flatten
from tests.experiments.pages import BENCHMARKS, DOCS, GUIDES, PAGES, README, ROOT, blocks, commands, mentioned, options
from tests.experiments.shown import ELSEWHERE, SHORT

TARGETS = re.compile(r"^make (\w+)", re.MULTILINE)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shown = {name for page in PAGES for block in blocks(page, "bash") for name in TARGETS.findall(block)}
    assert {"run", "test"} <= shown
    assert [name for name in shown if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_code_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("corner", "furthest"):
        monkeypatch.setitem(METHODS, name, METHODS["peg"])  # undone afterwards
    scope: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), scope)
    assert len(scope) > 3


SCENARIOS = ("sparse", "verysparse", "sparseplusdoors", "noreward", "norewardnofire", "dense1", "dense2")
OTHERS = list(dict.fromkeys(command for page in (*PAGES, *BENCHMARKS) for command in mentioned(page)))


@pytest.mark.parametrize("command", OTHERS)
def test_what_is_only_mentioned_is_understood(command: str) -> None:
    """Commands that take too long, or other machines, to be run by a test."""
    _, _, module, *arguments = shlex.split(command)
    name = module.removeprefix("experiments.")
    if name in PROGRAMS:
        PROGRAMS[name].parse(arguments)
        return
    kinds = vars(importlib.import_module(module)).items()
    (kind,) = (kind for title, kind in kinds if title.endswith("Config") and kind.__module__.startswith(module))
    parse(kind, [word for word in arguments if word != "--help"], kind())


def test_commands_that_are_run_at_a_small_size_are_those_of_pages() -> None:
    shown = {*commands(), *(command for page in GUIDES for command in mentioned(page))}
    assert shown >= {*SHORT, *ELSEWHERE}


KINDS = (RunConfig, CuriosityRunConfig, SweepConfig, CompareConfig, EvaluateConfig, ExportConfig, VisualizeConfig)


@pytest.mark.parametrize("page", [page for page in GUIDES if options(page)], ids=lambda page: page.stem)
def test_options_that_are_mentioned_exist_and_take_their_values(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they are options of one program, or name a group of such; those of PEG are parsed."""
    for name in ("corner", "furthest"):
        monkeypatch.setitem(METHODS, name, METHODS["peg"])
    programs = [[f"{name.replace('_', '-')}." for name in flatten(encode(kind()))] for kind in KINDS]
    for line in options(page):
        words = shlex.split(re.sub("=(N|<.*>)$", "=2", line))
        named = [
            re.sub(r"(^|\.)no-", r"\1", word[2:].split("=")[0].removesuffix(".*")) for word in words if word[0] == "-"
        ]
        fits = [all(any(one.startswith(f"{name}.") for one in known) for name in named) for known in programs]
        assert any(fits), line
        if fits[0] and "=" in line and page in (README, DOCS / "peg.md"):  # others speak of other machines and tasks
            PROGRAMS["peg"].parse(words)


@pytest.mark.parametrize("index", [0, 22 + 1, 2 * 22 + 2, 3 * 22 + 11, 4 * 22 + 12, 153])
def test_the_programs_of_a_study_are_those_that_fit_an_accelerator(index: int) -> None:
    (script,) = blocks(ROOT / "docs" / "how-to" / "study.md", "sh")
    shown = script.replace("exec python", "echo python")
    done = subprocess.run(["sh", "-c", shown], env={"JOB_COMPLETION_INDEX": str(index)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    program = PROGRAMS["episodic_curiosity"]
    config = program.parse(shlex.split(done.stdout)[3:])
    assert config.scenario == SCENARIOS[index // 22] and config.logdir.endswith(f"{config.scenario}_{index % 22}")
    assert (config.num_seeds, config.seed) == ((10, 0) if index % 22 < 2 else (1, (index % 22 - 2) % 10))
    assert program.state_bytes(config) < 40 * 2**30


@pytest.mark.parametrize(
    ("folder", "program"),
    [
        *((name, evidence) for name in ("point_maze", "point_maze_again", "point_maze_256")),
        ("maze3d", curiosity_evidence),
    ],
)
def test_the_page_of_evidence_is_what_its_program_writes(folder: str, program: ModuleType, tmp_path: Path) -> None:
    committed = ROOT / "benchmarks" / folder
    again = shutil.copytree(committed, tmp_path / folder)
    assert program.run([f"--output={again}"]) == 0
    assert (again / "README.md").read_text() == (committed / "README.md").read_text()


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    words = ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "api" / "peg" / "index.html").read_text()
    assert "peg_jax.peg.planner.search" in page
    figures = (tmp_path / "benchmarks" / "figures" / "index.html").read_text()
    measured = json.loads((ROOT / "benchmarks" / "speed_cpu.json").read_text())["env"]["steps_per_second"]
    assert f"{measured:,}" in figures
