"""Walker, Ant Maze, 3-Block Stack and an ant without goals: physics by MJX or by C MuJoCo."""

import ctypes
import os
import platform

# What MuJoCo loads for drawing without a window, one of each group. Where it asks in vain, its import raises whatever
# comes of that, so that nothing could be trained either.
_LIBRARIES = {
    "egl": (("libOpenGL.so.0", "libGL.so.1", "libGLESv2.so.2"), ("libEGL.so.1",)),
    "osmesa": (("libOSMesa.so.8", "libOSMesa.so.6"),),
}


def _loads(library: str) -> bool:
    """Whether a library can be opened; `ctypes.util.find_library` needs build tools to see LD_LIBRARY_PATH."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _lacking(way: str) -> str:
    """What a way of drawing lacks, such as "libEGL.so.1"; empty where it lacks nothing."""
    missing = [group for group in _LIBRARIES.get(way, ()) if not any(map(_loads, group))]
    return " and ".join(" or ".join(group) for group in missing)


def _choose_drawing() -> str:
    """Set MUJOCO_GL to a way of drawing that this machine has; why that is none, or nothing.

    MuJoCo reads it when it is first imported. Without a display and without another wish it is EGL.
    """
    way = os.environ.get("MUJOCO_GL", "").strip().lower() or ("" if os.environ.get("DISPLAY") else "egl")
    lacking = _lacking(way)
    if way:
        os.environ["MUJOCO_GL"] = "disable" if lacking else way
    return f"{way} lacks {lacking}" if lacking else ""


DISABLED = _choose_drawing() if platform.system() == "Linux" else ""
"""Why MuJoCo was told not to draw, or nothing; pictures then come from arrays."""
