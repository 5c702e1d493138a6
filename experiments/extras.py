"""Packages that only some commands need, imported when they are."""

import importlib
from typing import Any

from peg_jax.run.files import RunError


def load(module: str) -> Any:
    """Import `module`, which the `study` extra installs.

    Raises:
        RunError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RunError(f'{error}; this needs the extra: pip install -e ".[study]" -c constraints.txt') from error
