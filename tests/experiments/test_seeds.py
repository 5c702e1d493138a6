"""Seeds, and the environments of one, spread over eight devices of a processor, against all of them on one."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.program import take_seed
from experiments.seeds import seed_devices
from peg_jax.peg.training import TrainState

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("seeds", "devices"), [(8, 8), (10, 5), (3, 3), (7, 7), (11, 1), (1, 1)])
def test_as_many_of_eight_devices_take_part_as_can_hold_equally_many_seeds(
    seeds: int, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jax.local_device_count", lambda: 8)
    assert seed_devices(seeds) == devices


@pytest.mark.parametrize("name", ["ppo", "eco", "peg"])
def test_devices_share_seeds_or_environments_and_the_numbers_are_those_of_one(name: str, tmp_path: Path) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "tests.experiments.spread", name, str(tmp_path / "numbers.npz")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{name}, of 8 devices: seeds held by 1 and 8; environments on each: 1 of 8" in done.stdout
    data = np.load(tmp_path / "numbers.npz")
    places = [place.partition(" ")[2] for place in data if place.startswith("one ")]
    # Batch norms of 4 pairs whose features hardly differ have gradients of which the third digit is rounding.
    places = [place for place in places if "r_grad_norm" not in place]
    assert len(places) > 20
    for place in places:
        np.testing.assert_allclose(data[f"many {place}"], data[f"one {place}"], rtol=1e-3, atol=1e-5, err_msg=place)
    alone = [place for place in places if place.startswith("['one']")]
    assert alone
    for place in alone:  # the last seed's
        lane = data["one " + place.replace("['one']", "['ended']")][-1]
        np.testing.assert_allclose(lane, data[f"one {place}"][0], rtol=1e-3, atol=1e-4, err_msg=place)
    losses = next(data[f"many {place}"] for place in places if place.startswith("['second']") and "loss" in place)
    assert len(np.unique(losses[:, -1])) == len(losses) == 8  # eight seeds, not one eight times


def test_one_seed_is_taken_from_several() -> None:
    several = TrainState({"x": jnp.arange(6).reshape(3, 2)}, {"updates": jnp.int32(7)})  # type: ignore[arg-type]
    alone = take_seed(several, 1)
    assert alone.seed["x"].tolist() == [2, 3] and int(alone.progress["updates"]) == 7  # type: ignore[index]
