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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The notebooks first: one process runs them all, and at the end the other worker would wait for it."""
    items.sort(key=lambda item: "test_notebooks" not in item.nodeid)
