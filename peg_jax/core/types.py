"""Names shared by every module."""

from collections.abc import Callable
from typing import Any

import jax

Array = jax.Array
Key = jax.Array  # a typed PRNG key, `jax.random.key(...)`
Params = Any  # a pytree of arrays
Metrics = dict[str, Array]  # scalar metrics by the names of the original's logs
ScoreFn = Callable[[Array], Array]  # rows [N, F] -> one score per row [N]
