"""Three questions, apart from each other: `python -m experiments.diagnose --what achiever --preset=fast`.

* achiever: with a replay that covers everything, does it learn to reach every goal, and in how many updates?
* explorer: does it find disagreement where data is missing, and go there?
* planner: does its fitness rank goals as real exploration from them does?

The last two look at the checkpoint of a run, `--logdir`. Each comes with a control that must fail.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from rich.console import Console

import envs
from experiments.cli import main, parse_run
from experiments.compilation import enable_compilation_cache
from experiments.config import RunConfig
from experiments.options import at_least_one
from experiments.program import abstract_state, checkpoint_store, run_task, take_seed
from peg_jax.core import rng
from peg_jax.core.config import require, static
from peg_jax.core.environment import Task, make_task
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.peg import agent as agent_module
from peg_jax.peg import density, disagreement, evaluation, rollout, training, world_model
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.networks import make_networks
from peg_jax.peg.strategies.planned import exploration_fitness, start_latent
from peg_jax.peg.training import TrainState
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import write_json

Figures = dict[str, Any]


@struct.dataclass
class DiagnoseConfig(RunConfig):
    """Ask one part of the agent one question."""

    what: tuple[Literal["achiever", "explorer", "planner"], ...] = static(("achiever",))  # questions
    updates: int = static(4_000)  # achiever: gradient updates
    report_every: int = static(500)  # achiever: updates between evaluations
    coverage_episodes: int = static(4_000)  # achiever: random episodes from everywhere, the whole of its data
    goals: int = static(128)  # planner: goals tried in imagination and for real
    output: str = static("")  # JSON file for the figures; empty prints only


OWN_OPTIONS = tuple(field.name for field in fields(DiagnoseConfig) if field.name not in RunConfig.__dataclass_fields__)


def diagnose_achiever(config: DiagnoseConfig, console: Console) -> list[Figures]:
    """Train world model, achiever and distance on covering data alone; success per goal as the updates go by.

    Raises:
        ConfigError: the environment cannot start episodes everywhere.
    """
    env, params = envs.make(config.env)
    require(hasattr(params, "start_anywhere"), "env", config.env, "it has no `start_anywhere` to cover it with")
    task, algorithm = make_task(env, params), config.algorithm()
    cover = make_task(env, replace(params, start_anywhere=True))
    loop = replace(algorithm.loop, prefill=config.coverage_episodes)
    key = jax.random.key(config.seed)
    state = jax.jit(lambda k: training.init(cover, replace(algorithm, loop=loop), config.method, k))(key)
    train = jax.jit(partial(_train_achiever, task, replay_state=state.seed.replay, updates=config.report_every))
    evaluate = jax.jit(lambda c, a, k: evaluation.evaluate(task, c, a, k, config.eval_repeats))
    agent, rows = state.seed.agent, []
    for index in range(1 + config.updates // config.report_every):
        if index:
            agent, metrics = train(algorithm, agent, key=jax.random.fold_in(rng.named(key, "train"), index))
        result = evaluate(algorithm, agent, jax.random.fold_in(rng.named(key, "evaluate"), index))
        success = {name: np.asarray(value).round(3).tolist() for name, value in result.success.items()}
        row: Figures = {"updates": index * config.report_every, "success": success}
        if index:
            row["metrics"] = {name: round(float(value), 4) for name, value in metrics.items()}
        rows.append(row)
        means = "  ".join(f"{name} {np.mean(value):.2f}" for name, value in success.items())
        console.print(f"{row['updates']:6d} updates  {means}  {list(success.values())[-1]}", soft_wrap=True)
    return rows


def _train_achiever(
    task: Task, config: PEGConfig, agent: AgentState, replay_state: Any, updates: int, key: Key
) -> tuple[AgentState, Metrics]:
    replay, spec = training.build_replay(task, config), rollout.task_spec(task)
    nets = make_networks(config.agent, spec)

    def step(agent: AgentState, key: Key) -> tuple[AgentState, Metrics]:
        batch_key, model_key, starts_key, achiever_key = jax.random.split(key, 4)
        batches = training.sample_batches(config, replay, replay_state, batch_key)
        batch = jax.tree.map(lambda x: x[-1], batches)
        model, inference, metrics = world_model.update(
            agent.world_model, nets, batches, model_key, config.agent.world_model
        )
        starts = agent_module.choose_starts(config.agent, nets, model.params, inference, batch, starts_key)
        achiever, distance, more = agent_module.update_achiever(
            config.agent, spec, nets, agent, model.params, inference, starts, achiever_key
        )
        return replace(agent, world_model=model, achiever=achiever, distance=distance), metrics | more

    agent, metrics = jax.lax.scan(step, agent, jax.random.split(key, updates))
    return agent, jax.tree.map(jnp.mean, metrics)


def diagnose_explorer(config: DiagnoseConfig, task: Task, state: TrainState, console: Console) -> Figures:
    """Where the ensemble disagrees, and where the explorer goes, against the density of the replay.

    Control: an ensemble that was never trained.
    """
    algorithm, seed, key = config.algorithm(), state.seed, jax.random.key(config.seed + 1)
    keys = rng.split(key, "replay", "points", "random", "explore", "fresh")
    replay = training.build_replay(task, algorithm)
    seen = density.fit(replay.sample_records(seed.replay, keys[0], 5_000))
    points = jax.random.uniform(keys[1], (1_000, task.obs_size), minval=task.goal_low, maxval=task.goal_high)
    rarity = -density.log_density(seen, points)
    fresh = agent_module.init(config.agent, rollout.task_spec(task), keys[4])
    random = rollout.random_episodes(task, 64, keys[2]).obs[:, 1:].reshape(-1, task.obs_size)
    explored = _explore(task, algorithm, seed.agent, keys[3]).reshape(-1, task.obs_size)
    figures = {
        "rank_correlation_of_disagreement_and_rarity": _spearman(
            _disagreement_at(task, algorithm, seed.agent, points), rarity
        ),
        "control_untrained_ensemble": _spearman(
            _disagreement_at(task, algorithm, replace(seed.agent, disagreement=fresh.disagreement), points), rarity
        ),
        "median_rarity_where_the_explorer_went": float(jnp.median(-density.log_density(seen, explored))),
        "control_random_actions": float(jnp.median(-density.log_density(seen, random))),
    }
    console.print({"explorer": figures})
    return figures


def _disagreement_at(task: Task, config: PEGConfig, agent: AgentState, obs: Array) -> Array:
    """Intrinsic reward `[n]` of the posterior at single observations `[n, D]`, averaged over random actions."""
    nets = make_networks(config.agent, rollout.task_spec(task))

    def at(obs: Array, key: Key) -> Array:
        latent = start_latent(nets, agent, config, obs, key)
        actions = jax.random.uniform(key, (16, task.action_size), minval=-1.0, maxval=1.0)
        feature = jnp.broadcast_to(latent.feature, (16, latent.feature.shape[-1]))
        inputs = jnp.concatenate([feature, actions], axis=-1)
        return disagreement.reward(nets.member, agent.disagreement.params, inputs, config.agent.disagreement).mean()

    return jax.jit(jax.vmap(at))(obs, jax.random.split(jax.random.key(0), obs.shape[0]))


def _explore(task: Task, config: PEGConfig, agent: AgentState, key: Key) -> Array:
    """Observations `[T, 64, D]` of whole episodes under the explorer."""
    obs, env_state = rollout.reset(task, 64, key)
    start = rollout.begin(task, config.agent, obs, env_state, obs)
    start = replace(start, exploring=jnp.ones(64, bool))
    return rollout.advance(task, config, agent, start, task.episode_steps, key)[1].obs


def diagnose_planner(config: DiagnoseConfig, task: Task, state: TrainState, console: Console) -> Figures:
    """Fitness of goals in imagination against the rarity of what is really met after going for them.

    Control: the same figures with the goals shuffled.
    """
    algorithm, seed, key = config.algorithm(), state.seed, jax.random.key(config.seed + 2)
    keys = rng.split(key, "goals", "reset", "start", "fitness", "act", "replay", "shuffle")
    count = config.goals
    nets = make_networks(config.agent, rollout.task_spec(task))
    goals = jax.random.uniform(keys[0], (count, task.obs_size), minval=task.goal_low, maxval=task.goal_high)
    obs, env_state = rollout.reset(task, count, keys[1])
    start = start_latent(nets, seed.agent, algorithm, obs[0], keys[2])
    fitness = jax.jit(exploration_fitness(task, algorithm, seed.agent, start))(goals, keys[3])
    begun = rollout.begin(task, config.agent, obs, env_state, goals)
    advance = jax.jit(lambda s, k: rollout.advance(task, algorithm, seed.agent, s, task.episode_steps, k))
    finished, records = advance(begun, keys[4])
    seen = density.fit(training.build_replay(task, algorithm).sample_records(seed.replay, keys[5], 5_000))
    rarity = -density.log_density(seen, records.obs.reshape(-1, task.obs_size)).reshape(task.episode_steps, count)
    exploring = jnp.arange(task.episode_steps)[:, None] >= finished.go_steps
    found = jnp.sum(rarity * exploring, axis=0) / jnp.maximum(exploring.sum(axis=0), 1)
    figures = {
        "rank_correlation_of_fitness_and_rarity_found": _spearman(fitness, found),
        "control_shuffled": _spearman(jax.random.permutation(keys[6], fitness), found),
        "rarity_found_best_quarter": float(found[jnp.argsort(-fitness)[: count // 4]].mean()),
        "rarity_found_worst_quarter": float(found[jnp.argsort(fitness)[: count // 4]].mean()),
    }
    console.print({"planner": figures})
    return figures


def _spearman(x: Array, y: Array) -> float:
    ranks = jnp.argsort(jnp.argsort(jnp.stack([x, y]))).astype(jnp.float32)
    return float(jnp.corrcoef(ranks)[0, 1])


def run(arguments: Sequence[str]) -> int:
    """Diagnose as the command line says; returns the exit code."""
    config, existing = parse_run(DiagnoseConfig, arguments, OWN_OPTIONS)
    require(len(config.what) > 0, "what", config.what, "name a question")
    at_least_one(config, "updates", "report_every", "coverage_episodes", "goals")
    enable_compilation_cache()
    console = Console()
    figures: Figures = {}
    if "achiever" in config.what:
        figures["achiever"] = diagnose_achiever(config, console)
    looking = {"explorer": diagnose_explorer, "planner": diagnose_planner}
    chosen = [name for name in looking if name in config.what]
    if chosen:
        require(existing, "logdir", config.logdir, f"{chosen[0]} looks at a trained run; name its directory")
        task = run_task(config)
        store = checkpoint_store(config, RunDirectory(config.logdir), print)
        state = take_seed(store.restore(abstract_state(config, task))[0], 0)
        for name in chosen:
            figures[name] = looking[name](config, task, state, console)
    if config.output:
        write_json(Path(config.output), figures)
    return 0


if __name__ == "__main__":
    main(run)
