"""Running what the pages show, in the order shown."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.experiments.pages import commands
from tests.experiments.processes import ENVIRONMENT

# Of the default preset the command is tested, not the quarter of an hour that it takes.
SHORT = {"python -m experiments.peg --env=point_maze": ["--preset=smoke", "--steps=400", "--logdir=runs/default"]}
CURIOUS = [line for line in commands() if "curiosity" in line or "runs/maze" in line]
OTHERS = [line for line in commands() if line not in CURIOUS]


def run(lines: Sequence[str], cwd: Path) -> dict[str, str]:
    """What each command printed, all of which must work; their directory comes under the name `cwd`."""
    printed = {"cwd": str(cwd)}
    for line in lines:
        words = [sys.executable, *shlex.split(line)[1:], *SHORT.get(line, [])]
        done = subprocess.run(words, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
        printed[line] = done.stdout
    return printed
