"""Evaluation: the achiever's mode action toward every evaluation goal, and random actions for comparison."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core.environment import EnvState, Task
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.peg import world_model
from peg_jax.peg.agent import AgentState, make_achiever
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.networks import make_networks
from peg_jax.peg.rollout import random_action, task_spec
from peg_jax.peg.rssm import Latent, observe_step, zero_latent


@struct.dataclass
class Evaluation:
    """Episodes toward G goals, R of each."""

    success: dict[str, Array]  # per metric, float32 [G]: share of episodes in which it ever held
    steps: Array  # float32 [G], mean steps to the first success of the first metric, episode length where none
    closest: Array  # float32 [G], mean of the smallest distances to the goal, in its units
    reward: Array  # float32 [G], mean of the environment's rewards, summed over an episode
    obs: Array  # [T+1, G, D], trajectories of the first episode of each goal
    goal: Array  # [G, D], their goals


Carried = Any  # what a policy carries from step to step, a pytree
ActFn = Callable[[Carried, Array, Sequence[Key]], tuple[Carried, Array]]
"""`(carried, obs [N, D], (key of the filter, key of the action)) -> (carried, action [N, A])`"""


def evaluate(task: Task, config: PEGConfig, agent: AgentState, key: Key, repeats: int = 1) -> Evaluation:
    """Run every evaluation goal `repeats` times in parallel.

    Posteriors are sampled, actions are the policy's mode, or the best of several (`agent.make_achiever`). An episode's
    success is its maximum over time, the first observation excluded, so running on after a success changes nothing.

    Args:
        task: the environment.
        config: the agent's options.
        agent: what to evaluate.
        key: for starts, goals within their cells, filter and environment noise.
        repeats: episodes per goal.
    """
    nets = make_networks(config.agent, task_spec(task))
    params = agent.model

    def begin(goal: Array) -> tuple[Carried, ActFn]:
        achiever = make_achiever(config.agent, nets, agent, world_model.encode(nets, params, goal), evaluated=True)

        def act(carried: tuple[Latent, Array, Array], obs: Array, keys: Sequence[Key]) -> tuple[Carried, Array]:
            latent, action, is_first = carried
            embed = world_model.encode(nets, params, obs)
            latent, _ = observe_step(nets.rssm, params["rssm"], latent, action, embed, is_first, keys[0])
            action = achiever(latent.feature, keys[1]).astype(jnp.float32)
            return (latent, action, jnp.zeros_like(is_first)), action

        count = goal.shape[0]
        nothing = jnp.zeros((count, task.action_size))
        return (zero_latent(config.agent.world_model, (count,)), nothing, jnp.ones(count, bool)), act

    return _play(task, begin, key, repeats)


def evaluate_random(task: Task, key: Key, repeats: int = 1) -> Evaluation:
    """The control: uniformly random actions toward the same goals."""

    def begin(goal: Array) -> tuple[Carried, ActFn]:
        return (), lambda carried, obs, keys: (carried, random_action(task, obs.shape[0], keys[1]))

    return _play(task, begin, key, repeats)


def _play(task: Task, begin: Callable[[Array], tuple[Carried, ActFn]], key: Key, repeats: int) -> Evaluation:
    """Whole episodes; `begin(goal [N, D])` is what a policy remembers at first and how it acts."""
    num_goals = task.env.eval_goals(task.params).shape[0]
    reset_key, run_key = jax.random.split(key)
    index = jnp.tile(jnp.arange(num_goals), repeats)
    reset_keys = jax.random.split(reset_key, index.shape[0])
    obs, env_state = jax.vmap(task.env.reset_to_eval_goal, in_axes=(0, 0, None))(reset_keys, index, task.params)
    goal = jax.vmap(task.env.desired_goal)(env_state)
    carried, act = begin(goal)

    def step(carry: tuple[EnvState, Array, Carried], key: Key) -> tuple[tuple, tuple[Array, Array]]:
        env_state, obs, carried = carry
        *act_keys, env_key = jax.random.split(key, 3)
        carried, action = act(carried, obs, act_keys)
        obs, env_state, reward, *_ = jax.vmap(task.env.step_env, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, index.shape[0]), env_state, jax.vmap(task.env_action)(action), task.params
        )
        return (env_state, obs, carried), (obs, reward)

    keys = jax.random.split(run_key, task.episode_steps)
    _, (visited, rewards) = jax.lax.scan(step, (env_state, obs, carried), keys)
    return _summarise(task, obs, visited, rewards, goal, num_goals)


def _summarise(task: Task, first: Array, visited: Array, rewards: Array, goal: Array, num_goals: int) -> Evaluation:
    achieved = task.env.achieved_goal(visited)
    held = task.env.success(achieved, goal)
    success = {name: _per_goal(value.any(axis=0), num_goals) for name, value in held.items()}
    reached = next(iter(held.values()))
    steps = jnp.where(reached.any(axis=0), jnp.argmax(reached, axis=0) + 1, visited.shape[0])
    closest = task.env.distance(achieved, goal).min(axis=0)
    trajectories = jnp.concatenate([first[None], visited])[:, :num_goals]
    steps, closest, reward = (_per_goal(x, num_goals) for x in (steps, closest, rewards.sum(axis=0)))
    return Evaluation(success, steps, closest, reward, trajectories, goal[:num_goals])


def _per_goal(values: Array, num_goals: int) -> Array:
    return values.astype(jnp.float32).reshape(-1, num_goals).mean(axis=0)


def evaluation_metrics(evaluation: Evaluation) -> Metrics:
    """Scalars by the original's names, of each goal and of all.

    `max_eval_metric_<name>/goal_<i>` and `.../goal_all`, `sum_eval_metric_reward/...`, and our own `eval_closest/...`.
    """
    metrics: Metrics = {"eval_length": evaluation.steps.mean()}
    shown = {f"max_eval_metric_{name}": values for name, values in evaluation.success.items()}
    shown |= {"sum_eval_metric_reward": evaluation.reward, "eval_closest": evaluation.closest}
    for name, values in shown.items():
        metrics[f"{name}/goal_all"] = values.mean()
        for index in range(values.shape[0]):
            metrics[f"{name}/goal_{index}"] = values[index]
    return metrics
