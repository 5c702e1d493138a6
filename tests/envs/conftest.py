"""MuJoCo picks its way of drawing when it is first imported, so the package that says which goes first."""

import importlib

importlib.import_module("envs.mujoco")
