"""StepLines: whole lines, rolled back byte for byte, and what is not a line named."""

import os
from pathlib import Path

import pytest

from peg_jax.run.files import DiskError, RunError
from peg_jax.run.steplines import StepLines, read_step_lines


def write(path: Path, steps: list[int], resume_step: int | None = None) -> None:
    lines = StepLines(path, resume_step)
    for step in steps:
        lines.write({"step": step, "goals": [[step / 3]]})
    lines.close()


def test_a_resume_leaves_every_line_once(tmp_path: Path) -> None:
    write(tmp_path / "whole.jsonl", [10, 20, 30, 40])
    write(tmp_path / "broken.jsonl", [10, 20, 30])
    with (tmp_path / "broken.jsonl").open("a") as file:
        file.write('{"step": 40, "go')  # killed while writing
    write(tmp_path / "broken.jsonl", [30, 40], resume_step=20)
    assert (tmp_path / "broken.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_lines_edited_by_hand_are_kept_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{ "step":1,  "note": "mine" }\n{"step": 2}\n')
    write(path, [3], resume_step=1)
    assert path.read_text() == '{ "step":1,  "note": "mine" }\n{"step": 3, "goals": [[1.0]]}\n'


@pytest.mark.parametrize("line", ['{"step": 2', '{"stap": 2}', "[1, 2]", '{"step": "two"}', '{"step": true}', "\\xff"])
def test_what_is_no_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    for action in (lambda: read_step_lines(path), lambda: StepLines(path, 3)):
        with pytest.raises(RunError, match="line 2 is damaged"):
            action()


def test_a_full_disk_is_one_error_and_leaves_nothing_to_flush(tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "x.jsonl")
    lines = StepLines(tmp_path / "x.jsonl")
    with pytest.raises(DiskError, match=r"cannot write .*x\.jsonl: No space left"):
        lines.write({"step": 1})
    lines.close()


def test_a_file_that_cannot_be_set_aside_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").mkdir()
    (tmp_path / "x.discarded.jsonl" / "full").mkdir(parents=True)
    with pytest.raises(DiskError, match=r"cannot write .*x\.jsonl"):
        StepLines(tmp_path / "x.jsonl")
