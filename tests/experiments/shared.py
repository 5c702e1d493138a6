"""Two seeds of PPO in a corridor, by one process or by several that share them.

Started with a coordinator, it trains an epoch, saves, goes on from what it saved, and saves again; process 0 writes the
numbers of all to the file named first on the command line.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from experiments.processes import join

if __name__ == "__main__":
    join(sys.argv[2:])

# isort: split
import jax
import numpy as np

from experiments.options import RunOptions
from experiments.seeds import fetch, over_seeds, placed, seed_devices, seed_keys, whole
from peg_jax.curiosity import training
from peg_jax.curiosity.training import SEED_AXES, TrainState
from peg_jax.run import processes
from peg_jax.run.checkpoint import CheckpointStore
from tests.curiosity.corridor import corridor

OPTIONS, UPDATES = RunOptions(num_seeds=2, seed=3), 4


def template() -> TrainState:
    """Shapes of the state, and where they lie."""
    task, config = corridor()
    init = over_seeds(partial(training.init, task, config, "ppo"), 2, (0,), SEED_AXES)
    return placed(jax.eval_shape(init, seed_keys(OPTIONS)), 2, SEED_AXES)


def train(store: CheckpointStore) -> dict[str, np.ndarray]:
    """Metrics and learners of two epochs, and the weights of the second seed as a picture of it would take them."""
    task, config = corridor()
    init = over_seeds(partial(training.init, task, config, "ppo"), 2, (0,), SEED_AXES)

    def epoch(config: Any, state: TrainState) -> Any:
        run = partial(training.epoch, task, config, "ppo", 100, updates=UPDATES)
        return over_seeds(lambda s: run(s), 2, (SEED_AXES,), (SEED_AXES, 0))(state)

    compiled = jax.jit(epoch, donate_argnums=1).lower(config, template()).compile()
    state, first = compiled(config, jax.jit(init).lower(seed_keys(OPTIONS)).compile()(seed_keys(OPTIONS)))
    store.save(1, state)
    state, second = compiled(config, store.restore(template())[0])
    store.save(2, state)
    one = whole(jax.jit(lambda state: jax.tree.map(lambda x: x[1], state.seed.learner.params))(state), 2)
    tree = fetch((first, second, state.seed.learner), 2), jax.tree.map(np.asarray, one)
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def main(output: Path) -> None:
    numbers = train(CheckpointStore(output.parent / "checkpoints"))
    assert processes.any_of_all(jax.process_index() == 1)
    if processes.writes():
        np.savez(output, devices=seed_devices(2), **numbers)
    else:
        print("not the writer")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
