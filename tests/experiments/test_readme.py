"""The code that the README shows runs, and its make targets exist; its commands are in `test_end_to_end.py`."""

import re
from pathlib import Path

import pytest

from peg_jax.peg.methods import METHODS

README = Path(__file__).parents[2] / "README.md"

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
