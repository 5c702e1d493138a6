"""Two processes that share the seeds of one run, against one process that has all of them."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.config import RunConfig
from experiments.processes import as_one, join
from peg_jax.core.config import ConfigError
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.files import RunError
from peg_jax.run.metrics import read_metrics
from tests.experiments import shared
from tests.experiments.processes import ENVIRONMENT, ROOT, command

Meeting = Callable[[], tuple[list[str], dict[str, str]]]


def on_a_free_port() -> tuple[list[str], dict[str, str]]:
    """Options by which two processes meet, and the environment of each; `{}` stands for the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return [f"--coordinator=127.0.0.1:{probe.getsockname()[1]}", "--num-processes=2", "--process-id={}"], {}


def by_slurm() -> tuple[list[str], dict[str, str]]:
    """The same as SLURM tells it to JAX, which makes the port of the job's number."""
    step = {
        "JOB_ID": str(os.getpid() % 4096),
        "STEP_NODELIST": "127.0.0.1",
        "NTASKS": "2",
        "PROCID": "{}",
        "LOCALID": "{}",
    }
    return ["--coordinator=auto"], {f"SLURM_{name}": value for name, value in step.items()}


def together(environment: dict[str, str], *words: str, meet: Meeting = on_a_free_port) -> list[str]:
    """What a program printed in each of two processes."""
    place, told = meet()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *words, *(option.format(index) for option in place)],
            cwd=ROOT,
            env=environment | {name: value.format(index) for name, value in told.items()},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for index in (0, 1)
    ]
    try:
        done = [process.communicate(timeout=600) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], [err[-2000:] for _, err in done]
    return ["".join(line for line in out.splitlines(True) if not line.startswith("[Gloo]")) for out, _ in done]


def test_two_processes_come_to_the_numbers_of_one_and_save_one_checkpoint(tmp_path: Path) -> None:
    theirs = tmp_path / "two" / "numbers.npz"
    theirs.parent.mkdir()
    first, second = together(dict(os.environ), "tests.experiments.shared", str(theirs))
    assert "processes   2, meeting at" in first
    assert second == "not the writer\n"
    data, numbers = np.load(theirs), shared.train(CheckpointStore(tmp_path / "one"))
    assert (int(data["devices"]), int(data["progress"])) == (2, 2 * shared.UPDATES)
    for name, value in numbers.items():
        np.testing.assert_allclose(data[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(data["one"], data["weights"][1])
    assert not np.allclose(*data["first"])  # two seeds, not one twice
    stores = [CheckpointStore(path, warn=pytest.fail) for path in (theirs.parent / "checkpoints", tmp_path / "one")]
    assert [store.steps() for store in stores] == [[1, 2], [1, 2]]
    ours, saved = (store.restore(shared.template())[0] for store in stores)
    np.testing.assert_allclose(ours.seed[1], saved.seed[1], rtol=1e-4)
    np.testing.assert_array_equal(*(jax.random.key_data(state.seed[0]) for state in (ours, saved)))


@pytest.mark.long
@pytest.mark.parametrize(
    ("program", "options", "saved", "meet"),
    [
        ("peg", [], (800, 1000), by_slurm),
        ("episodic_curiosity", ["--scenario=noreward", "--method=ppo", "--steps=1024"], (512, 1024), on_a_free_port),
    ],
)
def test_the_command_goes_on_in_two_processes_with_what_one_began(
    tmp_path: Path, program: str, options: list[str], saved: tuple[int, int], meet: Meeting
) -> None:
    alone, both = tmp_path / "alone", tmp_path / "both"
    command(program, "--preset=smoke", "--num-seeds=2", *options, f"--logdir={alone}")
    shutil.copytree(alone, both, ignore=lambda path, names: {f"{saved[1]:012}"} & {*names})
    first, second = together(ENVIRONMENT, f"experiments.{program}", f"--logdir={both}", meet=meet)
    assert "devices     2, 1 of the seeds on each" in first
    assert f"resumed at {saved[0]:,} of {saved[1]:,} environment steps" in first
    assert second == ""
    for seed in ("seed_0", "seed_1"):
        ours, theirs = (read_metrics(path / seed / "metrics.jsonl") for path in (both, alone))
        assert ours.keys() == theirs.keys()
        for name in theirs:
            np.testing.assert_array_equal(ours[name].steps, theirs[name].steps)
            np.testing.assert_allclose(ours[name].values, theirs[name].values, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--num-processes=2"], "--num-processes=2 cannot work: name --coordinator=host:port"),
        (["--coordinator=here"], "--coordinator=here cannot work: it is the host:port of process 0"),
        (["--coordinator=a:1"], "--num-processes= cannot work: --coordinator=host:port needs"),
        (["--coordinator=a:1", "--num-processes=2", "--process-id=2"], "--process-id=2 cannot work: .* 0 and 1"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_started(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        join(arguments)


def test_without_a_scheduler_there_is_nothing_to_meet_by(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise ValueError("coordinator_address should be defined.")  # as JAX does

    monkeypatch.setattr(jax.distributed, "initialize", unknown)
    with pytest.raises(ConfigError, match=r"--coordinator=auto cannot work: no scheduler .* name --coordinator=host"):
        join(["--coordinator=auto"])


def test_a_process_says_that_it_does_not_find_the_first_one() -> None:
    with pytest.raises(RunError, match=r"process 0 does not answer at 127.0.0.1:1 within 0 s"):
        join(["--coordinator=127.0.0.1:1", "--num-processes=2", "--process-id=1"], timeout=0)


def test_options_of_processes_are_not_kept_with_the_run() -> None:
    assert as_one(RunConfig(coordinator="a:1", num_processes=1, process_id=0)) == RunConfig()
