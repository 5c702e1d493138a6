"""Running what the pages show, in the order shown."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.experiments.pages import commands
from tests.experiments.processes import ENVIRONMENT

# What is added to commands that take a quarter of an hour to days: of these the command is tested, at a small size.
SMALL = ["--preset=smoke"]
BENCH = [*SMALL, "--num-envs", "2", "--rollout=32", "--repeats=1"]
PILOT = "--preset=paper --scenario=sparse --method=ppo --steps=500000 --num-seeds=10 --logdir=runs/pilot"
STACK = "--env=block_stack --physics=mjx --num-seeds=4"
SHORT = {
    "python -m experiments." + command: added
    for command, added in {
        "peg --env=point_maze": [*SMALL, "--steps=400", "--logdir=runs/default"],
        "peg --env=point_maze --seed=0 --steps=6000000": [*SMALL, "--steps=400", "--logdir=runs/long"],
        "peg --env=walker --preset=paper --method=mega": [*SMALL, "--logdir=runs/walker"],
        "peg --env=ant_maze": [*SMALL, "--logdir=runs/ant_maze"],
        # MJX compiles for minutes on a CPU; the tests of the engines step it.
        f"peg {STACK}": [*SMALL, "--physics=mujoco", "--num-seeds=2", "--logdir=runs/block_stack"],
        "diagnose --what achiever": [*SMALL, "--updates=2", "--report-every=1", "--coverage-episodes=20"],
        "diagnose --what explorer planner --logdir=runs/try": ["--goals=4"],
        "bench --what update": [*SMALL, "--repeats=1"],
        "episodic_curiosity --scenario=sparse": [*SMALL, "--steps=1024", "--logdir=runs/sparse"],
        "episodic_curiosity --scenario=noreward --method=ppo_plus_eco --logdir=runs/eco": SMALL,
        "episodic_curiosity --scenario=ant_no_reward --method=ppo_plus_ec --logdir=runs/ant": [*SMALL, "--steps=1024"],
        f"episodic_curiosity {PILOT}": [*SMALL, "--steps=1024", "--num-seeds=2"],
        "curiosity_bench --num-envs 12 128": BENCH,
        "curiosity_bench --num-envs 12 --rollout=256 --repeats=3": BENCH,
    }.items()
}
# What is parsed alone: names of programs, and what needs machines or runs of the reader's own.
ELSEWHERE = {
    "python -m experiments.report",
    "python -m experiments.curiosity_evidence",
    "python -m experiments.report /runs/study --output=study.html",
}
CURIOUS = [line for line in commands() if "curiosity" in line or "runs/maze" in line]
OTHERS = [line for line in commands() if line not in CURIOUS]


def run(lines: Sequence[str], cwd: Path) -> dict[str, str]:
    """What each command printed, all of which must work; their directory, where they go on, comes under `cwd`."""
    printed = {"cwd": str(cwd)}
    for line in lines:
        words = [sys.executable, *shlex.split(line)[1:], *SHORT.get(line, [])]
        done = subprocess.run(words, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
        printed[line] = done.stdout
    return printed
