"""Speed of the mazes and of PPO in them: `python -m experiments.curiosity_bench --num-envs 12 128 1024`.

With `--method=ppo_plus_eco` or `ppo_plus_ec` also of the R-network, of its bonus, and their share of training.

Frames per second of wall clock, and per second of processor time, which other programs on the machine disturb less.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.cli import main, parse
from experiments.compilation import enable_compilation_cache
from experiments.curiosity_config import BESIDE, CURIOUS, CuriosityRunConfig, preset, run_task, validate
from experiments.options import override
from peg_jax.core.config import require
from peg_jax.curiosity import r_network, reachability, training
from peg_jax.curiosity.bonus import Judgement
from peg_jax.curiosity.history import history_bytes, rows_for
from peg_jax.curiosity.memory import Memory
from peg_jax.curiosity.r_network import PairBatch, RNetwork, RNetworkState, Variables
from peg_jax.curiosity.task import Task
from peg_jax.curiosity.training import SeedState
from peg_jax.run.directory import describe_start
from peg_jax.run.files import write_json

Figures = dict[str, Any]
UPDATES = 4  # of the R-network in a timed call
PAIRS_PER_STEP = 0.25  # of a history, see `pairs`


@dataclasses.dataclass(frozen=True)
class CuriosityBenchConfig:
    """Measure the ray-caster, maze generation and training."""

    preset: str = "paper"  # sizes of the view and the network
    scenario: str = "sparse"  # task
    method: str = "ppo"  # bonus
    num_envs: tuple[int, ...] = (12,)  # batch sizes, one measurement each
    rollout: int = 0  # steps between updates; 0: the preset's
    train: bool = True  # measure training as well, which compiles for a minute or more
    repeats: int = 5  # timed calls; medians are reported
    output: str = ""  # JSON file for the figures; empty prints only


def measure(function: Callable[..., Any], count: int, repeats: int, *arguments: Any, unit: str = "frame") -> Figures:
    """Speed of a compiled function that makes `count` frames, or what `unit` says, per call."""
    jax.block_until_ready(function(*arguments))
    wall, processor = [], []
    for _ in range(repeats):
        began = time.perf_counter(), time.process_time()
        jax.block_until_ready(function(*arguments))
        wall.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
    seconds = float(np.median(processor))
    return {
        f"{unit}s_per_second": round(count / float(np.median(wall))),
        f"{unit}s_per_processor_second": round(count / seconds),
        f"processor_microseconds_per_{unit}": round(1e6 * seconds / count, 1),
    }


def bench(options: CuriosityBenchConfig, num_envs: int) -> Figures:
    """All figures at one batch size."""
    config = preset(options.preset, options.scenario, options.method)
    rollout = options.rollout or config.ppo.rollout
    config = override(config, {"ppo.num_envs": num_envs, "ppo.rollout": rollout})
    validate(config)
    task, algorithm = run_task(config), config.algorithm()
    env, params = task.env, task.params
    keys = jax.random.split(jax.random.key(0), num_envs)
    reset = jax.jit(jax.vmap(lambda key: env.reset_env(key, params)))
    _, state = reset(keys)
    see = task.view or (lambda state: env.observe(jax.random.key(0), state, None, params))  # type: ignore[attr-defined]
    render = jax.jit(jax.vmap(see))
    figures: Figures = {
        "num_envs": num_envs,
        "render": measure(render, num_envs, options.repeats, state),
        "reset": measure(reset, num_envs, options.repeats, keys),
    }
    if not options.train:
        return figures
    began = time.perf_counter()
    start = jax.jit(lambda key: training.init(task, algorithm, options.method, key))(jax.random.key(0))
    update = jax.jit(lambda state: training.epoch(task, algorithm, options.method, 1000, state, 1))
    figures["compile_seconds"] = round(time.perf_counter() - began, 1)
    figures["train"] = measure(update, num_envs * rollout, max(1, options.repeats // 2), start)
    per_frame = figures["train"]["processor_microseconds_per_frame"]
    each_reset = figures["reset"]["processor_microseconds_per_frame"] / int(jnp.asarray(params.max_steps_in_episode))
    figures["share_of_rendering"] = round(figures["render"]["processor_microseconds_per_frame"] / per_frame, 3)
    figures["share_of_resets"] = round(each_reset / per_frame, 4)  # of episodes that last until the time is up
    if options.method in CURIOUS:
        figures |= bench_reachability(config, task, start.seed, per_frame, options.repeats)
    return figures


def bench_reachability(
    config: CuriosityRunConfig, task: Task, seed: SeedState, per_frame: float, repeats: int
) -> Figures:
    """The R-network's training and its bonus, and their shares of `per_frame` microseconds of training a policy.

    A round of ECO falls due once in many rollouts, and not in the one that was timed: its part is added up from the
    pairs that it takes per step.
    """
    numbers, net = config.reachability, RNetwork(config.reachability.network)
    steps, envs, shape = config.ppo.rollout, config.ppo.num_envs, task.frame_shape
    frames = jax.random.randint(jax.random.key(0), (steps, envs, *shape), 0, 256).astype(jnp.uint8)
    done, zero = jnp.zeros((steps, envs), bool), jnp.zeros((), jnp.int32)
    online = config.method == BESIDE
    training_of = numbers.online if online else numbers.offline
    some = frames.reshape(-1, *shape)[: training_of.batch]
    pairs = PairBatch(some, some[::-1], jnp.arange(training_of.batch) % 2)

    def learn(network: RNetworkState, pairs: PairBatch) -> RNetworkState:
        def one(_: Any, network: RNetworkState) -> RNetworkState:
            return r_network.update(network, net, pairs, net.config, training_of.optimizer)[0]

        return jax.lax.fori_loop(0, UPDATES, one, network)

    def score(variables: Variables, memory: Memory, frames: jax.Array) -> Judgement:
        return reachability.score_rollout(numbers, variables, memory, frames, done, zero, jax.random.key(0))[1]

    network = seed.bonus.network
    learned = measure(jax.jit(learn), UPDATES * training_of.batch, repeats, network, pairs, unit="pair")
    scored = measure(jax.jit(score), steps * envs, repeats, network.variables, seed.bonus.memory, frames)
    figures: Figures = {"r_network": learned, "bonus": scored}
    of_bonus = scored["processor_microseconds_per_frame"]
    figures["share_of_bonus"] = round(of_bonus / per_frame, 3)
    if online:
        each = numbers.online.passes * (1 - numbers.online.held_out) * PAIRS_PER_STEP
        rounds = each * learned["processor_microseconds_per_pair"]
        figures["share_of_rounds"] = round(rounds / (per_frame + rounds), 3)
        figures["share_of_bonus_and_rounds"] = round((of_bonus + rounds) / (per_frame + rounds), 3)
        figures["history_bytes"] = history_bytes(rows_for(numbers.online.history, envs), envs, shape)
    return figures


def run(arguments: Sequence[str]) -> int:
    """Measure as the command line says; returns the exit code."""
    options, console = parse(CuriosityBenchConfig, arguments, CuriosityBenchConfig()), Console()
    require(options.repeats >= 1, "repeats", options.repeats, "it must be at least 1")
    require(min(options.num_envs, default=0) >= 1, "num_envs", options.num_envs, "name batch sizes of at least 1")
    enable_compilation_cache()
    figures: Figures = {"machine": describe_start(), "options": dataclasses.asdict(options), "results": []}
    for num_envs in options.num_envs:
        figures["results"].append(bench(options, num_envs))
        console.print(figures["results"][-1])
    if options.output:
        write_json(Path(options.output), figures)
        console.print(f"figures     {options.output}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
