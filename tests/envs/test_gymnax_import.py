"""gymnax is imported without seaborn, and its game that draws with it still does."""

import subprocess
import sys

SCRIPT = """
import sys
import envs
assert not {"seaborn", "pandas"} & set(sys.modules)
import gymnax
env, params = gymnax.make("Pong-misc")
from gymnax.environments.misc import pong
assert pong.sns.heatmap is sys.modules["seaborn"].heatmap
"""


def test_seaborn_is_loaded_once_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
