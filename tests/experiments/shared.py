"""Two seeds of a small regression, by one process or by several that share them.

Started with a coordinator, it trains an epoch, saves, goes on from what it saved, and saves again; process 0 writes the
numbers of all to the file named first on the command line.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from experiments.processes import join

if __name__ == "__main__":
    join(sys.argv[2:])

# isort: split
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.options import RunOptions
from experiments.seeds import fetch, over_seeds, placed, seed_devices, seed_keys, whole
from peg_jax.run import processes
from peg_jax.run.checkpoint import CheckpointStore


class State(NamedTuple):
    """A run, as those of the commands are: seeds with an axis, and counters without."""

    seed: Any  # key, weights, optimiser
    progress: jax.Array  # int32 []


OPTIONS, UPDATES, AXES = RunOptions(num_seeds=2, seed=3), 5, State(seed=0, progress=None)  # type: ignore[arg-type]
ADAM = optax.adam(0.1)


def init(key: jax.Array) -> State:
    weights = jax.random.normal(key, (4,))
    return State((key, weights, ADAM.init(weights)), jnp.zeros((), jnp.int32))


def epoch(noise: float, state: State) -> tuple[State, jax.Array]:
    def step(seed: Any, time: jax.Array) -> tuple[Any, jax.Array]:
        key, weights, moments = seed
        inputs, error = jax.random.normal(jax.random.fold_in(key, time), (2, 8, 4))
        loss, slope = jax.value_and_grad(lambda w: jnp.mean((inputs @ w - (inputs + noise * error).sum(-1)) ** 2))(
            weights
        )
        change, moments = ADAM.update(slope, moments)
        return (key, weights + change, moments), loss

    seed, losses = jax.lax.scan(step, state.seed, state.progress + jnp.arange(UPDATES))
    return State(seed, state.progress + UPDATES), losses


def template() -> State:
    """Shapes of the state, and where they lie."""
    return placed(jax.eval_shape(over_seeds(init, 2, (0,), AXES), seed_keys(OPTIONS)), 2, AXES)


def train(store: CheckpointStore) -> dict[str, np.ndarray]:
    """Losses and seeds of two epochs, and the weights of the second seed as a picture of it would take them."""

    def run(noise: float, state: State) -> Any:  # a program's values, which no lane owns, come in from outside
        return over_seeds(lambda s: epoch(noise, s), 2, (AXES,), (AXES, 0))(state)

    compiled = jax.jit(run, donate_argnums=1).lower(0.1, template()).compile()
    begin = jax.jit(over_seeds(init, 2, (0,), AXES)).lower(seed_keys(OPTIONS)).compile()
    state, first = compiled(0.1, begin(seed_keys(OPTIONS)))
    store.save(1, state)
    state, second = compiled(0.1, store.restore(template())[0])
    store.save(2, state)
    one = whole(jax.jit(lambda state: state.seed[1][1])(state), 2)
    numbers = fetch({"first": first, "second": second, "weights": state.seed[1]}, 2)
    return numbers | {"one": np.asarray(one), "progress": np.asarray(state.progress)}


def main(output: Path) -> None:
    numbers = train(CheckpointStore(output.parent / "checkpoints"))
    assert processes.any_of_all(jax.process_index() == 1)
    if processes.writes():
        np.savez(output, devices=seed_devices(2), **numbers)
    else:
        print("not the writer")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
