"""Pages under `benchmarks/` are read on the forge and here: links into `docs/` start one folder lower here."""

from typing import Any


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Called by mkdocs for each page."""
    del kwargs
    return markdown.replace("](../docs/", "](../")
