"""First episodes in fresh environments, and what was earned and seen in them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from peg_jax.core import rng
from peg_jax.core.types import Array, Key
from peg_jax.curiosity import acting, oracle
from peg_jax.curiosity.acting import Act
from peg_jax.curiosity.history import History
from peg_jax.curiosity.task import EnvParams, Task


class Evaluation(NamedTuple):
    """One entry per environment, `[N]`."""

    reward: Array  # sum over the first episode, of the task's reward
    cells: Array  # grid cells visited in it
    share: Array  # the same as a share of the reachable ones
    steps: Array  # its length


def evaluate(
    task: Task, act: Act, params: EnvParams, num_envs: int, steps: int, key: Key, watched: int = 0
) -> tuple[Evaluation, History | None]:
    """Play the first episodes of `num_envs` environments, at most `steps` steps each.

    Args:
        task: the environment.
        act: what is done, such as `acting.by_policy`.
        params: the environment's, which say the split.
        num_envs: environments.
        steps: static bound of an episode's length.
        key: PRNG key.
        watched: environments whose frames are kept, at most `num_envs`.

    Returns:
        `(evaluation, history)`; the history holds what the watched environments showed, or is None without any. What
        follows an episode's end is cut into trajectories of one frame, of which no pairs are made.
    """

    def step(carry: tuple, key: Key) -> tuple[tuple, tuple[Array, ...] | None]:
        obs, env, alive, visited, total = carry
        _, obs, env, done, info = acting.step(task, act, params, obs, env, key)
        new, visited = jax.vmap(oracle.visit, in_axes=(None, 0, 0))(task.grid, visited, info["position"])
        new = new & alive
        total = Evaluation(
            reward=total.reward + alive * info["task_reward"],
            cells=total.cells + new,
            share=total.share + new / info["reachable_cells"],
            steps=total.steps + alive,
        )
        some_obs, some_env = jax.tree.map(lambda x: x[:watched], (obs, env))
        cuts = (~alive)[:watched], info["respawned"][:watched]
        seen = (task.frames(some_obs, some_env), *cuts) if watched else None
        return (obs, env, alive & ~done, visited, total), seen

    obs, env = acting.begin(task, params, num_envs, key)
    visited = jnp.zeros((num_envs, oracle.empty(task.grid).size), bool)
    zeros = Evaluation(*(jnp.zeros(num_envs) for _ in range(4)))
    start = obs, env, jnp.ones(num_envs, bool), visited, zeros
    (*_, total), seen = jax.lax.scan(step, start, jax.random.split(rng.named(key, "steps"), steps))
    if seen is None:
        return total, None
    frames, done, respawned = seen
    return total, History(frames, done, respawned, jnp.asarray(steps, jnp.int32))
