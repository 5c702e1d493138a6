"""What the README and the documentation show works: code, make targets, links; the commands have their own file."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from peg_jax.peg.methods import METHODS
from tests.experiments.pages import PAGES, ROOT, blocks

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
