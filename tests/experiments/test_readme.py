"""Every command and every piece of code that the README shows does what it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from peg_jax.peg import goals

README = Path(__file__).parents[2] / "README.md"

# What is tested is the command, not the quarter of an hour that the default preset takes.
SHORT = {"python -m experiments.peg --env=point_maze": ["--preset=smoke", "--steps=400", "--logdir=runs/default"]}
TARGETS = re.compile(r"^make (\w+)", re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("python ")]


def test_commands_work_in_the_order_shown(tmp_path: Path) -> None:
    shown = commands()
    assert len(shown) >= 5
    for line in shown:
        words = shlex.split(line)[1:] + SHORT.get(line, [])
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"


def test_make_targets_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    shown = [name for block in blocks("bash") for name in TARGETS.findall(block)]
    assert {"run", "test"} <= set(shown)
    assert [name for name in shown if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goals, "STRATEGIES", dict(goals.STRATEGIES))
    scope = {"jax": None, "GoalStrategy": goals.GoalStrategy, "STRATEGIES": goals.STRATEGIES, "_keep": goals._keep}
    shown = blocks("python")
    assert len(shown) == 2
    for block in shown:
        exec(compile(block, str(README), "exec"), scope)
    assert "corner" in goals.STRATEGIES
