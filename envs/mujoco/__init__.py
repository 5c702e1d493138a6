"""Walker, Ant Maze, 3-Block Stack and an ant without goals: physics by MJX or by C MuJoCo."""

import ctypes.util
import os
import platform

# MuJoCo picks its way of drawing when it is first imported. Without a display that is EGL, where there is one.
# A machine without any is no hindrance: pictures then come from arrays.
if platform.system() == "Linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("MUJOCO_GL", "egl" if ctypes.util.find_library("EGL") else "disable")
