"""Two processes that go on with a run of two seeds, against the one process that did all of it."""

import shutil
import socket
from contextlib import ExitStack
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.config import RunConfig
from experiments.curiosity_config import CuriosityRunConfig, run_task
from experiments.curiosity_program import abstract_state, checkpoint_store
from experiments.processes import as_one, join
from peg_jax.core.config import ConfigError
from peg_jax.curiosity.training import TrainState
from peg_jax.run.directory import RunDirectory
from peg_jax.run.metrics import read_metrics
from tests.experiments.processes import Ended, command, ended, running

SMOKE = ["--preset=smoke", "--scenario=noreward", "--method=ppo", "--num-seeds=2", "--steps=1024"]


def together(logdir: Path) -> list[Ended]:
    """The command in two processes that meet on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = [f"--coordinator=127.0.0.1:{probe.getsockname()[1]}", "--num-processes=2", f"--logdir={logdir}"]
    with ExitStack() as stack:
        both = [running("episodic_curiosity", *place, f"--process-id={index}") for index in (0, 1)]
        return [ended(process) for process in [stack.enter_context(one) for one in both]]


def final_state(logdir: Path) -> TrainState:
    directory = RunDirectory(logdir)
    config = directory.read_config_as(CuriosityRunConfig)
    return checkpoint_store(config, directory, pytest.fail).restore(abstract_state(config, run_task(config)), 1024)[0]


@pytest.mark.slow
def test_two_processes_go_on_with_a_run_and_its_numbers_are_those_of_one(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    command("episodic_curiosity", *SMOKE, f"--logdir={alone}")
    shutil.copytree(alone, shared, ignore=lambda path, names: {"000000001024"} & {*names})
    first, second = together(shared)
    assert (first.code, second.code) == (0, 0), first.err[-2000:] + second.err[-2000:]
    assert "devices     2, 1 of the seeds on each" in first.out
    assert "resumed at 512 of 1,024 environment steps" in first.out
    assert [line for line in second.out.splitlines() if not line.startswith("[Gloo]")] == []
    for seed in ("seed_0", "seed_1"):
        ours, theirs = (read_metrics(path / seed / "metrics.jsonl") for path in (shared, alone))
        assert ours.keys() == theirs.keys()
        for name in theirs:
            np.testing.assert_array_equal(ours[name].steps, theirs[name].steps)
            np.testing.assert_allclose(ours[name].values, theirs[name].values, rtol=1e-3, atol=1e-4, err_msg=name)
    ours, theirs = (jax.tree.leaves(final_state(path).seed.learner.params) for path in (shared, alone))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert any(not np.allclose(b[0], b[1], atol=1e-2) for b in theirs)  # two seeds, not one twice


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


def test_options_of_processes_are_not_kept_with_the_run() -> None:
    assert as_one(RunConfig(coordinator="a:1", num_processes=1, process_id=0)) == RunConfig()
