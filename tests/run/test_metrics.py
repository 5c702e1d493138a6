"""MetricsWriter: valid JSON, one line per step after a resume, torn lines."""

import json
import math
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.run.files import DiskError, RunError
from peg_jax.run.media import write_animation
from peg_jax.run.metrics import MetricsWriter, read_metrics


def write_steps(directory: Path, steps: list[int], resume_step: int | None = None) -> None:
    with MetricsWriter(directory, resume_step) as writer:
        for step in steps:
            writer.write(step, {"train_return": step / 3, "fps": jnp.float32(5)})


def test_lines_are_objects_with_a_step_and_readable_at_once(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path)
    writer.write(10, {"max_eval_metric_success/goal_all": np.float32(0.5), "count": 3})
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line == {"step": 10, "max_eval_metric_success/goal_all": 0.5, "count": 3.0}
    writer.close()


def test_not_finite_is_null_and_reads_as_nan(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, {"a": math.nan, "b": math.inf, "c": 1})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"step": 1, "a": None, "b": None, "c": 1.0}
    assert np.isnan(read_metrics(tmp_path / "metrics.jsonl")["b"].values).all()


def test_read_metrics_gives_series(tmp_path: Path) -> None:
    write_steps(tmp_path, [10, 20, 30])
    series = read_metrics(tmp_path / "metrics.jsonl")["train_return"]
    np.testing.assert_array_equal(series.steps, [10, 20, 30])
    np.testing.assert_array_equal(series.values, [10 / 3, 20 / 3, 10.0])


def test_resume_equals_no_interruption(tmp_path: Path) -> None:
    write_steps(tmp_path / "whole", [10, 20, 30, 40])
    write_steps(tmp_path / "broken", [10, 20, 30])
    with (tmp_path / "broken" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "train_ret')  # killed while writing
    write_steps(tmp_path / "broken", [30, 40], resume_step=20)
    assert (tmp_path / "broken/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_starting_over_sets_old_lines_aside(tmp_path: Path) -> None:
    write_steps(tmp_path, [10, 20])
    write_steps(tmp_path, [10])
    assert read_metrics(tmp_path / "metrics.jsonl")["fps"].steps.tolist() == [10]
    assert len((tmp_path / "metrics.discarded.jsonl").read_text().splitlines()) == 2


def test_torn_last_line_is_ignored_and_other_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 2.0}\n{"step": 2, "a"')
    assert read_metrics(path)["a"].steps.tolist() == [1]
    path.write_text('{"step": 1, "a": 2.0}\n{"step": 2, "a"\n{"step": 3, "a": 1.0}\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        read_metrics(path)
    with pytest.raises(RunError, match="line 2 is damaged"):
        MetricsWriter(tmp_path, resume_step=3)
    with pytest.raises(RunError, match="cannot read"):
        read_metrics(tmp_path / "absent.jsonl")


def test_tensorboard_gets_prefixed_scalars_and_images(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        writer.write(7, {"model_loss": 2.5})
        writer.image("top_10_cem", 7, np.zeros((8, 6, 3), np.uint8))
        gif = write_animation(tmp_path / "rollout", np.zeros((3, 8, 6, 3), np.uint8), fps=20)
        writer.animation("train_policy", 7, gif)
        with pytest.raises(ValueError, match="uint8"):
            writer.image("bad", 7, np.zeros((8, 6, 3)))
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"scalars/model_loss" in content and b"top_10_cem" in content and b"PNG" in content
    assert b"train_policy" in content and gif.read_bytes() in content


def test_a_value_that_is_no_number_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a": "high"}\n')
    with pytest.raises(RunError, match="a = 'high' at step 1, which is no number"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_a_full_disk_does_not_leave_tensorboard_waiting(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path)
    (events,) = (tmp_path / "tensorboard").iterdir()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, next(fd for fd in range(3, 64) if points_to(fd, events)))
    with pytest.raises(DiskError, match=r"cannot write .*tensorboard: No space left"):
        for step in range(30):
            writer.write(step, {"a": 1.0})


def points_to(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
