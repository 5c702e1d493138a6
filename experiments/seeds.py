"""Several seeds in one program: their keys, functions mapped over them, and the devices that hold them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.options import RunOptions
from peg_jax.core import rng
from peg_jax.core.types import Array, Key
from peg_jax.run import processes

SEEDS = "seeds"  # name of the devices' axis


def seed_keys(config: RunOptions) -> Key:
    """One key per run, `[num_seeds]`: run i has the key that a solo run with seed + i has."""
    return jnp.stack([jax.random.key(config.seed + index) for index in range(config.num_seeds)])


def evaluation_keys(config: RunOptions, env_steps: int) -> Key:
    """Keys of the evaluation after `env_steps`, `[num_seeds]`."""
    return jax.vmap(lambda key: jax.random.fold_in(rng.named(key, "evaluation"), env_steps))(seed_keys(config))


def seed_devices(num_seeds: int) -> int:
    """How many devices share the seeds: of those of each process the most that can have equally many each.

    Several processes must have equally many seeds each.
    """
    count = jax.process_count() if processes.several() else 1
    each = num_seeds // count
    return count * max(devices for devices in range(1, jax.local_device_count() + 1) if each % devices == 0)


def over_seeds(function: Callable[..., Any], num_seeds: int, in_axes: Any, out_axes: Any) -> Callable[..., Any]:
    """`vmap` over the seed axis, spread over the devices; a device's lanes know nothing of the others'.

    For a single seed on a device the axis is taken off and put back instead: the batching of one lane computes the
    same, but gives the compiler batched matrix products to see through.
    """
    devices = seed_devices(num_seeds)
    if devices > 1:
        own = _over_lanes(function, num_seeds // devices, in_axes, out_axes)
        placed_in, placed_out = _specs(in_axes), _specs(out_axes)
        # What has no seed axis is the same on every device, which the lanes cannot be seen to guarantee.
        return jax.shard_map(own, mesh=_mesh(devices), in_specs=placed_in, out_specs=placed_out, check_vma=False)
    return _over_lanes(function, num_seeds, in_axes, out_axes)


def placed(tree: Any, num_seeds: int, axes: Any) -> Any:
    """Shapes `tree`, whose seeds lie where the prefix tree `axes` has a 0, with the devices that hold them."""
    devices = seed_devices(num_seeds)
    if devices == 1:
        return tree

    def place(spec: PartitionSpec, part: Any) -> Any:
        sharding = NamedSharding(_mesh(devices), spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), part)

    return jax.tree.map(place, _specs(axes), tree, is_leaf=lambda node: isinstance(node, PartitionSpec))


def whole(tree: Any, num_seeds: int) -> Any:
    """Arrays that are spread over processes, as arrays that each of them has; alone, `tree` itself."""
    if not processes.several():
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0), _replicated(tree, _mesh(seed_devices(num_seeds))))


def fetch(tree: Any, num_seeds: int) -> Any:
    """`whole`, as arrays of numpy."""
    return jax.tree.map(np.asarray, whole(tree, num_seeds))


@partial(jax.jit, static_argnames="mesh")
def _replicated(tree: Any, mesh: Mesh) -> Any:
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, everywhere), tree)


def _mesh(devices: int) -> Mesh:
    if not processes.several():
        return Mesh(jax.local_devices()[:devices], (SEEDS,))
    each = devices // jax.process_count()
    return Mesh([d for index in range(jax.process_count()) for d in jax.local_devices(index)[:each]], (SEEDS,))


def _specs(axes: Any) -> Any:
    """Axes as `vmap` has them, as what `shard_map` wants."""
    spec = {None: PartitionSpec(), 0: PartitionSpec(SEEDS)}
    return jax.tree.map(lambda axis: spec[axis], axes, is_leaf=lambda node: node is None)


def _over_lanes(function: Callable[..., Any], num_seeds: int, in_axes: Any, out_axes: Any) -> Callable[..., Any]:
    if num_seeds > 1:
        return jax.vmap(function, in_axes=in_axes, out_axes=out_axes)

    def single(*arguments: Any) -> Any:
        results = function(*_reshape(in_axes, arguments, lambda x: x[0]))
        return _reshape(out_axes, results, lambda x: x[None])

    return single


def _reshape(axes: Any, tree: Any, change: Callable[[Array], Array]) -> Any:
    """Apply `change` to the leaves of `tree` whose entry in the prefix tree `axes` is 0."""

    def along(axis: int | None, part: Any) -> Any:
        return part if axis is None else jax.tree.map(change, part)

    return jax.tree.map(along, axes, tree, is_leaf=lambda node: node is None)
