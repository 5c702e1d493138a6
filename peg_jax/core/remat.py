"""What a scan keeps for its backward pass: matrix products and whatever is marked; the rest is computed again.

Element-wise work is cheap to repeat and expensive to store; matrix products and random draws are the reverse.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import jax
from jax.ad_checkpoint import checkpoint_name

from peg_jax.core.types import Array

Body = TypeVar("Body", bound=Callable)

_KEPT = "kept"


def keep(x: Array) -> Array:
    """Mark a value to be stored rather than computed again."""
    return checkpoint_name(x, _KEPT)


def lean(body: Body) -> Body:
    """A scan body whose backward pass stores matrix products and kept values only."""
    policies = jax.checkpoint_policies
    policy = policies.save_from_both_policies(policies.dots_saveable, policies.save_only_these_names(_KEPT))
    return cast(Body, jax.checkpoint(body, policy=policy, prevent_cse=False))
