"""A run that cannot fit into memory is refused before it is compiled, with the option that would help."""

from typing import Any, NamedTuple

from peg_jax.core.config import ConfigError
from peg_jax.run.memory import available_bytes
from peg_jax.run.progress import format_bytes, state_bytes


class Growing(NamedTuple):
    """The part of the state that an option sizes."""

    part: str  # its name
    option: str  # dotted name
    value: int  # what it is set to
    devices: int = 1  # that share it


def require_memory(num_seeds: int, sizes: dict[str, Any], growing: Growing) -> None:
    """Refuse what cannot fit: bytes of one seed times seeds against what the device has.

    Only the state is counted, which is kept for the whole run; what an update needs beside it comes on top.

    Args:
        num_seeds: runs in one program.
        sizes: the parts of one seed's state by name; arrays or abstract ones.
        growing: which of them a smaller option would shrink in proportion.

    Raises:
        ConfigError: names the option that would help and a value that fits.
    """
    available, device = available_bytes()
    parts = state_bytes(sizes)
    parts[growing.part] //= growing.devices
    one = sum(parts.values())
    if available is None or one * num_seeds <= available:
        return
    needed = f"{format_bytes(one)} of state x {num_seeds} seeds, and {device} has {format_bytes(available)} left"
    if one <= available:
        raise ConfigError(f"--num-seeds={num_seeds} cannot work: {needed}; {available // one} fit")
    size, option = parts[growing.part], "--" + growing.option.replace("_", "-")
    fitting = int(0.8 * growing.value * (available / num_seeds - (one - size)) / size)
    remedy = f"about {option}={fitting} fits" if fitting > 0 else "smaller networks would help"
    raise ConfigError(f"{option}={growing.value} cannot work: {needed}; {remedy}")
