"""Compile time, speed and memory of the compiled parts: `python -m experiments.bench --what update plan env epoch`.

Speeds of matrix-bound parts are quoted as a share of the machine's own float32 matmul rate, measured in alternation
with them, because a shared machine's absolute figures drift.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import envs
from experiments.cli import main, parse
from experiments.config import RunConfig, validate_run
from experiments.flops import compiled_matmul_flops, needed_plan_flops, needed_update_flops
from experiments.options import at_least_one, override
from experiments.presets import PRESETS, preset
from experiments.program import abstract_state, compile_program, run_task
from experiments.seeds import seed_keys
from peg_jax.core.config import require
from peg_jax.core.environment import Task
from peg_jax.core.replay import Episode
from peg_jax.core.types import Array
from peg_jax.peg import agent as agent_module
from peg_jax.peg import planner, rollout
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.networks import make_networks
from peg_jax.peg.planner import GoalDistribution
from peg_jax.peg.strategies.planned import exploration_fitness, start_latent
from peg_jax.run.directory import describe_start
from peg_jax.run.files import write_json

Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """Measure the compiled parts."""

    what: tuple[Literal["update", "plan", "env", "physics", "epoch"], ...] = ("update", "plan", "env", "epoch")  # parts
    env: str = "point_maze"  # environment
    preset: str = "paper"  # sizes of `update` and `plan`
    epoch_preset: str = "fast"  # sizes of `epoch`
    num_seeds: tuple[int, ...] = (1,)  # vmapped seeds of `epoch`, one measurement each
    physics: Literal["auto", "mjx", "mujoco"] = "auto"  # engine of the environment
    num_envs: int = 64  # worlds of `physics`
    repeats: int = 5  # timed calls; medians are reported
    output: str = ""  # JSON file for the figures; empty prints only


class MatmulPeak:
    """The machine's float32 matmul rate, measured again at each call."""

    def __init__(self, size: int = 2000) -> None:
        """Compile a square product of `size`."""
        self.flops = 2.0 * size**3
        self.matrix = jax.random.normal(jax.random.key(0), (size, size))
        self.product = jax.jit(lambda x: x @ x).lower(self.matrix).compile()
        self()

    def __call__(self) -> float:
        """FLOP/s, best of five."""
        return self.flops / min(_seconds(self.product, self.matrix) for _ in range(5))


def _seconds(function: Callable[..., Any], *arguments: Any) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - began


def _share_of_peak(function: Callable[..., Any], arguments: tuple[Any, ...], flops: float, repeats: int) -> Figures:
    """Time `function` in alternation with the machine's matmul peak."""
    peak = MatmulPeak()
    jax.block_until_ready(function(*arguments))
    before, seconds, shares = peak(), [], []
    for _ in range(repeats):
        seconds.append(_seconds(function, *arguments))
        after = peak()
        shares.append(flops / seconds[-1] / (0.5 * (before + after)))
        before = after
    return {
        "seconds": round(float(np.median(seconds)), 3),
        "gflop_per_second": round(flops / float(np.median(seconds)) / 1e9, 1),
        "matmul_peak_gflop_per_second": round(before / 1e9, 1),
        "share_of_peak": round(float(np.median(shares)), 3),
        "share_of_peak_min_max": [round(min(shares), 3), round(max(shares), 3)],
    }


def _compile(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Figures]:
    began = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - began
    memory, text = compiled.memory_analysis(), compiled.as_text()
    assert memory is not None and text is not None  # every backend used here reports both
    figures = {
        "compile_seconds": round(seconds, 1),
        "temporary_gigabytes": round(memory.temp_size_in_bytes / 1e9, 3),
        "compiled_matmul_gflop": round(compiled_matmul_flops(text) / 1e9, 4),
    }
    return compiled, figures


def bench_update(config: RunConfig, task: Task, repeats: int) -> Figures:
    """One full agent update on one batch. The whole new state is returned, so that nothing can be left out."""
    algorithm, spec = config.algorithm(), rollout.task_spec(task)
    key = jax.random.key(0)
    agent = agent_module.init(config.agent, spec, key)
    shape = (config.agent.world_model.updates, config.replay.length, config.replay.batch)
    obs = jax.random.uniform(key, (*shape, task.obs_size), minval=0.0, maxval=9.0)
    action = jax.random.uniform(key, (*shape, task.action_size), minval=-1.0, maxval=1.0)
    batch = Episode(obs, action, jnp.zeros_like(obs))
    arguments = (algorithm, agent, batch, key)
    update, figures = _compile(lambda c, a, b, k: agent_module.update(c.agent, spec, a, b, k), *arguments)
    parts = needed_update_flops(algorithm, spec)
    needed = sum(parts.values())
    figures["needed_matmul_gflop"] = round(needed / 1e9, 4)
    figures["needed_by_part"] = {name: round(flops / 1e9, 2) for name, flops in parts.items()}
    return figures | _share_of_peak(update, arguments, needed, repeats)


