"""Configuration as pytrees: what shapes the program is static, what scales it is a value.

A config is a frozen `flax.struct` dataclass. Fields declared with `static` are part of the compiled program
(sizes, counts, names); plain fields are leaves, so a learning rate or a discount enters the program as a traced value:
changing it does not recompile, and a search over it is a `vmap`.
"""

from typing import Any

from flax import struct


def static(default: Any) -> Any:
    """A config field that is part of the compiled program. Mutable defaults are not supported."""
    return struct.field(pytree_node=False, default=default)


def nested(cls: type) -> Any:
    """A config field holding another config with its defaults."""
    return struct.field(default_factory=cls)


class ConfigError(ValueError):
    """A user's option that cannot work. The message names the option, the value and what would work."""


def require(condition: bool, option: str, value: object, remedy: str) -> None:
    """Raise `ConfigError` naming `option` (as typed on the command line) and its `value` unless `condition` holds."""
    if not condition:
        shown = f"{value:g}" if isinstance(value, float) else value
        raise ConfigError(f"--{option.replace('_', '-')}={shown} cannot work: {remedy}")
