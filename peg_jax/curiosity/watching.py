"""Episodes to look at: what an agent does in fresh environments, and the map of what it has seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from peg_jax.core import rng
from peg_jax.core.types import Array, Key
from peg_jax.curiosity import acting, oracle
from peg_jax.curiosity.acting import Act
from peg_jax.curiosity.rollout import Rollout
from peg_jax.curiosity.task import EnvParams, EnvState, Task


class Episodes(NamedTuple):
    """The first episodes of N environments; what follows an episode's end is not alive."""

    taken: Rollout  # [T, N, ...]; log-probability and value are 0, for an `Act` has none
    frames: Array  # uint8 [T + 1, N, H, W, C] of what was to be seen, before the first step and after each
    states: EnvState  # [T, N, ...] after each step
    position: Array  # float32 [T + 1, N, 3], as `frames`
    alive: Array  # bool [T, N]


def play(task: Task, act: Act, params: EnvParams, num_envs: int, steps: int, key: Key) -> Episodes:
    """Play without resets.

    Args:
        task: the environment.
        act: what is done.
        params: the environment's, which say the split.
        num_envs: environments.
        steps: static bound of an episode's length.
        key: PRNG key.
    """

    def step(carry: tuple[Array, EnvState, Array, Array], key: Key) -> tuple[tuple, tuple]:
        obs, env, alive, visited = carry
        action, after, env, done, info = acting.step(task, act, params, obs, env, key)
        new, visited = jax.vmap(oracle.visit, in_axes=(None, 0, 0))(task.grid, visited, info["position"])
        zero = jnp.zeros(num_envs)
        taken = Rollout(
            obs=obs,
            action=action,
            log_prob=zero,
            value=zero,
            task_reward=info["task_reward"],
            done=done,
            respawned=info["respawned"],
            new_cell=new,
            cell_share=1.0 / info["reachable_cells"],
            frame=None,
        )
        seen = taken, task.frames(after, env), env, info["position"], alive
        return (after, env, alive & ~done, visited), seen

    obs, env = acting.begin(task, params, num_envs, key)
    first = task.frames(obs, env), jax.vmap(task.env.position)(env)
    visited = jnp.zeros((num_envs, oracle.empty(task.grid).size), bool)
    start = obs, env, jnp.ones(num_envs, bool), visited
    _, (taken, frames, states, position, alive) = jax.lax.scan(
        step, start, jax.random.split(rng.named(key, "steps"), steps)
    )
    frames, position = (
        jnp.concatenate([before[None], after]) for before, after in zip(first, (frames, position), strict=True)
    )
    return Episodes(taken, frames, states, position, alive)


def draw_maps(task: Task, episodes: Episodes, env: int, times: np.ndarray, remembered: Array | None) -> Array:
    """The map after some steps with what was visited by then and, on top, what was remembered: uint8 `[S, H, W, 3]`.

    Args:
        task: for the renderer.
        episodes: as `play` made them.
        env: which of the environments.
        times: int `[S]`, steps from 0.
        remembered: int32 `[T, N, M]` as in `Appraisal`, or None.
    """
    position = episodes.position[:, env]

    def draw(time: Array) -> Array:
        state = jax.tree.map(lambda x: x[time, env], episodes.states)
        lived = jnp.arange(position.shape[0]) <= time + 1
        track = jnp.where(lived[:, None], position, jnp.nan)
        if remembered is None:
            return task.env.render(state, track)
        steps = remembered[time, env]
        marks = jnp.where((steps >= -1)[:, None], position[steps + 1], jnp.nan)
        return task.env.render(state, track, marks)

    return jax.lax.map(draw, jnp.asarray(times))