def bench_plan(config: RunConfig, task: Task, repeats: int) -> Figures:
    """One goal search from a first observation."""
    algorithm, spec, key = config.algorithm(), rollout.task_spec(task), jax.random.key(0)
    agent = agent_module.init(config.agent, spec, key)

    def plan(config: PEGConfig, agent: agent_module.AgentState, key: Array) -> planner.Plan:
        obs = jnp.zeros(task.obs_size)
        start = start_latent(make_networks(config.agent, spec), agent, config, obs, key)
        first = GoalDistribution(obs, jnp.full_like(obs, config.planner.std_scale))
        fitness, seeds = exploration_fitness(task, config, agent, start), jnp.zeros((0, task.obs_size))
        return planner.search(fitness, first, task.goal_low, task.goal_high, seeds, key, config.planner)

    arguments = (algorithm, agent, key)
    compiled, figures = _compile(plan, *arguments)
    needed = needed_plan_flops(algorithm, spec)
    figures["needed_matmul_gflop"] = round(needed / 1e9, 4)
    return figures | _share_of_peak(compiled, arguments, needed, repeats)


def bench_env(task: Task, repeats: int, num_envs: int = 1024, steps: int = 500) -> Figures:
    """Batched environment steps with automatic reset and random actions, under one scan."""
    env, params = task.env, task.params
    space = env.action_space(params)
    reset_keys = jax.random.split(jax.random.key(0), num_envs)
    _, state = jax.vmap(env.reset_env, in_axes=(0, None))(reset_keys, params)

    def step(state: Any, key: Array) -> tuple[Any, Array]:
        keys = jax.random.split(key, num_envs)
        actions = jax.random.uniform(key, (num_envs, *space.shape), minval=space.low, maxval=space.high)
        _, state, reward, *_ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, actions, params)  # type: ignore[attr-defined]  # gymnax
        return state, reward.sum()

    run, figures = _compile(lambda s, k: jax.lax.scan(step, s, jax.random.split(k, steps)), state, jax.random.key(1))
    run(state, jax.random.key(1))
    seconds = sorted(_seconds(run, state, jax.random.key(2)) for _ in range(repeats))
    return {
        "num_envs": num_envs,
        "steps_per_second": round(num_envs * steps / float(np.median(seconds))),
        "steps_per_second_best": round(num_envs * steps / seconds[0]),
        "compile_seconds": figures["compile_seconds"],
    }


def bench_physics(task: Task, repeats: int, num_envs: int = 64, steps: int = 50) -> Figures:
    """The engine, and the environment around it, each in one scan, in alternation with one `mujoco.rollout`.

    Random constant controls for `steps` agent steps of the same batch from the starts of episodes. The rollout takes
    all of them in one call: it is what C MuJoCo can do on this machine.
    """
    from envs.mujoco.engine import MujocoEngine  # not everyone has it installed

    env: Any = task.env
    keys = jax.random.split(jax.random.key(0), num_envs)
    start = jax.vmap(env.start)(keys)
    actions = jax.random.uniform(jax.random.key(1), (num_envs, task.action_size), minval=-1.0, maxval=1.0)
    control = jax.vmap(env.control)(start, actions)

    def scan(state: Any, control: Array) -> Any:
        return jax.lax.scan(lambda s, _: (jax.vmap(env.engine.step)(s, control), None), state, None, length=steps)[0]

    def episodes(state: Any, actions: Array) -> Any:
        step = jax.vmap(env.step_env, in_axes=(0, 0, 0, None))
        return jax.lax.scan(lambda s, _: (step(keys, s, actions, task.params)[1], None), state, None, length=steps)[0]

    _, began = jax.vmap(env.reset_env, in_axes=(0, None))(keys, task.params)
    run, figures = _compile(scan, start, control)
    whole = jax.jit(episodes)
    one_rollout = jax.jit(jax.vmap(MujocoEngine(env.model, env.substeps * steps).step))
    seconds: dict[str, list[float]] = {"engine": [], "rollout": [], "environment": []}
    jax.block_until_ready((run(start, control), one_rollout(start, control), whole(began, actions)))
    for _ in range(repeats):
        seconds["engine"].append(_seconds(run, start, control))
        seconds["rollout"].append(_seconds(one_rollout, start, control))
        seconds["environment"].append(_seconds(whole, began, actions))
    ratios = np.array(seconds["engine"]) / np.array(seconds["rollout"])
    around = np.array(seconds["environment"]) / np.array(seconds["rollout"])
    return {
        "engine": env.physics,
        "num_envs": num_envs,
        "agent_steps_per_second": round(num_envs * steps / float(np.median(seconds["engine"]))),
        "one_rollout_steps_per_second": round(num_envs * steps / float(np.median(seconds["rollout"]))),
        "times_one_rollout": round(float(np.median(ratios)), 2),
        "times_one_rollout_min_max": [round(float(ratios.min()), 2), round(float(ratios.max()), 2)],
        "environment_times_one_rollout": round(float(np.median(around)), 2),
        "environment_times_one_rollout_min_max": [round(float(around.min()), 2), round(float(around.max()), 2)],
        "compile_seconds": figures["compile_seconds"],
    }


