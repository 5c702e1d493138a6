"""The environments of a single seed, spread over local devices: where the arrays of a run's state lie.

Nothing is computed differently for it. The compiler sees arrays that are divided along their axis of environments, and
divides the work on them; networks and what is learnt lie on every device.
"""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.options import RunOptions
from peg_jax.core.config import require
from peg_jax.run.processes import several

ENVS = "envs"  # name of the devices' axis
EVERYWHERE = -1


def require_devices(config: RunOptions, num_envs: int) -> None:
    """Refuse devices that cannot share the environments.

    Raises:
        ConfigError: names the option, its value and what would work.
    """
    devices, here = config.env_devices, jax.local_device_count()
    if devices == 1:
        return
    alone = "it divides a single seed, in one process; several are spread over devices by themselves"
    require(config.num_seeds == 1 and not several(), "env_devices", devices, alone)
    require(1 <= devices <= here, "env_devices", devices, f"there are {here} local devices")
    require(num_envs % devices == 0, "env_devices", devices, f"{num_envs} environments cannot be divided by it")


def lying(state: Any, axes: Any, devices: int) -> Any:
    """Shapes `state` with the devices that hold them.

    Args:
        state: arrays or their shapes.
        axes: a tree like it, of the axis of environments or `EVERYWHERE`.
        devices: how many of the local ones take part.
    """
    mesh = Mesh(jax.local_devices()[:devices], (ENVS,))

    def one(x: Any, axis: int) -> jax.ShapeDtypeStruct:
        spec = PartitionSpec() if axis == EVERYWHERE else PartitionSpec(*[None] * axis, ENVS)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    return jax.tree.map(one, state, axes)


def shardings(state: Any, devices: int) -> Any:
    """Where the program's state is to stay; None: wherever the compiler likes."""
    return None if devices == 1 else jax.tree.map(lambda x: x.sharding, state)
