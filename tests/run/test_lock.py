"""RunLock: refused by name while its holder lives, taken over when it is dead, and the directory watched."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from peg_jax.run.files import DiskError, RunError
from peg_jax.run.lock import RunLock

HOLD = "import sys, pathlib; from peg_jax.run.lock import RunLock; lock = RunLock(pathlib.Path(sys.argv[1]))"
HOLD += "; lock.acquire(); print('held', flush=True); sys.stdin.read()"


def test_a_second_process_is_refused_and_a_dead_one_succeeded(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"in use by process {holder.pid} on {socket.gethostname()}"):
            RunLock(folder).acquire()
        holder.kill()
    lock = RunLock(folder)
    assert f"taking over from process {holder.pid} " in (lock.acquire() or "")
    lock.release()
    assert lock.acquire() is None  # given back in order: nothing to say
    lock.release()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_directory_that_vanishes_is_noticed(tmp_path: Path, replaced: bool) -> None:
    folder = tmp_path / "run"
    lock = RunLock(folder)
    lock.acquire()
    lock.check()
    shutil.rmtree(folder)
    if replaced:
        folder.mkdir()
        (folder / ".lock").touch()
    with pytest.raises(DiskError, match="was removed or replaced"):
        lock.check()
    lock.release()


def test_a_damaged_lock_file_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("{")
    lock = RunLock(tmp_path)
    assert lock.acquire() is None
    lock.release()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"cannot write .*file/run/\.lock: Not a directory"):
        RunLock(tmp_path / "file" / "run").acquire()
