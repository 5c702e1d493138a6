"""First-person 3D mazes, one function per scenario of Episodic Curiosity (ICLR 2019); all take `Maze3D`'s options.

Lengths are agent steps, fifteen per second.
"""

from typing import Any

from envs.maze3d.collect import Collect
from envs.maze3d.env import Maze3D
from envs.maze3d.explore import Explore
from envs.maze3d.puzzle import Puzzle
from envs.maze3d.television import Television
from envs.maze3d.types import EnvParams, EnvState
from envs.splits import SPLITS

__all__ = ["SPLITS", "EnvParams", "EnvState", "Maze3D", "Television"]

EXPLORE_STEPS = 1800
DENSE_STEPS = 900
VERY_SPARSE_DISTANCE = 10


def sparse(size: int = 17, **options: Any) -> Maze3D:
    """One goal in a maze: +10 and a new start at each visit."""
    return Maze3D(Explore(size), EXPLORE_STEPS, **options)


def verysparse(size: int = 17, **options: Any) -> Maze3D:
    """`sparse`, with every start at least ten cells of path from the goal."""
    return Maze3D(Explore(size, min_distance=VERY_SPARSE_DISTANCE), EXPLORE_STEPS, **options)


def sparseplusdoors(size: int = 17, **options: Any) -> Maze3D:
    """`sparse`, with doors between regions that open and close at each start; one path is always open."""
    return Maze3D(Explore(size, doors=True), EXPLORE_STEPS, **options)


def noreward(size: int = 17, **options: Any) -> Maze3D:
    """`sparse` without its reward."""
    return Maze3D(Explore(size), EXPLORE_STEPS, pays=False, **options)


def norewardnofire(size: int = 17, **options: Any) -> Maze3D:
    """`noreward` without the action fire."""
    return noreward(size, **({"action_set": "nofire"} | options))


def dense1(**options: Any) -> Maze3D:
    """Keys +1, doors +1, and a goal, +50, which ends the episode."""
    return Maze3D(Puzzle(), DENSE_STEPS, **options)


def dense2(**options: Any) -> Maze3D:
    """Good objects +1 and bad ones -1 in a room; ten pickups end the episode."""
    return Maze3D(Collect(), DENSE_STEPS, **options)
