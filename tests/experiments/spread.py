"""PPO in a corridor: four seeds, on as many of this process's devices as can share them and on one.

Both save after an epoch. The second epoch of both goes on from what the several devices saved, so that the run on one
device resumes theirs. Then a single seed, whose environments all devices share, and on one device. What all come to is
written to the file named on the command line.
"""

import sys
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from experiments.curiosity_config import CuriosityRunConfig
from experiments.curiosity_program import env_axes
from experiments.env_devices import lying, shardings
from experiments.seeds import over_seeds, placed
from peg_jax.curiosity import training
from peg_jax.curiosity.training import SEED_AXES
from peg_jax.run.checkpoint import CheckpointStore
from tests.curiosity.corridor import corridor

COUNT, UPDATES = 4, 4


def train(devices: int, store: CheckpointStore) -> tuple[dict[str, np.ndarray], int]:
    """The learners and metrics of two epochs, and how many devices held them; the first to come saves in between."""
    task, config = corridor()
    keys = jnp.stack([jax.random.key(seed) for seed in range(COUNT)])
    with mock.patch.object(jax, "local_device_count", lambda: devices):
        init = over_seeds(partial(training.init, task, config, "ppo"), COUNT, (0,), SEED_AXES)
        template = placed(jax.eval_shape(init, keys), COUNT, SEED_AXES)

        def epoch(config: Any, state: Any) -> Any:  # a program's values, which no lane owns, come in from outside
            run = partial(training.epoch, task, config, "ppo", 100, updates=UPDATES)
            return over_seeds(lambda s: run(s), COUNT, (SEED_AXES,), (SEED_AXES, 0))(state)

        compiled = jax.jit(epoch, donate_argnums=1).lower(config, template).compile()
        state, first = compiled(config, jax.jit(init).lower(keys).compile()(keys))
        if store.latest() is None:
            store.save(1, state)
        begun, (resumed, _) = jax.device_get(state.seed.learner), store.restore(template)
        state, second = compiled(config, resumed)
    (held,) = {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state.seed.learner)}
    tree = jax.device_get((first, second, begun, state.seed.learner, state.progress))
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}, held


def train_one(devices: int) -> tuple[dict[str, np.ndarray], int]:
    """The learner and metrics of a seed whose environments lie on `devices`, and how many of them are on each."""
    task, config = corridor()
    keys = jax.random.key(7)[None]
    init = over_seeds(partial(training.init, task, config, "ppo"), 1, (0,), SEED_AXES)
    run = partial(training.epoch, task, config, "ppo", 100, updates=UPDATES)
    state = jax.eval_shape(init, keys)
    if devices > 1:
        state = lying(state, env_axes(CuriosityRunConfig(method="ppo"), state), devices)
    stays = shardings(state, devices)
    epoch = jax.jit(
        over_seeds(lambda s: run(s), 1, (SEED_AXES,), (SEED_AXES, 0)), donate_argnums=0, out_shardings=(stays, None)
    )
    compiled, state = epoch.lower(state).compile(), jax.jit(init, out_shardings=stays)(keys)
    for _ in range(2):
        state, metrics = compiled(state)
    each = state.seed.collector.obs.addressable_shards[0].data.shape[1]
    tree = jax.device_get((metrics, state.seed.learner))
    return {f"envs {jax.tree_util.keystr(p)}": x for p, x in jax.tree_util.tree_leaves_with_path(tree)}, each


def main(output: str) -> None:
    with TemporaryDirectory() as folder:
        store = CheckpointStore(folder)
        (many, on_many), (one, on_one) = (train(devices, store) for devices in (jax.local_device_count(), 1))
    print(f"of {jax.device_count()} devices: held by {on_one} and by {on_many}")
    (apart, few), (together, all_of_them) = (train_one(devices) for devices in (jax.local_device_count(), 1))
    print(f"environments on each: {few} of {all_of_them}")
    one, many = one | together, many | apart
    assert one.keys() == many.keys()
    np.savez(output, **{f"one {name}": x for name, x in one.items()}, **{f"many {n}": x for n, x in many.items()})


if __name__ == "__main__":
    main(sys.argv[1])
