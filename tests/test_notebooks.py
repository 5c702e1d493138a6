"""The notebooks run from top to bottom, at the size that they are committed with, and are committed with outputs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.experiments.processes import ENVIRONMENT

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """Kinds of the outputs of all cells."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [kind for cell in cells for output in cell.outputs for kind in output.get("data", {})]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One process for all notebooks, which imports once; its compiler makes what the commands' tests have made."""
    place = {"metadata": {"path": str(tmp_path_factory.mktemp("notebooks"))}}
    client = NotebookClient(nbformat.v4.new_notebook(), resources=place)
    with client.setup_kernel(env=ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{ENVIRONMENT.get('PYTHONPATH', '')}"}):
        yield client.km


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, kernel: Any) -> None:
    notebook = nbformat.read(path, as_version=4)
    committed = outputs(notebook)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # no names of the notebook before it
    NotebookClient(notebook, km=kernel, timeout=600).execute()
    assert committed.count("image/png") >= 1
    for kind in ("image/png", "image/gif"):
        assert outputs(notebook).count(kind) == committed.count(kind), kind


COLAB = """
import importlib.util, os, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.register_magic_function(lambda line: print("pip", line), magic_name="pip")
importlib.util.find_spec = lambda name: None
shell.run_cell(sys.argv[1]).raise_error()
print("in", os.path.basename(os.getcwd()), *sorted(os.listdir()))
"""


def test_the_first_cell_clones_the_repository_and_installs_from_it(tmp_path: Path) -> None:
    """All but the installation itself, of which its command is looked at."""
    cells = nbformat.read(NOTEBOOKS[0], as_version=4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    source = first.replace('repository = ""', f'repository = "file://{ROOT}"')
    command = [sys.executable, "-c", COLAB, source]
    environment = os.environ | {"IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    *_, pip, place = done.stdout.splitlines()
    assert pip == "pip install -q -e . -c constraints.txt"
    assert place.startswith("in peg_jax ") and {"constraints.txt", "pyproject.toml"} <= set(place.split())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_installs_and_nothing_committed_is_an_error_or_of_one_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    first, *_ = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "pip install" in first and "-c constraints.txt" in first
    others = [nbformat.read(other, as_version=4).cells for other in NOTEBOOKS]
    assert {next(c.source for c in cells if c.cell_type == "code") for cells in others} == {first}
    with pytest.raises(SystemExit, match="fill in the repository's address"):  # as where peg_jax is not installed
        exec(re.sub(r"^if importlib.*$|^ +[!%].*$", "", first, flags=re.M).replace("\n    ", "\n"))
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert shown and "error" not in [output.output_type for output in shown]
    assert "stderr" not in [output.get("name") for output in shown]
    text = path.read_text()
    assert len(text) < 400_000
    assert not re.search(rf"{Path.home()}|/tmp/|/work/|iopub", text)
