"""Collecting experience in parallel environments."""

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.curiosity import networks, oracle
from peg_jax.curiosity.config import CuriosityConfig
from peg_jax.curiosity.methods import METHODS
from peg_jax.curiosity.networks import Apply
from peg_jax.curiosity.task import EnvState, Task


@struct.dataclass
class Tally:
    """Sums over an episode, one entry per environment."""

    reward: Array  # [N] the task's
    bonus: Array  # [N]
    cells: Array  # [N] grid cells visited
    share: Array  # [N] the same as a share of the reachable ones
    steps: Array  # [N]


@struct.dataclass
class Collector:
    """Environments in the middle of their episodes."""

    obs: Array  # [N, ...]
    env: EnvState  # [N, ...]
    visited: Array  # [N, cells] bool, of the grid oracle
    running: Tally  # of the episodes so far
    finished: Tally  # of the last episode that each environment finished; NaN before the first


@struct.dataclass
class Rollout:
    """Experience of all environments, time first."""

    obs: Array  # [T, N, ...]
    action: Array  # [T, N] or [T, N, A]
    log_prob: Array  # [T, N] under the policy that acted
    value: Array  # [T, N]
    reward: Array  # [T, N] what PPO maximises
    done: Array  # [T, N] bool, the step ended its episode


def start(task: Task, num_envs: int, key: Key) -> Collector:
    """Fresh episodes."""
    keys = jax.random.split(key, num_envs)
    obs, env = jax.vmap(task.env.reset_env, in_axes=(0, None))(keys, task.params)
    zeros = _tally(jnp.zeros(num_envs))
    visited = jnp.broadcast_to(oracle.empty(task.grid), (num_envs, oracle.empty(task.grid).size))
    return Collector(obs, env, visited, zeros, jax.tree.map(lambda x: x + jnp.nan, zeros))


def _tally(value: Array) -> Tally:
    return Tally(*(value for _ in range(5)))


def collect(
    task: Task, config: CuriosityConfig, method: str, apply: Apply, params: Params, collector: Collector, key: Key
) -> tuple[Collector, Rollout]:
    """`config.ppo.rollout` steps of every environment with sampled actions."""
    count = config.ppo.num_envs

    def step(collector: Collector, key: Key) -> tuple[Collector, Rollout]:
        act_key, env_key = rng.split(key, "act", "env")
        policy = apply(params, collector.obs)
        action = networks.sample(policy, act_key)
        obs, env, _, terminated, truncated, info = jax.vmap(task.env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, count), collector.env, action, task.params
        )
        done = terminated | truncated
        new, visited = jax.vmap(oracle.visit, in_axes=(None, 0, 0))(task.grid, collector.visited, info["position"])
        bonus = oracle.bonus(config.oracle, new) if METHODS[method].bonus == "oracle" else jnp.zeros(count)
        running = _add(collector.running, info, bonus, new)
        reward = config.reward.task * info["task_reward"] + config.reward.bonus * bonus
        after = Collector(
            obs=obs,
            env=env,
            visited=visited & ~done[:, None],
            running=jax.tree.map(lambda x: jnp.where(done, 0.0, x), running),
            finished=jax.tree.map(lambda now, before: jnp.where(done, now, before), running, collector.finished),
        )
        return after, Rollout(collector.obs, action, networks.log_prob(policy, action), policy.value, reward, done)

    return jax.lax.scan(step, collector, jax.random.split(key, config.ppo.rollout))


def _add(tally: Tally, info: dict[str, Array], bonus: Array, new: Array) -> Tally:
    """The tally after a step."""
    return Tally(
        reward=tally.reward + info["task_reward"],
        bonus=tally.bonus + bonus,
        cells=tally.cells + new,
        share=tally.share + new / info["reachable_cells"],
        steps=tally.steps + 1.0,
    )


def episode_metrics(finished: Tally) -> Metrics:
    """Means over the last finished episode of each environment, NaN before the first (names: section 5.2)."""
    mean = jax.tree.map(jnp.nanmean, finished)
    return {
        "eprewmean": mean.reward,
        "eplenmean": mean.steps,
        "epbonusmean": mean.bonus,
        "coverage": mean.cells,
        "coverage_share": mean.share,
    }
