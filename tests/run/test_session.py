"""A process that is told to stop, killed, or left without its directory: what its successor finds."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from peg_jax.run.directory import RunDirectory

ROOT = Path(__file__).parents[2]
KILLS = 20


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A toy run, its lines read one by one."""
    command = [sys.executable, "-m", "tests.run.toy_run", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as running:
        try:
            yield running
        finally:
            running.kill()


def line(running: subprocess.Popen[str], begins: str = "") -> str:
    """The next line that begins so."""
    assert running.stdout is not None
    for text in running.stdout:
        if text.startswith(begins):
            return text.strip()
    raise AssertionError(f"ended without {begins!r}: {running.stderr.read() if running.stderr else ''}")


def command(running: subprocess.Popen[str]) -> None:
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()


def unfinished(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob(".writing-*")]


def test_twenty_kills_at_random_moments_lose_nothing_that_was_saved(tmp_path: Path) -> None:
    """Kills come soon after the start, some time after the first save, or as soon as another one has begun."""
    dice, logdir, saved = random.Random(0), tmp_path / "killed", 0
    mid_save = 0
    with process("--serve", str(logdir), "1000000", "0.0") as server:
        for kill in range(KILLS):
            command(server)
            pid = int(line(server, "pid ").split()[1])
            assert int(line(server, "at ").split()[1]) >= saved  # nothing older than the last save
            if kill % 3:
                saved = int(line(server, "saved ").split()[1])
            while kill % 3 == 2 and not unfinished(logdir / "checkpoints"):
                time.sleep(0.001)
            time.sleep(dice.uniform(0.0, 0.01 if kill % 3 == 2 else 0.3))
            os.kill(pid, signal.SIGKILL)
            while (text := line(server)) != "exit -9":
                saved = int(text.split()[1])
            mid_save += bool(unfinished(logdir / "checkpoints"))
            RunDirectory(logdir).read_starts()
    assert mid_save >= 4, mid_save
    assert saved > 0
    with process(str(logdir), str(saved // 10 + 2), "0") as last:
        assert last.wait() == 0
    with process(str(tmp_path / "whole"), str(saved // 10 + 2), "0") as whole:
        assert whole.wait() == 0
    assert (logdir / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert unfinished(logdir) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Runs whose epochs take two seconds."""
    logdir = tmp_path_factory.mktemp("signals") / "run"
    with process("--serve", str(logdir), "1000000", "2.0") as running:
        yield running, logdir


def start(server: tuple[subprocess.Popen[str], Path]) -> tuple[subprocess.Popen[str], int]:
    running, logdir = server
    shutil.rmtree(logdir, ignore_errors=True)
    command(running)
    pid = int(line(running, "pid ").split()[1])
    line(running, "saved 10")
    return running, pid


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [(signal.SIGTERM, "SIGTERM", 75), (signal.SIGUSR2, "SIGUSR2", 75), (signal.SIGINT, "Ctrl-C", 130)],
)
def test_a_signal_saves_and_leaves_with_its_code(
    server: tuple[subprocess.Popen[str], Path], number: int, name: str, code: int
) -> None:
    running, pid = start(server)
    os.kill(pid, number)
    said = time.monotonic()
    told = line(running, name)
    assert re.match(f"{name}: saving and leaving when this epoch is done, in at most [2-9] s; Ctrl-C", told)
    assert time.monotonic() - said < 1.9  # said at once, though the epoch goes on
    assert line(running, "saved") == "saved 20"
    assert line(running, "stopped") == "stopped and saved at 20 steps; resume with: the same again"
    assert line(running, "exit") == f"exit {code}"
    assert not (server[1] / ".lock").read_text()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_ctrl_c_leaves_at_once(server: tuple[subprocess.Popen[str], Path], first: int) -> None:
    running, pid = start(server)
    os.kill(pid, first)
    line(running, "SIGTERM" if first == signal.SIGTERM else "Ctrl-C")
    began = time.monotonic()
    os.kill(pid, signal.SIGINT)
    assert "leaving at once" in line(running, "Ctrl-C")
    assert line(running, "exit") == "exit 130"
    assert time.monotonic() - began < 1.9


def test_a_directory_that_vanishes_ends_the_run_with_one_line(tmp_path: Path) -> None:
    with process(str(tmp_path / "run"), "1000000", "0.2") as running:
        line(running, "saved 10")
        shutil.rmtree(tmp_path / "run")
        assert running.wait() == 74
        assert running.stderr is not None
        assert running.stderr.read().splitlines() == [
            f"error: {tmp_path / 'run'} was removed or replaced while the run was writing to it"
        ]
    assert not (tmp_path / "run").exists()
