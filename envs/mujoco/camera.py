"""Pictures by MuJoCo's own renderer, off the training's path; without OpenGL, a line of advice and nothing."""

import functools
import logging
import os
import platform
from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np

from envs.mujoco import DISABLED

_LOGGER = logging.getLogger(__name__)


class Marker(NamedTuple):
    """A thing that is seen but not simulated."""

    shape: int  # mujoco.mjtGeom
    size: tuple[float, float, float]
    position: tuple[float, float, float]
    colour: tuple[float, float, float, float]


def photograph(
    model: mujoco.MjModel, camera: str, size: int, qpos: np.ndarray, markers: Sequence[Sequence[Marker]]
) -> np.ndarray | None:
    """Pictures of many poses.

    Args:
        model: with a camera of that name.
        camera: its name.
        size: height and width, pixels.
        qpos: `[N, nq]`.
        markers: for each pose, what is shown beside the model.

    Returns:
        `[N, size, size, 3]` uint8, or None where nothing can be drawn; the reason is logged once.
    """
    if obstacle := _obstacle():
        _advise(obstacle)
        return None
    try:
        renderer = mujoco.Renderer(model, size, size)
    except Exception as error:  # every way of missing a GL library raises something else
        _advise(" ".join(str(error).split()) or type(error).__name__)
        return None
    data, frames = mujoco.MjData(model), []
    with renderer:
        for pose, shown in zip(qpos, markers, strict=True):
            data.qpos[:] = pose
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera)
            for marker in shown:
                _add(renderer.scene, marker)
            frames.append(renderer.render().copy())
    return np.stack(frames)


def _obstacle() -> str:
    """Why no context can be had, where asking for one would raise nothing but end the process."""
    context = getattr(mujoco, "GLContext", None)
    if context is None:
        return DISABLED or "it was imported with drawing disabled"
    windowed = context.__module__ == "mujoco.glfw" and platform.system() == "Linux"
    return "it was imported for windows, and there is no display" if windowed and not os.environ.get("DISPLAY") else ""


@functools.cache
def _advise(reason: str) -> None:
    _LOGGER.warning(
        "pictures are drawn from arrays, because MuJoCo cannot draw here (%s); for its own, install EGL, for example "
        "with `apt-get install libegl1 libopengl0`, and leave MUJOCO_GL unset or set it to egl",
        reason,
    )


def _add(scene: mujoco.MjvScene, marker: Marker) -> None:
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom],
        marker.shape,
        np.array(marker.size),
        np.array(marker.position),
        np.eye(3).ravel(),
        np.array(marker.colour, np.float32),
    )
    scene.ngeom += 1
