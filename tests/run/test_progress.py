"""Progress on a terminal and in a log, compile timer, sizes."""

import io

import jax
import jax.numpy as jnp
import pytest
from flax import struct
from rich.console import Console

from peg_jax.run.progress import ProgressBar, compiling, format_bytes, format_duration, state_bytes, state_table


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=160), out


def test_plain_lines_come_at_most_every_interval() -> None:
    console, out = make_console()
    clock = Clock()
    with ProgressBar("peg [point]", 1000, console=console, plain_interval=10, clock=clock) as bar:
        for second in range(1, 26):
            clock.now = second
            bar.update(step=second * 20, updates=second * 8, success=0.25 if second == 3 else None)
        assert bar.steps_per_second == pytest.approx(20) and bar.updates_per_second == pytest.approx(8)
    lines = out.getvalue().splitlines()
    assert len(lines) == 3  # after 10 and 20 seconds, and at the end
    assert lines[-1] == (
        "peg [point]  50% of 1,000 steps  20 steps/s  8.0 updates/s  success 0.25  ETA 0:00:25  elapsed 0:00:25"
    )


def test_speed_forgets_a_slow_start_and_an_earlier_run() -> None:
    clock = Clock()
    console, _ = make_console()
    with ProgressBar("peg", 10_000, start_step=5000, console=console, clock=clock) as bar:
        assert bar.steps_per_second == 0
        for now, step in ((500, 5010), (540, 5410), (580, 5810), (620, 6210)):
            clock.now = now
            bar.update(step, updates=0)
        assert bar.steps_per_second == pytest.approx(10)


def test_a_last_epoch_beyond_the_total_is_neither_more_than_all_nor_in_the_past() -> None:
    console, out = make_console()
    clock = Clock()
    with ProgressBar("peg", 1000, console=console, clock=clock) as bar:
        clock.now = 10.0
        bar.update(step=1020, updates=40)
    assert "100% of 1,000 steps" in out.getvalue()
    assert "ETA 0:00:00" in out.getvalue()


def test_live_bar_shows_the_columns() -> None:
    console, out = make_console(terminal=True)
    clock = Clock()
    with ProgressBar("peg", 1000, console=console, clock=clock) as bar:
        clock.now = 2.0
        bar.update(step=370, updates=40, success=0.5)
    text = out.getvalue()
    for part in ("peg", "37%", "185 steps/s", "20.0 updates/s", "success 0.50", "ETA 0:00:03"):
        assert part in text


@pytest.mark.parametrize("terminal", [False, True])
def test_compiling_reports_time(terminal: bool) -> None:
    console, out = make_console(terminal)
    with compiling("epoch [smoke]", console) as elapsed:
        jax.block_until_ready(jnp.ones(3) + 1)
    assert elapsed.seconds > 0
    assert "compiling epoch [smoke]" in out.getvalue() and "compiled epoch [smoke] in" in out.getvalue()


@struct.dataclass
class State:
    replay: dict[str, jax.Array]
    key: jax.Array


def make_state() -> State:
    return State({"obs": jnp.zeros((100, 2)), "done": jnp.zeros(100, bool)}, jax.random.key(0))


def test_state_bytes_by_field_without_allocating() -> None:
    assert state_bytes(jax.eval_shape(make_state)) == state_bytes(make_state()) == {"replay": 900, "key": 8}
    console, out = make_console()
    console.print(state_table(jax.eval_shape(make_state), num_seeds=8))
    assert "7.0 KiB" in out.getvalue() and "x 8 seeds" in out.getvalue() and "total" in out.getvalue()


def test_formats() -> None:
    sizes = [format_bytes(n) for n in (0, 1023, 1536, 3 * 2**30, 2**45)]
    assert sizes == ["0 B", "1023 B", "1.5 KiB", "3.0 GiB", "32.0 TiB"]
    assert format_duration(3723.9) == "1:02:03"
