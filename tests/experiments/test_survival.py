"""What a run survives, by the real command in real processes: signals, kills, damage, full disks, bad numbers."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments import peg
from peg_jax.run.checkpoint import CheckpointStore, _sha256_of_json
from peg_jax.run.files import RunError
from tests.experiments.processes import (
    ENVIRONMENT,
    ROOT,
    Ended,
    checkpoint,
    differing_leaves,
    ended,
    running,
    wait_for_checkpoint,
)

pytestmark = pytest.mark.slow
SMOKE = ["--preset=smoke", "--eval-every=200", "--checkpoint-every=200", "--media-every=0"]
ENDLESS = "--steps=1000000"
KILLS = int(os.environ.get("PEG_JAX_KILLS", "1"))  # kill -9 so many times; each costs a start of the command


def training(logdir: Path, *arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """The command at work."""
    return running("peg", f"--logdir={logdir}", *arguments)


def train(logdir: Path, *arguments: str) -> Ended:
    with training(logdir, *arguments) as process:
        return ended(process)


@dataclass
class Story:
    """A run that went through everything, and the same run left in peace."""

    survivor: Path
    whole: Path
    refused: str  # what a second process heard while the first was at work
    terminated: Ended
    vanished: Ended
    interrupted: Ended
    seconds_to_leave: float  # after the second Ctrl-C
    resumed: Ended  # the last process


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("story")
    survivor, whole = root / "survivor", root / "whole"
    with training(survivor, *SMOKE, ENDLESS) as process:
        wait_for_checkpoint(survivor, process)
        with pytest.raises(RunError) as error:
            peg.run([f"--logdir={survivor}", "--no-compilation-cache"])
        assert error.value.exit_code == 2
        refused = str(error.value)
        process.send_signal(signal.SIGTERM)
        terminated = ended(process)
    saved = CheckpointStore(survivor / "checkpoints").latest() or 0

    words = shlex.split(terminated.out.strip().splitlines()[-1].partition("resume with: ")[2])
    pipe = {"stdout": subprocess.PIPE, "text": True}
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, *words[1:]], cwd=ROOT, env=ENVIRONMENT, **pipe) as process:
            wait_for_checkpoint(survivor, process, saved)
            time.sleep(random.uniform(0.0, 1.0))  # an epoch and its save take about half of that
            process.kill()
            said = process.communicate()[0]
        assert f"resumed at {saved:,} of" in said
        saved = CheckpointStore(survivor / "checkpoints").latest() or 0

    with training(survivor) as process:
        saved = wait_for_checkpoint(survivor, process, saved)
        away = survivor.rename(root / "away")  # as when a network drive is lost
        vanished = ended(process)
    assert not survivor.exists()
    away.rename(survivor)

    with training(survivor) as process:
        wait_for_checkpoint(survivor, process, saved)
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        said = [process.stdout.readline()]
        while said[-1] and not said[-1].startswith("Ctrl-C"):
            said.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        interrupted = ended(process)
        seconds_to_leave = time.monotonic() - began
    interrupted.out = "".join(said) + interrupted.out

    damage(survivor)
    steps = (CheckpointStore(survivor / "checkpoints").steps()[0] // 200 + 2) * 200
    resumed = train(survivor, f"--steps={steps}", "--media-every=500000")
    assert train(whole, *SMOKE, f"--steps={steps}").code == 0
    return Story(survivor, whole, refused, terminated, vanished, interrupted, seconds_to_leave, resumed)


def damage(logdir: Path) -> None:
    """Flip a bit of the newest checkpoint and add two that do not belong there, and what a kill leaves."""
    store = CheckpointStore(logdir / "checkpoints")
    newest = store.folder(store.latest() or 0)
    shutil.copytree(newest, store.folder(900_000))
    (store.folder(900_000) / "manifest.json").unlink()
    shutil.copytree(newest, store.folder(800_000))
    edit_manifest(store.folder(800_000) / "manifest.json")
    file = max((p for p in (newest / "state").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (logdir / "media" / ".writing-1-goals.png").touch()
    (store.path / ".writing-000000700000").mkdir()


def edit_manifest(file: Path) -> None:
    content = json.loads(file.read_text())["content"]
    content["made_with"]["seed"] = 5
    file.write_text(json.dumps({"sha256": _sha256_of_json(content), "content": content}))


def test_a_second_process_is_refused_by_name(story: Story) -> None:
    assert re.fullmatch(r"\S+ is in use by process \d+ on \S+ \(since .*\); .*", story.refused)


def test_sigterm_saves_and_exits_with_75_and_the_line_that_resumes(story: Story) -> None:
    assert story.terminated.code == 75
    said = [line for line in story.terminated.out.splitlines() if line.startswith(("SIGTERM", "stopped"))]
    assert re.match(r"SIGTERM: saving and leaving when this epoch is done, in at most \d+ s; Ctrl-C leaves", said[0])
    assert re.match(r"stopped and saved at [\d,]+ steps; resume with: python -m experiments.peg --logdir=", said[1])
    assert story.terminated.err == ""


def test_a_directory_that_vanishes_is_one_line_and_74(story: Story) -> None:
    """Whichever part of the run meets it first: the check between epochs, or a save that was under way."""
    assert story.vanished.code == 74
    assert re.fullmatch(r"error: [^\n]*/survivor[^\n]*\n", story.vanished.err), story.vanished.err


def test_a_second_ctrl_c_leaves_at_once_with_130(story: Story) -> None:
    assert story.interrupted.code == 130
    assert "Ctrl-C: leaving at once" in story.interrupted.out
    assert story.seconds_to_leave < 2.0


def test_a_stale_lock_is_taken_over(story: Story) -> None:
    """The next process after the one that was killed finds the lock that it left."""
    assert re.search(r"^taking over from process \d+ on ", story.vanished.out, re.MULTILINE)


def test_damage_is_named_and_the_newest_intact_checkpoint_used(story: Story) -> None:
    assert story.resumed.code == 0, story.resumed.err
    out = story.resumed.out
    assert re.search(r"000000900000 cannot be used: manifest\.json is missing; trying an older one", out)
    assert re.search(r"000000800000 cannot be used: made by a run with seed = 5, here it is 0;", out)
    assert re.search(r"0{6,}\d+ cannot be used: state/\S+ has changed;", out)
    assert re.search(r"^resumed at [\d,]+ of ", out, re.MULTILINE)
    assert list(story.survivor.rglob(".writing-*")) == []


def test_changed_options_are_said(story: Story) -> None:
    said = re.findall(r"changed     --(\S+) from \S+ to \S+", story.resumed.out)
    assert said == ["steps", "media-every"]


def test_pictures_are_drawn_at_the_end_or_not_at_all(story: Story) -> None:
    assert (story.survivor / "media/learning_curves.png").exists()
    assert list((story.whole / "media").iterdir()) == []
    assert "learning_curves" in story.resumed.out


def test_the_survivor_ends_in_the_same_bits(story: Story) -> None:
    assert differing_leaves(checkpoint(story.survivor)[0], checkpoint(story.whole)[0]) == []


def test_the_survivor_writes_the_same_lines(story: Story) -> None:
    for name in ("metrics.jsonl", "goals.jsonl"):
        survivor, whole = ((path / name).read_bytes() for path in (story.survivor, story.whole))
        assert survivor == whole
        assert len(whole.splitlines()) >= 2
    steps = [json.loads(line)["step"] for line in (story.survivor / "timing.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_a_directory_that_cannot_be_written_is_one_line_and_74() -> None:
    with pytest.raises(RunError, match=r"^cannot write /sys/peg_run/\.lock: .*$") as error:
        peg.run(["--logdir=/sys/peg_run", "--no-compilation-cache", *SMOKE])
    assert error.value.exit_code == 74


def test_a_full_disk_is_one_line_and_leaves_the_old_checkpoints(tmp_path: Path) -> None:
    """On a real, small file system of its own."""
    disk, out = tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    run = f"{sys.executable} -m experiments.peg --logdir={disk}/run {' '.join(SMOKE)} {ENDLESS}"
    mount = f"mount -t tmpfs -o size=1200k tmpfs {disk}"
    script = f"{mount} && {{ timeout 500 {run}; code=$?; cp -r {disk}/run {out}; exit $code; }}"
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    probe = subprocess.run([*namespace, mount], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no file system of one's own here: {probe.stderr.decode().strip()}")
    words = [*namespace, script]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 74, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert re.match(rf"error: cannot write (checkpoint )?{disk}/run/\S+: no space left on", done.stderr, re.IGNORECASE)
    assert checkpoint(out)[1].steps() != []


def test_nothing_is_ever_unpickled() -> None:
    files = [path for folder in ("peg_jax", "experiments", "envs") for path in (ROOT / folder).rglob("*.py")]
    pickling = re.compile(r"\bimport (pickle|dill|cloudpickle|joblib)|allow_pickle=True")
    assert [path for path in files if pickling.search(path.read_text())] == []
