"""PEG: goals planned in imagination (Hu et al. 2023), for the explorer's value or for rarity."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.environment import Task
from peg_jax.core.types import Array, Key
from peg_jax.peg import actor_critic, density, disagreement, planner, world_model
from peg_jax.peg import agent as agent_module
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.goals import DENSITY_SAMPLES, GoalContext, GoalStrategy
from peg_jax.peg.imagination import RewardFn, Rollout, ValueFn, roll_out
from peg_jax.peg.networks import Networks, make_networks
from peg_jax.peg.planner import FitnessFn, GoalDistribution
from peg_jax.peg.rollout import task_spec
from peg_jax.peg.rssm import Latent, observe_step, zero_latent


@struct.dataclass
class PlannedGoals:
    """The last plan."""

    distribution: GoalDistribution  # the planner's final Gaussian
    start_obs: Array  # [D], the observation from which the plan was made
    elites: Array  # [C, D], the best candidates, best first
    elite_fitness: Array  # [C]


def init(task: Task, config: PEGConfig) -> PlannedGoals:
    """Before the first plan."""
    size, elites = task.obs_size, planner.elite_count(config.planner)
    unit = GoalDistribution(jnp.zeros(size), jnp.ones(size))
    return PlannedGoals(unit, jnp.zeros(size), jnp.zeros((elites, size)), jnp.zeros(elites))


def start_latent(nets: Networks, agent: AgentState, config: PEGConfig, obs: Array, key: Key) -> Latent:
    """One sampled posterior at a first observation `[D]`, as a batch of one."""
    params = agent.model
    embed = world_model.encode(nets, params, obs[None])
    nothing = jnp.zeros((1, nets.rssm.action_size))
    previous = zero_latent(config.agent.world_model, (1,))
    latent, _ = observe_step(nets.rssm, params["rssm"], previous, nothing, embed, jnp.ones(1, bool), key)
    return latent


def imagine_go_phase(
    task: Task,
    config: PEGConfig,
    agent: AgentState,
    start: Latent,
    goals: Array,
    key: Key,
    reward: RewardFn = agent_module.no_reward,
    value: ValueFn = agent_module.no_value,
) -> Rollout:
    """The achiever pursuing each of `goals [N, D]` in imagination; `start` is one latent, shared by all.

    It acts as in a real Go phase: an achiever that compares actions does so here, too. Its actor alone reaches far
    fewer goals, and a plan by it says less of what is found for real.
    """
    nets, params = make_networks(config.agent, task_spec(task)), agent.model
    count = goals.shape[0]
    act = agent_module.make_achiever(
        config.agent, nets, agent, world_model.encode(nets, params, goals), evaluated=False
    )
    rollout, _ = roll_out(
        start=jax.tree.map(lambda x: jnp.broadcast_to(x, (count, x.shape[-1])), start),
        action_size=task.action_size,
        act=lambda feature, key: (act(feature, key), ()),
        dynamics=agent_module.make_dynamics(config.agent.imagination, nets, params),
        reward=reward,
        value=value,
        horizon=config.planner.horizon,
        key=key,
    )
    return rollout


def exploration_fitness(task: Task, config: PEGConfig, agent: AgentState, start: Latent) -> FitnessFn:
    """PEG's objective: what the explorer expects to find at the end of the imagined Go phase.

    Rewards are the ensemble's disagreement, values the explorer's slow critic.
    """
    nets = make_networks(config.agent, task_spec(task))
    novelty = agent_module.explorer_reward(config.agent, nets, agent.disagreement.params, differentiable=False)
    value = actor_critic.make_value(nets.explorer, agent.explorer.slow_critic)

    def fitness(goals: Array, key: Key) -> Array:
        way = imagine_go_phase(task, config, agent, start, goals, key, novelty, value)
        reward = way.reward
        if not config.planner.use_value:
            final = jnp.concatenate([way.feature[-1], way.last_action], axis=-1)
            last = disagreement.reward(nets.member, agent.disagreement.params, final, config.agent.disagreement)
            reward = jnp.concatenate([reward, last[None]])
        return planner.goal_fitness(reward, way.value_tp1, config.planner)

    return fitness


def rarity_fitness(context: GoalContext, start: Latent, key: Key) -> FitnessFn:
    """How rare the imagined states are in the replay: minus the log densities of the last `final_steps`, summed.

    The released code has this objective but cannot construct it (its `SubgoalPlannerKDE`).
    """
    task, config, agent = context.task, context.config, context.agent
    nets = make_networks(config.agent, task_spec(task))
    fitted = density.fit(context.sample_states(key, DENSITY_SAMPLES))

    def fitness(goals: Array, key: Key) -> Array:
        way = imagine_go_phase(task, config, agent, start, goals, key)
        last = way.feature[1:][-config.planner.final_steps :]
        states = world_model.decode(nets, agent.model, last)
        rarity = -density.log_density(fitted, states.reshape(-1, states.shape[-1]))
        return rarity.reshape(states.shape[:2]).sum(axis=0)

    return fitness


def seed_candidates(context: GoalContext, key: Key) -> Array:
    """First-iteration candidates from replay, the environment's goals and MEGA, `[S, D]`."""
    config, task = context.config.planner, context.task
    from_replay, from_env, from_mega = (
        planner.count_of(share, config) for share in (config.seed_replay, config.seed_env_goals, config.seed_mega)
    )
    groups = [jnp.zeros((0, task.obs_size))]
    if from_replay:
        groups.append(context.sample_states(rng.named(key, "replay"), from_replay))
    if from_env:
        groups.append(task.env.sample_goals(rng.named(key, "env_goals"), from_env, task.params))
    if from_mega:
        fit_key, candidate_key = jax.random.split(rng.named(key, "mega"))
        points, candidates = (context.sample_states(k, DENSITY_SAMPLES) for k in (fit_key, candidate_key))
        groups.append(density.mega_choice(density.fit(points), candidates, from_mega))
    return jnp.concatenate(groups)


