"""Goal environments in the gymnax API, made by name.

Example:
    >>> import jax, envs
    >>> env, params = envs.make("point_maze")
    >>> obs, state = env.reset(jax.random.key(0), params)
    >>> obs.shape, envs.registered()
    ((2,), ('point_maze',))
"""

import difflib
import importlib
from typing import Any

from gymnax.environments import environment

from envs.base import GoalEnvironment

__all__ = ["GoalEnvironment", "make", "registered"]

# Name -> module and class; imported on use, so that one environment's dependencies do not burden the others.
_REGISTRY = {
    "point_maze": "envs.point_maze:PointMaze",
}


def registered() -> tuple[str, ...]:
    """Names that `make` knows, sorted."""
    return tuple(sorted(_REGISTRY))


def make(name: str, **kwargs: Any) -> tuple[GoalEnvironment[Any, Any], environment.EnvParams]:
    """Makes an environment and its default parameters, as `gymnax.make` does.

    Args:
        name: one of `registered()`.
        **kwargs: options of the environment's constructor.

    Returns:
        The environment, which is static under jit, and its parameters, which are a pytree.

    Raises:
        ValueError: if the name is not registered.
    """
    if name not in _REGISTRY:
        close = difflib.get_close_matches(name, _REGISTRY, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown environment {name!r}.{hint} Known: {', '.join(registered())}.")
    module, _, class_name = _REGISTRY[name].partition(":")
    env = getattr(importlib.import_module(module), class_name)(**kwargs)
    return env, env.default_params
