"""The notebooks run from top to bottom, at the size that they are committed with, and are committed with outputs."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """Kinds of the outputs of all cells."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [kind for cell in cells for output in cell.outputs for kind in output.get("data", {})]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    notebook = nbformat.read(path, as_version=4)
    committed = outputs(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for kind in ("image/png", "image/gif"):
        assert outputs(notebook).count(kind) == committed.count(kind) >= 1, kind


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_installs_and_nothing_committed_is_an_error(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    first, *_ = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "pip install" in first and "-c constraints.txt" in first
    kinds = [output.output_type for cell in notebook.cells for output in cell.get("outputs", [])]
    assert kinds and "error" not in kinds
    assert str(Path.home()) not in path.read_text()
