"""What every test process is set to before JAX starts: nearly all of the suite's time is tracing and compiling."""

import gc
import os

import pytest

gc.set_threshold(200_000, 20, 20)
# Programs of seconds need no optimised machine code, and the older emitters compile them in half the time.
# A flag set from outside stays as it is.
FLAGS = "--xla_backend_optimization_level=0 --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
# Workers inherit them; given twice they would name other programs in the compilation cache.
if FLAGS not in (given := os.environ.get("XLA_FLAGS", "")):
    os.environ["XLA_FLAGS"] = f"{FLAGS} {given}".strip()


# Two workers begin with these, so that none is left alone with one of them at the end. The first two compile programs
# that the others then find compiled.
FIRST = ("test_commands", "test_curiosity_end_to_end", "test_survival", "test_notebooks", "test_sweep")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, in the order of `FIRST`."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))
