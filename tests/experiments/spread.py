"""PPO and ECO in a corridor and PEG on a dot: eight seeds on eight devices of this process and on one.

Both save after an epoch. The second epoch of both goes on from what the several devices saved, so that the run on one
device resumes theirs. Then a single seed, whose environments all devices share, and on one device. What all come to is
written to the file named on the command line.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from experiments import curiosity_program, program
from experiments.curiosity_config import CuriosityRunConfig
from experiments.env_devices import lying, shardings
from experiments.seeds import over_seeds, placed
from peg_jax.core.types import Key
from peg_jax.curiosity import training as curiosity_training
from peg_jax.curiosity.reachability_config import BonusConfig, MemoryConfig, ReachabilityConfig
from peg_jax.curiosity.task import make_task
from peg_jax.peg import training as peg_training
from peg_jax.run.checkpoint import CheckpointStore
from tests.curiosity.corridor import Params, SeenCorridor, corridor
from tests.curiosity.small import CONFIG, online
from tests.peg import tiny

COUNT, UPDATES = 8, 4


class Program(NamedTuple):
    """What is trained, as functions of one seed, and where the arrays of all have their axes."""

    config: Any
    init: Callable[[Key], Any]
    epoch: Callable[[Any, Any], tuple[Any, Any]]  # config, state -> state, metrics
    seed_axes: Any
    env_axes: Callable[[Any], Any]
    learner: Callable[[Any], Any]  # of a seed's state
    by_env: Callable[[Any], jax.Array]  # something of a seed's state that has environments behind the seeds


def curious(method: str) -> Program:
    task, config = corridor()
    if method == "ppo_plus_eco":
        everything = BonusConfig(threshold=2.0)  # is remembered: no decision hangs on a rounding error
        # A rate of 1e-4 makes 2 % out of rounding errors within four updates, through batch norms of 4 pairs.
        learning, memory = online(8, 48, every=20, learning_rate=1e-6), MemoryConfig(capacity=6)
        reachability = ReachabilityConfig(network=CONFIG, online=learning, memory=memory, bonus=everything)
        task, config = make_task(SeenCorridor(), Params(), config.oracle), config.replace(reachability=reachability)

    def epoch(config: Any, state: Any) -> Any:
        return curiosity_training.epoch(task, config, method, 100, state, UPDATES)

    return Program(
        config,
        partial(curiosity_training.init, task, config, method),
        epoch,
        curiosity_training.SEED_AXES,
        partial(curiosity_program.env_axes, CuriosityRunConfig(method=method)),
        partial(_learned, method),
        lambda seed: seed.collector.obs,
    )


def _learned(method: str, seed: Any) -> Any:
    """With ECO also what lies divided by environments: its history, and which steps its memory holds."""
    if method == "ppo":
        return seed.learner
    memory = seed.bonus.memory
    return seed.learner, seed.bonus.history, memory.inserted, memory.entries.step


def peg() -> Program:
    task, config = tiny.make_dot(), tiny.config()
    for name, value in {"loop.num_envs": 8, "loop.prefill": 8, "loop.train_every": 6, "replay.capacity": 120}.items():
        config = tiny.replace(config, name, value)

    def epoch(config: Any, state: Any) -> Any:
        state, log = peg_training.epoch(task, config, "peg", state, 1)
        return state, log.metrics

    return Program(
        config,
        partial(peg_training.init, task, config, "peg"),
        epoch,
        peg_training.SEED_AXES,
        program.env_axes,
        lambda seed: seed.agent.world_model,
        lambda seed: seed.replay.experience.obs,
    )


PROGRAMS: dict[str, Callable[[], Program]] = {
    "ppo": partial(curious, "ppo"),
    "eco": partial(curious, "ppo_plus_eco"),
    "peg": peg,
}


def numbers(**trees: Any) -> dict[str, np.ndarray]:
    """All arrays by their place."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(trees))
    return {jax.tree_util.keystr(path): x for path, x in leaves}


def train(made: Program, devices: int, store: CheckpointStore) -> tuple[dict[str, np.ndarray], int]:
    """The learners and metrics of two epochs, and how many devices held them; the first to come saves in between."""
    keys = jnp.stack([jax.random.key(seed) for seed in range(COUNT)])
    with mock.patch.object(jax, "local_device_count", lambda: devices):
        init = over_seeds(made.init, COUNT, (0,), made.seed_axes)
        template = placed(jax.eval_shape(init, keys), COUNT, made.seed_axes)

        def epoch(config: Any, state: Any) -> Any:  # a program's values, which no lane owns, come in from outside
            return over_seeds(lambda s: made.epoch(config, s), COUNT, (made.seed_axes,), (made.seed_axes, 0))(state)

        compiled = jax.jit(epoch, donate_argnums=1).lower(made.config, template).compile()
        state, first = compiled(made.config, jax.jit(init).lower(keys).compile()(keys))
        if store.latest() is None:
            store.save(1, state)
        begun, (resumed, _) = jax.device_get(made.learner(state.seed)), store.restore(template)
        state, second = compiled(made.config, resumed)
    (held,) = {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(made.learner(state.seed))}
    ended = made.learner(state.seed)
    return numbers(first=first, second=second, begun=begun, ended=ended, progress=state.progress), held


def train_one(made: Program, devices: int) -> tuple[dict[str, np.ndarray], int]:
    """The learner and metrics of a seed whose environments lie on `devices`, and how many of them are on each."""
    keys = jax.random.key(7)[None]
    init = over_seeds(made.init, 1, (0,), made.seed_axes)
    state = jax.eval_shape(init, keys)
    if devices > 1:
        state = lying(state, made.env_axes(state), devices)
    stays = shardings(state, devices)
    run = over_seeds(partial(made.epoch, made.config), 1, (made.seed_axes,), (made.seed_axes, 0))
    compiled = jax.jit(run, donate_argnums=0, out_shardings=(stays, None)).lower(state).compile()
    state = jax.jit(init, out_shardings=stays)(keys)
    for _ in range(2):
        state, metrics = compiled(state)
    each = made.by_env(state.seed).addressable_shards[0].data.shape[1]
    return numbers(alone=metrics, one=made.learner(state.seed)), each


def both(name: str, made: Program) -> Mapping[str, np.ndarray]:
    """What a program comes to on one device and on many, by which of them and where."""
    with TemporaryDirectory() as folder:
        store = CheckpointStore(folder)
        (many, on_many), (one, on_one) = (train(made, devices, store) for devices in (jax.local_device_count(), 1))
    (apart, few), (together, all_of_them) = (train_one(made, devices) for devices in (jax.local_device_count(), 1))
    print(f"{name}, of {jax.device_count()} devices: seeds held by {on_one} and {on_many}", end="; ")
    print(f"environments on each: {few} of {all_of_them}")
    one, many = one | together, many | apart
    assert one.keys() == many.keys()
    return {f"one {key}": x for key, x in one.items()} | {f"many {key}": x for key, x in many.items()}


def main(name: str, output: str) -> None:
    np.savez(output, **both(name, PROGRAMS[name]()))


if __name__ == "__main__":
    main(*sys.argv[1:])