def _value_of(context: GoalContext, start: Latent, key: Key) -> FitnessFn:
    del key
    return exploration_fitness(context.task, context.config, context.agent, start)


ObjectiveFn = Callable[[GoalContext, Latent, Key], FitnessFn]


def plan_with(objective: ObjectiveFn) -> Callable[[GoalContext, PlannedGoals, Key], PlannedGoals]:
    """A `refresh` that searches for the goal with the highest fitness under `objective(context, start, key)`."""

    def plan(context: GoalContext, state: PlannedGoals, key: Key) -> PlannedGoals:
        del state  # the search starts from scratch at every plan, as published
        task, config = context.task, context.config
        obs = context.obs[0]
        nets = make_networks(config.agent, task_spec(task))
        start = start_latent(nets, context.agent, config, obs, rng.named(key, "start"))
        mean = jnp.asarray(config.planner.init_mean, jnp.float32) if config.planner.init_mean else obs
        found = planner.search(
            objective(context, start, rng.named(key, "objective")),
            GoalDistribution(mean, jnp.full_like(mean, config.planner.std_scale)),
            task.goal_low,
            task.goal_high,
            seed_candidates(context, rng.named(key, "seeds")),
            rng.named(key, "search"),
            config.planner,
        )
        elites = planner.elite_count(config.planner)
        return PlannedGoals(found.distribution, obs, found.goals[:elites], found.fitness[:elites])

    return plan


def choose(context: GoalContext, state: PlannedGoals, key: Key, count: int) -> Array:
    """Fresh draws from the planner's final Gaussian, or from its elites where it only evaluates.

    Now and then one of the environment's own goals takes the place of one of them.
    """
    task, config = context.task, context.config.planner
    if config.evaluate_only:
        goals = planner.draw_elites(state.elites, state.elite_fitness, rng.named(key, "goals"), count)
    else:
        goals = planner.sample_goals(state.distribution, rng.named(key, "goals"), count)
    if config.clip_goals:
        goals = jnp.clip(goals, task.goal_low, task.goal_high)
    own = task.env.sample_goals(rng.named(key, "env_goals"), count, task.params)
    swap = jax.random.bernoulli(rng.named(key, "swap"), config.env_goal_chance, (count, 1))
    return jnp.where(swap, own, goals)


PEG = GoalStrategy(choose, plan_with(_value_of), init)
PEG_KDE = GoalStrategy(choose, plan_with(rarity_fitness), init)
