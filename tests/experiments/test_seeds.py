"""Seeds, and the environments of one, spread over eight devices of a processor, against all of them on one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def test_devices_share_seeds_or_environments_and_the_numbers_are_those_of_one(tmp_path: Path) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "tests.experiments.spread", str(tmp_path / "numbers.npz")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "of 8 devices: held by 1 and by 4" in done.stdout
    assert "environments on each: 1 of 8" in done.stdout
    data = np.load(tmp_path / "numbers.npz")
    names = [name.partition(" ")[2] for name in data if name.startswith("one ")]
    assert len(names) > 20
    for name in names:
        np.testing.assert_allclose(data[f"many {name}"], data[f"one {name}"], rtol=1e-3, atol=1e-5, err_msg=name)
    losses = data["many [1]['policy_loss']"]
    assert len(np.unique(losses[:, -1])) == len(losses) == 4  # four seeds, not one four times
