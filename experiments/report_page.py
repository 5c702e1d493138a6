"""The HTML of a report. All text is escaped, and the page's own policy forbids scripts and anything from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from experiments.labels import counted

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
h2 { border-top: 1px solid var(--line); margin-top: 3rem; padding-top: 1rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 13px; }
th, td { text-align: left; padding: .25rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: break-word; max-width: 46rem; }
thead th { background: var(--soft); }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
figcaption { font-size: 13px; opacity: .8; }
code, pre { font-size: 12px; }
.media { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 1rem; }
.note { background: var(--soft); padding: .5rem 1rem; overflow-wrap: anywhere; }
summary { cursor: pointer; margin: .5rem 0; }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Figure(NamedTuple):
    """A picture that lies in the page."""

    address: str  # data:image/...
    width: int  # pixels
    height: int
    title: str
    caption: str


class RunView(NamedTuple):
    """What is shown of a run."""

    name: str
    facts: Mapping[str, str]
    figures: Sequence[Figure]
    notes: Sequence[str]
    starts: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]


def render_page(curves: Mapping[str, Figure], runs: Sequence[RunView], left_out: Sequence[str]) -> str:
    """The page: an overview, curves by task, then a section per run."""
    overview = _table(["run", *runs[0].facts], [[view.name, *view.facts.values()] for view in runs])
    drawn = "".join(f"<h2>{escape(task)}: curves</h2>{_figure(figure)}" for task, figure in curves.items())
    sections = "".join(_run(view) for view in runs)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{counted(len(runs), 'run')}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{counted(len(runs), 'run')}</h1>{overview}{_notes(left_out)}{drawn}{sections}</body></html>\n"
    )


def _run(view: RunView) -> str:
    wide = [figure for figure in view.figures if figure.width > 900]
    small = [figure for figure in view.figures if figure.width <= 900]
    pictures = "".join(map(_figure, wide)) + f'<div class="media">{"".join(map(_figure, small))}</div>'
    facts = _table(list(view.facts), [list(view.facts.values())])
    return (
        f"<section><h2>{escape(view.name)}</h2>{facts}{_notes(view.notes)}{pictures}"
        f"{_folded('Machine, versions and command of each start', _starts(view.starts))}"
        f"{_folded('All options', _table(['option', 'value'], view.options.items()))}</section>\n"
    )


def _starts(starts: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for start in starts for name in start))
    return _table(["", *map(str, range(1, len(starts) + 1))], [[n, *(_plain(s.get(n)) for s in starts)] for n in names])


def _plain(value: Any) -> str:
    """A record's value in words; of packages their names and versions."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)


def _figure(figure: Figure) -> str:
    size = f'width="{figure.width}" height="{figure.height}"'
    image = f'<img src="{escape(figure.address)}" {size} alt="{escape(figure.title)}">'
    return f"<figure>{image}<figcaption><b>{escape(figure.title)}</b> {escape(figure.caption)}</figcaption></figure>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _notes(lines: Sequence[str]) -> str:
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)
