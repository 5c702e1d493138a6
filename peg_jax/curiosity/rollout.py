"""Collecting experience in parallel environments."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.curiosity import networks, oracle
from peg_jax.curiosity.config import PPOConfig, RewardConfig
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
    """Experience of all environments, time first; `obs` is what a step starts from, the rest is of the step."""

    obs: Array  # [T, N, ...]
    action: Array  # [T, N] or [T, N, A]
    log_prob: Array  # [T, N] under the policy that acted
    value: Array  # [T, N] of `obs`
    task_reward: Array  # [T, N]
    done: Array  # [T, N] bool, the step ended its episode
    respawned: Array  # [T, N] bool, it put the agent elsewhere within one
    new_cell: Array  # [T, N] bool, it entered a grid cell for the first time in its episode
    cell_share: Array  # [T, N] one grid cell as a share of the reachable ones
    frame: Array | None  # [T, N, H, W, C] uint8 after the step; None where observations are frames


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
    task: Task, config: PPOConfig, apply: Apply, params: Params, collector: Collector, key: Key, looks: bool = False
) -> tuple[Collector, Rollout]:
    """`config.rollout` steps of every environment with sampled actions; tallies stay behind until `account`.

    With `looks`, frames are kept of what is to be seen where observations are no pictures.
    """

    def step(collector: Collector, key: Key) -> tuple[Collector, Rollout]:
        act_key, env_key = rng.split(key, "act", "env")
        policy = apply(params, collector.obs)
        action = networks.sample(policy, act_key)
        obs, env, _, terminated, truncated, info = jax.vmap(task.env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, config.num_envs), collector.env, action, task.params
        )
        done = terminated | truncated
        new, visited = jax.vmap(oracle.visit, in_axes=(None, 0, 0))(task.grid, collector.visited, info["position"])
        taken = Rollout(
            obs=collector.obs,
            action=action,
            log_prob=networks.log_prob(policy, action),
            value=policy.value,
            task_reward=info["task_reward"],
            done=done,
            respawned=info["respawned"],
            new_cell=new,
            cell_share=1.0 / info["reachable_cells"],
            frame=task.frames(obs, env) if task.view and looks else None,
        )
        return dataclasses.replace(collector, obs=obs, env=env, visited=visited & ~done[:, None]), taken

    return jax.lax.scan(step, collector, jax.random.split(key, config.rollout))


def frames_after(rollout: Rollout, collector: Collector) -> Array:
    """What the agent saw after each step, uint8 `[T, N, H, W, C]`; at `done` the first view of the next episode."""
    if rollout.frame is not None:
        return rollout.frame
    return jnp.concatenate([rollout.obs[1:], collector.obs[None]])


def reward(config: RewardConfig, task_reward: Array, bonus: Array) -> Array:
    """What PPO maximises, `[...]`."""
    return config.task * task_reward + config.bonus * bonus


def account(collector: Collector, rollout: Rollout, bonus: Array) -> Collector:
    """The collector with its tallies brought up to the rollout's end, `bonus [T, N]` among them."""

    new = rollout.new_cell.astype(jnp.float32)
    gained = Tally(rollout.task_reward, bonus, new, new * rollout.cell_share, jnp.ones_like(bonus))

    def step(tallies: tuple[Tally, Tally], now: tuple[Tally, Array]) -> tuple[tuple[Tally, Tally], None]:
        (running, finished), (gained, done) = tallies, now
        running = jax.tree.map(jnp.add, running, gained)
        finished = jax.tree.map(lambda now, before: jnp.where(done, now, before), running, finished)
        return (jax.tree.map(lambda x: jnp.where(done, 0.0, x), running), finished), None

    (running, finished), _ = jax.lax.scan(step, (collector.running, collector.finished), (gained, rollout.done))
    return dataclasses.replace(collector, running=running, finished=finished)


def episode_metrics(finished: Tally) -> Metrics:
    """Means over the last finished episode of each environment, NaN before the first; names of the released code."""
    mean = jax.tree.map(jnp.nanmean, finished)
    return {
        "eprewmean": mean.reward,
        "eplenmean": mean.steps,
        "epbonusmean": mean.bonus,
        "coverage": mean.cells,
        "coverage_share": mean.share,
    }
