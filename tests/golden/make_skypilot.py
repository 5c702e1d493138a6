"""Makes `skypilot_schemas.json`: `python tests/golden/make_skypilot.py`, with SkyPilot installed, which tests need not.

The schemas are SkyPilot's (Apache-2.0, the SkyPilot authors), as its own client checks task files against them.
"""

import importlib.metadata
import json
from pathlib import Path

from sky.utils import schemas

made = {
    "version": importlib.metadata.version("skypilot"),
    "task": schemas.get_task_schema(),
    "resources": schemas.get_resources_schema(),
    "storage": schemas.get_storage_schema(),
}
Path(__file__).with_name("skypilot_schemas.json").write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
