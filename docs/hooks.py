"""What mkdocs does beside reading the pages under `docs/`.

Pages are read on the forge and here, where `benchmarks/` lies within `docs/`: links between the two start one folder
lower here. One more page is made from the figures that lie there as JSON, so that it cannot differ from them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HEAD = """# All figures

Every number of the measurements of speed in `benchmarks/`, under the names that it has there, with what was run on what
machine; what was learned has pages of its own.
[Speed](README.md) says what they mean.
"""


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Called by mkdocs for each page."""
    del kwargs
    markdown = re.sub(r"\]\(((?:\.\./)+)docs/", r"](\1", markdown)  # of benchmarks/
    return re.sub(r"\]\(\.\./((?:\.\./)*benchmarks/)", r"](\1", markdown)  # of docs/


def on_files(files: Files, config: Any) -> Files:
    """Called by mkdocs once all pages are found."""
    sections = [_section(path) for path in sorted(BENCHMARKS.glob("*.json"))]
    files.append(File.generated(config, "benchmarks/figures.md", content="\n".join([HEAD, *sections])))
    return files


def _section(path: Path) -> str:
    figures = json.loads(path.read_text())
    machine = figures.pop("machine", {})
    figures.pop("options", None)  # the command says them
    facts = [machine.get("command", "").removeprefix(".venv/bin/"), f"{machine.get('cpu_count')} CPU cores"]
    facts += [f"jax {machine.get('packages', {}).get('jax')}", f"revision {str(machine.get('git_revision'))[:10]}"]
    said = "; ".join(f"`{fact}`" for fact in facts if fact)
    rows = [f"| `{name}` | {value} |" for name, value in _leaves(figures)]
    return "\n".join([f"## {path.stem}", "", f"{said}.", "", "| figure | value |", "|---|---|", *rows, ""])


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers and texts by dotted name."""
    if not isinstance(tree, dict | list) or (tree and isinstance(tree, list) and not isinstance(tree[0], dict)):
        yield name, f"{tree:,}" if type(tree) is int else tree
        return
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from _leaves(value, f"{name}.{key}".lstrip("."))
