"""What the terminal shows while a run works: progress, compile times, the size of the state."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from peg_jax.run import processes

RATE_WINDOW = 60.0  # seconds over which speeds are averaged


class ProgressBar:
    """Progress of a run in environment steps; a context manager.

    On a terminal a live bar, elsewhere (a file, a batch job's log) a plain line at most every `plain_interval` seconds
    and one at the end. Speeds are means over the last minute, so that compilation and evaluation fade out.
    """

    def __init__(
        self,
        description: str,
        total_steps: int,
        start_step: int = 0,
        console: Console | None = None,
        plain_interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is shown before the block is entered.

        Args:
          description: shown first, the method and environment say.
          total_steps: environment steps of the whole run.
          start_step: steps done by an earlier start of the run; they do not count as speed.
          console: where to print; None is the standard output.
          plain_interval: seconds between plain lines.
          clock: seconds, monotonic.
        """
        self._description, self._total, self._clock = description, total_steps, clock
        self._console = console or Console()
        self._interval = plain_interval
        self._began = self._printed = clock()
        self._history = deque([(self._began, start_step, 0)])  # (seconds, environment steps, updates)
        self._success: float | None = None
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            expand=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(description, total=total_steps, completed=start_step, status=self._status())

    def update(self, step: int, updates: int, success: float | None = None) -> None:
        """Show the state of the run.

        Args:
          step: environment steps so far, in all.
          updates: gradient updates since the block was entered.
          success: latest success rate of an evaluation, 0 to 1; None leaves the last one.
        """
        now = self._clock()
        self._success = self._success if success is None else success
        self._history.append((now, step, updates))
        while len(self._history) > 2 and self._history[1][0] <= now - RATE_WINDOW:
            self._history.popleft()
        self._bar.update(self._task, completed=step, status=self._status())
        if self._bar.disable and now - self._printed >= self._interval:
            self._print_line()

    @property
    def steps_per_second(self) -> float:
        """Environment steps per second over the last minute; 0 before the first update."""
        return self._rate(1)

    @property
    def updates_per_second(self) -> float:
        """Gradient updates per second over the last minute; 0 before the first update."""
        return self._rate(2)

    def _rate(self, column: int) -> float:
        first, last = self._history[0], self._history[-1]
        return (last[column] - first[column]) / (last[0] - first[0]) if last[0] > first[0] else 0.0

    def _status(self) -> str:
        # The last epoch may end beyond the total.
        left, speed = max(0, self._total - self._history[-1][1]), self.steps_per_second
        eta = format_duration(left / speed) if speed > 0 else "?"
        success = "-" if self._success is None else f"{self._success:.2f}"
        return f"{speed:,.0f} steps/s  {self.updates_per_second:,.1f} updates/s  success {success}  ETA {eta}"

    def _print_line(self) -> None:
        done = min(1.0, self._history[-1][1] / max(self._total, 1))
        self._printed = self._clock()
        print_line(
            self._console,
            f"{self._description}  {100 * done:.0f}% of {self._total:,} steps  {self._status()}  "
            f"elapsed {format_duration(self._printed - self._began)}",
        )

    def __enter__(self) -> "ProgressBar":
        self._began = self._printed = self._clock()
        self._history[-1] = (self._began, *self._history[-1][1:])
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._bar.disable:
            self._print_line()


@dataclass
class Elapsed:
    """Duration of a block; `seconds` is final once the block has ended."""

    seconds: float = 0.0


@contextmanager
def compiling(label: str, console: Console | None = None) -> Iterator[Elapsed]:
    """Show that `label` is being compiled and for how long, then leave one line with the time it took.

    On a terminal a spinner with running seconds, elsewhere a line before and a line after.
    """
    console = console or Console(quiet=not processes.writes())
    elapsed, began = Elapsed(), time.monotonic()
    if not console.is_terminal:
        print_line(console, f"compiling {label} ...")
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as spinner:
        spinner.add_task(f"compiling {label}", total=None)
        yield elapsed
    elapsed.seconds = time.monotonic() - began
    print_line(console, f"compiled {label} in {elapsed.seconds:.1f} s")


def state_bytes(tree: Any) -> dict[str, int]:
    """Return the bytes of each top-level field of a pytree, in order; arrays or what `jax.eval_shape` gives."""
    sizes: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path[:1], simple=True) or "state"
        sizes[name] = sizes.get(name, 0) + leaf.size * leaf.dtype.itemsize
    return sizes


def state_table(tree: Any, num_seeds: int) -> Table:
    """Return a table, for `Console.print`, of what the state of one seed occupies and of all seeds together."""
    table = Table("field", title="state in memory", title_justify="left")
    table.add_column("one seed", justify="right")
    table.add_column(f"x {num_seeds} seeds", justify="right")
    sizes = state_bytes(tree)
    for name, size in sizes.items():
        table.add_row(name, format_bytes(size), format_bytes(size * num_seeds))
    table.add_section()
    total = sum(sizes.values())
    table.add_row("total", format_bytes(total), format_bytes(total * num_seeds))
    return table


def format_bytes(count: float) -> str:
    """Return `count` bytes in the largest binary unit that leaves at least 1, such as "1.5 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_duration(seconds: float) -> str:
    """Return hours, minutes and seconds, such as "1:02:03"."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def print_line(console: Console, line: str) -> None:
    """Print a line as it is: a log has no width to wrap at, and a label may hold brackets."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
