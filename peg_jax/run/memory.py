"""What fits into memory, known before anything is compiled."""

from pathlib import Path

import jax

CGROUPS = (  # limit and use of the container or batch job, versions 2 and 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_bytes() -> tuple[int | None, str]:
    """Return the bytes that the first device can still take, None where nobody says, and the device's name."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0), device.device_kind
    return (_host_bytes() if device.platform == "cpu" else None), device.device_kind


def _host_bytes() -> int | None:
    left = [limit - used for limit, used in map(_read_cgroup, CGROUPS) if limit]
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        left.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        pass  # not Linux
    return min(left, default=None)


def _read_cgroup(files: tuple[str, str]) -> tuple[int, int]:
    try:
        limit, used = (int(Path(file).read_text()) for file in files)  # without a limit the first is "max"
    except (OSError, ValueError):
        return 0, 0
    return limit, used
