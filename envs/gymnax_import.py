"""Imports gymnax without what only one of its games draws with; to be imported before gymnax itself.

`import gymnax` loads every environment that it has, one of them with seaborn, which loads pandas and SciPy's
statistics: a second, a quarter of a command's imports. A stand-in takes seaborn's place meanwhile, and loads it once it
is used.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

_COSTLY = "seaborn"


class _Later(ModuleType):
    """A module that is loaded when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


def _import_gymnax() -> None:
    if _COSTLY in sys.modules:
        return
    sys.modules[_COSTLY] = _Later(_COSTLY)
    try:
        importlib.import_module("gymnax")
    finally:
        del sys.modules[_COSTLY]


_import_gymnax()
