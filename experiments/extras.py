"""Packages that only some commands need, imported when they are."""

import importlib
from typing import Any

from peg_jax.run.files import RunError


def load(module: str, extra: str = "study") -> Any:
    """Import `module`, which `extra` installs.

    Raises:
        RunError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RunError(f'{error}; this needs the extra: pip install -e ".[{extra}]" -c constraints.txt') from error
