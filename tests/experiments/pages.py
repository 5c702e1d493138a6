"""The pages a reader sees, and what they show."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INCOMPLETE = re.compile(r"[$…<]|\.\.\.")  # marks of a command with places to be filled in
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md")), *sorted((DOCS / "how-to").glob("*.md"))]
GUIDES = [page for page in PAGES if page.stem != "lab_notes"]  # the others are records of earlier versions
BENCHMARKS = [*sorted((ROOT / "benchmarks").glob("**/*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands() -> list[str]:
    """All lines that start a program, each once, without their remarks; the README's come first."""
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()]
    return list(dict.fromkeys(line.split(" #")[0].strip() for line in lines if line.startswith("python ")))


def inline(page: Path) -> list[str]:
    """What stands in code within a page's sentences."""
    sentences = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", sentences)]


def options(page: Path) -> list[str]:
    """What a page's sentences name of command lines, each beginning with an option."""
    return [found for found in inline(page) if found.startswith("--")]


def mentioned(page: Path) -> list[str]:
    """Every other command of a page that is complete: in blocks that no test runs, and within sentences."""
    text = re.sub(r"```bash\n.*?```", "", page.read_text(), flags=re.DOTALL)
    fences = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for fence in fences for line in fence.replace("\\\n", " ").splitlines()]
    found = [" ".join(command.split(" #")[0].split()) for command in (*lines, *inline(page))]
    return [
        command for command in found if command.startswith("python -m experiments.") and not INCOMPLETE.search(command)
    ]
