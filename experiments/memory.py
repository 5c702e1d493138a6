"""A run that cannot fit into memory is refused before it is compiled, with the option that would help."""

from typing import Any

from experiments.config import RunConfig
from peg_jax.core.config import ConfigError
from peg_jax.run.memory import available_bytes
from peg_jax.run.progress import format_bytes, state_bytes


def require_memory(config: RunConfig, sizes: dict[str, Any]) -> None:
    """Refuse what cannot fit: bytes of one seed times seeds against what the device has.

    Only the state is counted, which is kept for the whole run; what an update needs beside it comes on top.

    Args:
        config: the run's options.
        sizes: the parts of one seed's state by name, among them `replay`; arrays or abstract ones.

    Raises:
        ConfigError: names the option that would help and a value that fits.
    """
    available, device = available_bytes()
    parts = state_bytes(sizes)
    one = sum(parts.values())
    if available is None or one * config.num_seeds <= available:
        return
    needed = f"{format_bytes(one)} of state x {config.num_seeds} seeds, and {device} has {format_bytes(available)} left"
    if one <= available:
        raise ConfigError(f"--num-seeds={config.num_seeds} cannot work: {needed}; {available // one} fit")
    rest = one - parts["replay"]
    fitting = int(0.8 * config.replay.capacity * (available / config.num_seeds - rest) / parts["replay"])
    remedy = f"about --replay.capacity={fitting} fits" if fitting > 0 else "smaller networks would help"
    raise ConfigError(f"--replay.capacity={config.replay.capacity} cannot work: {needed}; {remedy}")
