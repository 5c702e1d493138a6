"""What the README shows works: its code, its commands in the order shown, its make targets."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from peg_jax.peg.methods import METHODS

README = Path(__file__).parents[2] / "README.md"
# Of the default preset the command is tested, not the quarter of an hour that it takes.
SHORT = {"python -m experiments.peg --env=point_maze": ["--preset=smoke", "--steps=400", "--logdir=runs/default"]}
TARGETS = re.compile(r"^make (\w+)", re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_make_targets_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    shown = [name for block in blocks("bash") for name in TARGETS.findall(block)]
    assert {"run", "test"} <= set(shown)
    assert [name for name in shown if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "corner", METHODS["peg"])  # undone afterwards
    scope: dict[str, object] = {}
    shown = blocks("python")
    assert len(shown) == 2
    for block in shown:
        exec(compile(block, str(README), "exec"), scope)
    assert METHODS["corner"].strategy.choose.__name__ == "corner"


def test_commands_work_in_the_order_shown(tmp_path: Path) -> None:
    lines = [line.split("#")[0].strip() for line in README.read_text().splitlines() if line.startswith("python ")]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line)[1:] + SHORT.get(line, [])
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
