"""Go-Explore episodes in parallel environments (Hu et al. 2023, Algorithm 1).

The achiever pursues the commanded goal until the learned distance says that it is reached or the Go phase has lasted
too long; the explorer has the rest of the episode. There is no way back within an episode. Episodes of one policy
alone are mixed in as the cadences ask.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from peg_jax.core.environment import EnvState, Task
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.peg import actor_critic, distance, world_model
from peg_jax.peg.agent import AgentState, make_achiever
from peg_jax.peg.config import AgentConfig, LoopConfig, PEGConfig
from peg_jax.peg.networks import Networks, Spec, make_networks
from peg_jax.peg.rssm import Latent, observe_step, zero_latent

ACHIEVER, EXPLORER, TWO_POLICY = range(3)
"""Kinds of episodes, in the order in which one round runs those that are due."""

SUBGOAL_METRICS = ("sum_train_log_subgoal_dist", "max_train_log_subgoal_success", "train_log_subgoal_time")
"""How far from its goal a Go phase ended, whether it got there, and its steps."""


@struct.dataclass
class RolloutState:
    """E episodes in the middle of their run."""

    env_state: EnvState  # [E]
    obs: Array  # [E, D] the observation to act on
    latent: Latent  # [E, ...] filtered up to the observation before
    action: Array  # [E, A] the action that led to `obs`
    goal: Array  # [E, D] the commanded goal
    kind: Array  # int32 [E], who acts: ACHIEVER, EXPLORER or both
    wild: Array  # bool [E], whether it explores with random actions
    is_first: Array  # bool [E]
    exploring: Array  # bool [E], True once the explorer has taken over
    go_steps: Array  # int32 [E], length of the Go phase so far
    go_distance: Array  # float32 [E], sum over the Go phase of the predicted steps to the goal
    reached: Array  # bool [E], whether the distance was ever below the threshold in the Go phase


def task_spec(task: Task) -> Spec:
    """Sizes of the networks for a task."""
    return Spec(task.obs_size, task.action_size, task.discrete)


def reset(task: Task, num_envs: int, key: Key) -> tuple[Array, EnvState]:
    """Fresh episodes: `(obs [E, D], env_state [E])`."""
    return jax.vmap(task.env.reset_env, in_axes=(0, None))(jax.random.split(key, num_envs), task.params)


def episode_kinds(config: LoopConfig) -> np.ndarray:
    """The kinds of successive episodes, int32 `[P]`, after which they repeat.

    The original's loop goes round, and in each round runs one episode of every kind that is due; a kind is due in the
    first round and then every so many. Parallel environments take the next episodes of this sequence.
    """
    every = {ACHIEVER: config.achiever_every, EXPLORER: config.explorer_every, TWO_POLICY: config.two_policy_every}
    rounds = math.lcm(*(period for period in every.values() if period))
    due = [kind for turn in range(rounds) for kind, period in every.items() if period and turn % period == 0]
    return np.asarray(due, np.int32)


def begin(
    task: Task,
    config: AgentConfig,
    obs: Array,
    env_state: EnvState,
    goal: Array,
    kind: Array | int = TWO_POLICY,
    wild: Array | bool = False,
) -> RolloutState:
    """Episodes at their first observation, `obs [E, D]`, sent toward `goal [E, D]`.

    `kind [E]` says who acts, `wild [E]` where random actions take the explorer's place.
    """
    num_envs = obs.shape[0]
    return RolloutState(
        env_state=env_state,
        obs=obs,
        latent=zero_latent(config.world_model, (num_envs,)),
        action=jnp.zeros((num_envs, task.action_size)),
        goal=goal,
        kind=jnp.broadcast_to(jnp.asarray(kind, jnp.int32), num_envs),
        wild=jnp.broadcast_to(jnp.asarray(wild), num_envs),
        is_first=jnp.ones(num_envs, bool),
        exploring=jnp.broadcast_to(jnp.asarray(kind) == EXPLORER, num_envs),
        go_steps=jnp.zeros(num_envs, jnp.int32),
        go_distance=jnp.zeros(num_envs),
        reached=jnp.zeros(num_envs, bool),
    )


def advance(
    task: Task, config: PEGConfig, agent: AgentState, state: RolloutState, steps: int, key: Key
) -> tuple[RolloutState, Episode]:
    """`steps` environment steps under fixed parameters.

    Returns:
        `(state, records [steps, E, ...])`: one record per step, the observation after it and the action that led there.
    """
    nets = make_networks(config.agent, task_spec(task))
    limit = round(config.loop.go_fraction * task.episode_steps)

    def step(state: RolloutState, key: Key) -> tuple[RolloutState, Episode]:
        filter_key, act_key, env_key = jax.random.split(key, 3)
        latent = _filter(nets, agent, state, filter_key)
        action = _act(task, nets, config.agent, agent, state, latent, act_key)
        env_keys = jax.random.split(env_key, action.shape[0])
        obs, env_state, *_ = jax.vmap(task.env.step_env, in_axes=(0, 0, 0, None))(
            env_keys, state.env_state, jax.vmap(task.env_action)(action), task.params
        )
        steps_left = predicted_steps(nets, config.agent, agent, obs, state.goal)
        state = dataclasses.replace(state, env_state=env_state, obs=obs, latent=latent, action=action)
        state = switch(state, steps_left, limit, config.loop.subgoal_threshold)
        return state, Episode(obs, action, state.goal)

    return jax.lax.scan(step, state, jax.random.split(key, steps))


def switch(state: RolloutState, steps_left: Array, limit: int, threshold: Array | float) -> RolloutState:
    """Hand episodes over to the explorer after a step.

    The comparison with the limit is strict, as in the released code, so an unsuccessful Go phase lasts `limit + 1`
    steps; a distance equal to the threshold does not switch.

    Args:
        state: after the step; episodes of the achiever alone are never handed over.
        steps_left: `[E]` predicted steps from the new observation to the goal.
        limit: L, whole steps.
        threshold: predicted steps below which the goal counts as reached; negative: never, whatever is predicted.
    """
    going = ~state.exploring
    go_steps = state.go_steps + going
    reached = going & (steps_left < threshold) & (threshold >= 0)
    return dataclasses.replace(
        state,
        is_first=jnp.zeros_like(state.is_first),
        go_steps=go_steps,
        go_distance=state.go_distance + jnp.where(going, steps_left, 0.0),
        reached=state.reached | reached,
        exploring=state.exploring | ((state.kind == TWO_POLICY) & (reached | (go_steps > limit))),
    )


def predicted_steps(nets: Networks, config: AgentConfig, agent: AgentState, obs: Array, goal: Array) -> Array:
    """Temporal distance `[E]` in steps between real observations and goals `[E, D]`."""
    current, wanted = (world_model.encode(nets, agent.model, x) for x in (obs, goal))
    normalize = config.distance.normalize_inputs
    fraction = distance.between(nets.distance, agent.distance.params, current, wanted, normalize)
    return config.imagination.horizon * fraction


def _filter(nets: Networks, agent: AgentState, state: RolloutState, key: Key) -> Latent:
    params = agent.model
    embed = world_model.encode(nets, params, state.obs)
    latent, _ = observe_step(nets.rssm, params["rssm"], state.latent, state.action, embed, state.is_first, key)
    return latent


def _act(
    task: Task,
    nets: Networks,
    config: AgentConfig,
    agent: AgentState,
    state: RolloutState,
    latent: Latent,
    key: Key,
) -> Array:
    go_key, explore_key, random_key = jax.random.split(key, 3)
    goal_embed = world_model.encode(nets, agent.model, state.goal)
    achiever = make_achiever(config, nets, agent, goal_embed, evaluated=False)
    explorer = actor_critic.make_policy(nets.explorer, agent.explorer.actor.params, config.explorer)
    go = achiever(latent.feature, go_key)
    explore = explorer(latent.feature).sample_action(explore_key)
    explore = jnp.where(state.wild[:, None], random_action(task, state.wild.shape[0], random_key), explore)
    return jnp.where(state.exploring[:, None], explore, go)


def assemble(first_obs: Array, records: Episode, goal: Array) -> Episode:
    """Whole episodes from the reset and the steps: `[T, E, ...]` records become `[E, T+1, ...]`.

    The reset record has a zero action; the goal of every record is the commanded one, in both phases (test 24).
    """
    first = Episode(first_obs, jnp.zeros_like(records.action[0]), goal)
    whole = jax.tree.map(lambda head, tail: jnp.concatenate([head[None], tail]), first, records)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), whole)


def random_episodes(task: Task, num_envs: int, key: Key) -> Episode:
    """Prefill: whole episodes `[E, T+1, ...]` of uniformly random actions; the goal is the environment's own."""
    reset_key, step_key = jax.random.split(key)
    obs, env_state = reset(task, num_envs, reset_key)
    goal = jax.vmap(task.env.desired_goal)(env_state)

    def step(env_state: EnvState, key: Key) -> tuple[EnvState, Episode]:
        action_key, env_key = jax.random.split(key)
        action = random_action(task, num_envs, action_key)
        obs, env_state, *_ = jax.vmap(task.env.step_env, in_axes=(0, 0, 0, None))(
            jax.random.split(env_key, num_envs), env_state, jax.vmap(task.env_action)(action), task.params
        )
        return env_state, Episode(obs, action, goal)

    _, records = jax.lax.scan(step, env_state, jax.random.split(step_key, task.episode_steps))
    return assemble(obs, records, goal)


