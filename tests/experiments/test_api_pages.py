"""The API pages leave no module out, and the pages about `fast` none of the fields that it changes."""

import ast
import re
from pathlib import Path

import pytest

from experiments import curiosity_presets, presets
from tests.experiments.pages import DOCS, PAGES, ROOT

API = sorted((DOCS / "api").glob("*.md"))
SHOWN = {name for page in API for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)}
IMPORTED = re.compile(r"from experiments(?:\.(\w+) import| import (\w+))")
FOR_SOME = [changes for (preset, _), changes in presets.PRESETS_FOR.items() if preset == "fast"]


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def public(package: str) -> list[Path]:
    """Its modules, and its packages as far as they have something to say."""
    files = [file for file in sorted((ROOT / package).glob("**/*.py")) if re.match(r"__init__|[^_]", file.name)]
    return [file for file in files if file.stem != "__init__" or ast.get_docstring(ast.parse(file.read_text()))]


def is_shown(file: Path) -> bool:
    """A module may be shown by what is in it; a package's modules are no part of it here."""
    name = module_name(file)
    return name in SHOWN or (file.stem != "__init__" and any(shown.startswith(f"{name}.") for shown in SHOWN))


@pytest.mark.parametrize("package", ["peg_jax", "envs"])
def test_every_module_is_on_an_api_page(package: str) -> None:
    assert len(public(package)) > 30
    assert [module_name(file) for file in public(package) if not is_shown(file)] == []


def test_what_pages_and_notebooks_import_of_experiments_is_on_an_api_page() -> None:
    sources = [*PAGES, *sorted((ROOT / "notebooks").glob("*.ipynb"))]
    found = {a or b for source in sources for a, b in IMPORTED.findall(source.read_text())}
    assert {"config", "peg", "presets", "weights"} <= found
    assert sorted(name for name in found if f"experiments.{name}" not in SHOWN) == []


def test_every_api_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in API if f": api/{page.name}\n" not in navigation] == []


@pytest.mark.parametrize(
    ("page", "changes"),
    [
        ("fidelity", [presets.FAST, *FOR_SOME]),
        ("episodic_curiosity", [curiosity_presets.FAST, curiosity_presets.UNPAID["fast"]]),
    ],
)
def test_every_field_that_fast_changes_is_named_with_its_reason(page: str, changes: list[presets.Changes]) -> None:
    named = set(re.findall(r"`([^`\n]+)`", (DOCS / f"{page}.md").read_text()))
    fields = {field.removeprefix("agent.") for table in changes for field in table}
    assert len(fields) > 20
    assert sorted(fields - named) == []
