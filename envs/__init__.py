"""Environments in the gymnax API, made by name: some with goals, some to be explored.

Example:
    >>> import jax, envs
    >>> env, params = envs.make("point_maze")
    >>> obs, state = env.reset(jax.random.key(0), params)
    >>> obs.shape, envs.registered()[-2]
    ((2,), 'point_maze')
"""

import difflib
import importlib
from typing import Any

import envs.gymnax_import  # noqa: F401

# isort: split
from gymnax.environments import environment

from envs.base import ExplorationEnvironment, GoalEnvironment

__all__ = ["ExplorationEnvironment", "GoalEnvironment", "has_goals", "has_physics", "make", "registered"]

# Name -> module and maker; imported on use, so that one environment's dependencies do not burden the others.
_REGISTRY = {
    "ant_maze": "envs.mujoco.ant_maze:AntMaze",
    "ant_no_reward": "envs.mujoco.ant_explore:AntNoReward",
    "block_stack": "envs.mujoco.block_stack:BlockStack",
    "maze3d_dense1": "envs.maze3d:dense1",
    "maze3d_dense2": "envs.maze3d:dense2",
    "maze3d_noreward": "envs.maze3d:noreward",
    "maze3d_norewardnofire": "envs.maze3d:norewardnofire",
    "maze3d_sparse": "envs.maze3d:sparse",
    "maze3d_sparseplusdoors": "envs.maze3d:sparseplusdoors",
    "maze3d_verysparse": "envs.maze3d:verysparse",
    "point_maze": "envs.point_maze:PointMaze",
    "walker": "envs.mujoco.walker:Walker",
}


def registered() -> tuple[str, ...]:
    """Names that `make` knows, sorted."""
    return tuple(sorted(_REGISTRY))


def has_physics(name: str) -> bool:
    """Whether `make` takes `physics`, the engine that simulates bodies: `auto`, `mjx` or `mujoco`."""
    return _REGISTRY[name].startswith("envs.mujoco.")


def has_goals(name: str) -> bool:
    """Whether it is a `GoalEnvironment`; the others are to be explored."""
    return not _REGISTRY[name].startswith(("envs.maze3d:", "envs.mujoco.ant_explore:"))


def make(name: str, **kwargs: Any) -> tuple[Any, environment.EnvParams]:
    """Makes an environment and its default parameters, as `gymnax.make` does.

    Args:
        name: one of `registered()`.
        **kwargs: options of the environment's constructor.

    Returns:
        The environment, a `GoalEnvironment` or an `ExplorationEnvironment`, static under jit, and its parameters, which
        are a pytree.

    Raises:
        ValueError: if the name is not registered.
    """
    if name not in _REGISTRY:
        close = difflib.get_close_matches(name, _REGISTRY, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown environment {name!r}.{hint} Known: {', '.join(registered())}.")
    module, _, maker = _REGISTRY[name].partition(":")
    env = getattr(importlib.import_module(module), maker)(**kwargs)
    return env, env.default_params
