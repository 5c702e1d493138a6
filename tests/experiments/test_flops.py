"""The compiled programs do the matrix products that the mathematics needs, and no others."""

import jax
import jax.numpy as jnp
import pytest

from experiments.bench import bench_plan, bench_update
from experiments.config import RunConfig
from experiments.flops import compiled_matmul_flops
from experiments.options import override
from experiments.presets import preset
from experiments.program import run_task


@pytest.fixture(scope="module")
def config() -> RunConfig:
    changes = {"agent.world_model.updates": 1, "agent.imagination.explorer_starts": 48}
    return override(preset(RunConfig, "smoke", "point_maze"), changes)


def test_loops_are_counted_as_often_as_they_run() -> None:
    def seven_products(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 7, lambda _, y: jnp.tanh(y @ x), x)

    text = jax.jit(seven_products).lower(jnp.ones((20, 20))).compile().as_text()
    assert text is not None
    assert compiled_matmul_flops(text) == 7 * 2 * 20**3


def test_an_update_does_no_needless_product(config: RunConfig) -> None:
    figures = bench_update(config, run_task(config), repeats=1)
    assert figures["compiled_matmul_gflop"] == pytest.approx(figures["needed_matmul_gflop"], rel=0.03)


def test_a_search_does_no_needless_product(config: RunConfig) -> None:
    figures = bench_plan(config, run_task(config), repeats=1)
    assert figures["compiled_matmul_gflop"] == pytest.approx(figures["needed_matmul_gflop"], rel=0.03)