def random_action(task: Task, num_envs: int, key: Key) -> Array:
    """Uniform in [-1, 1], `[num_envs, A]`, or one-hot where the actions are discrete."""
    if task.discrete:
        return jax.nn.one_hot(jax.random.randint(key, (num_envs,), 0, task.action_size), task.action_size)
    return jax.random.uniform(key, (num_envs, task.action_size), minval=-1.0, maxval=1.0)


def achievements(task: Task, obs: Array, goal: Array) -> Metrics:
    """`max_train_metric_<name>`: share of episodes `obs [T, E, D]` in which success toward `goal [E, D]` ever held.

    Episodes of the explorer alone count with the environment's own goal, to which they were not sent.
    """
    held = task.env.success(task.env.achieved_goal(obs), goal)
    return {f"max_train_metric_{name}": value.any(axis=0).mean() for name, value in held.items()}


def rollout_metrics(state: RolloutState) -> Metrics:
    """Means over the finished episodes that had a goal, by the original's names; NaN where none had."""
    had_goal = (state.kind != EXPLORER).astype(jnp.float32)

    def mean(x: Array) -> Array:
        return jnp.sum(x * had_goal) / had_goal.sum()

    values = (state.go_distance, state.reached, state.go_steps)
    return {name: mean(value) for name, value in zip(SUBGOAL_METRICS, values, strict=True)}
