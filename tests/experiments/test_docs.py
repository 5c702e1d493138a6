"""What the README and the documentation show works: code, commands in the order shown, make targets, links."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from peg_jax.peg.methods import METHODS

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md")), *sorted((DOCS / "how-to").glob("*.md"))]
# Of the default preset the command is tested, not the quarter of an hour that it takes.
SHORT = {"python -m experiments.peg --env=point_maze": ["--preset=smoke", "--steps=400", "--logdir=runs/default"]}
TARGETS = re.compile(r"^make (\w+)", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands() -> list[str]:
    """All lines that start a program, each once, without their remarks; the README's come first."""
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()]
    return list(dict.fromkeys(line.split(" #")[0].strip() for line in lines if line.startswith("python ")))


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


@pytest.mark.slow
def test_commands_work_in_the_order_shown(tmp_path: Path) -> None:
    assert len(commands()) >= 9
    for line in commands():
        words = shlex.split(line)[1:] + SHORT.get(line, [])
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    words = ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "api" / "peg" / "index.html").read_text()
    assert "peg_jax.peg.planner.search" in page