def bench_epoch(config: RunConfig, repeats: int) -> Figures:
    """Whole compiled epochs: collecting, planning and learning, all seeds together."""
    validate_run(config)
    task = run_task(config)
    began = time.perf_counter()
    program = compile_program(config, task, abstract_state(config, task))
    compile_seconds = time.perf_counter() - began
    assert program.init is not None
    state, algorithm = program.init(seed_keys(config)), config.algorithm()
    state, _ = program.epoch(algorithm, state)  # the first one makes the pretraining updates as well
    jax.block_until_ready(state)
    updates, seconds = int(state.progress.updates), []
    for _ in range(repeats):
        began = time.perf_counter()
        state, _ = jax.block_until_ready(program.epoch(algorithm, state))
        seconds.append(time.perf_counter() - began)
    per_epoch = (int(state.progress.updates) - updates) / repeats
    steps = program.cycles_per_epoch * config.loop.num_envs * task.episode_steps
    median = float(np.median(seconds))
    alone = bench_env(task, repeats, config.num_seeds * config.loop.num_envs)["steps_per_second"]
    return {
        "num_seeds": config.num_seeds,
        "compile_seconds": round(compile_seconds, 1),
        "updates_per_second_all_seeds": round(config.num_seeds * per_epoch / median, 3),
        "env_steps_per_second_all_seeds": round(config.num_seeds * steps / median, 1),
        "environment_share": round(config.num_seeds * steps / alone / median, 3),  # of an epoch, stepped alone
        "agent_bytes_per_seed": _bytes(state.seed.agent) // config.num_seeds,
        "state_bytes_per_seed": _bytes(abstract_state(config, task)) // config.num_seeds,
    }


def _bytes(tree: Any) -> int:
    leaves = jax.tree.leaves(jax.tree.map(lambda x: x.size * x.dtype.itemsize, tree))
    return int(sum(leaves))


def run(arguments: Sequence[str]) -> int:
    """Measure as the command line says; returns the exit code."""
    options = parse(BenchConfig, arguments, BenchConfig())
    at_least_one(options, "num_envs", "repeats")
    require(len(options.what) > 0, "what", options.what, "name a part to measure")
    require(min(options.num_seeds, default=0) >= 1, "num_seeds", options.num_seeds, "name numbers of 1 or more")
    for option in ("preset", "epoch_preset"):
        known = f"known presets: {', '.join(PRESETS)}"
        require(getattr(options, option) in PRESETS, option, getattr(options, option), known)
    config = override(preset(RunConfig, options.preset, options.env), {"physics": options.physics})
    if "physics" in options.what:
        require(envs.has_physics(options.env), "what", "physics", f"{options.env} has none; name another --env")
    task, console = run_task(config), Console()
    parts: dict[str, Callable[[], Figures | list[Figures]]] = {
        "update": partial(bench_update, config, task, options.repeats),
        "plan": partial(bench_plan, config, task, options.repeats),
        "env": partial(bench_env, task, options.repeats),
        "physics": partial(bench_physics, task, options.repeats, options.num_envs),
        "epoch": lambda: [
            bench_epoch(
                override(
                    preset(RunConfig, options.epoch_preset, options.env), {"num_seeds": n, "physics": options.physics}
                ),
                options.repeats,
            )
            for n in options.num_seeds
        ],
    }
    figures: dict[str, Any] = {"machine": describe_start(), "options": dataclasses.asdict(options)}
    for name in options.what:
        figures[name] = parts[name]()
        console.print({name: figures[name]})
    if options.output:
        write_json(Path(options.output), figures)
        console.print(f"figures     {options.output}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
