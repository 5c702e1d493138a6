"""RunDirectory: what is refused, what a config survives, where seeds go."""

import dataclasses
import enum
import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest

from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError


class Mode(enum.Enum):
    GO = 1
    EXPLORE = 2


@dataclasses.dataclass(frozen=True)
class Cem:
    elite: float = 0.1


@dataclasses.dataclass(frozen=True)
class Mppi:
    gamma: float = 10.0


@dataclasses.dataclass(frozen=True)
class Config:
    env: str = "point_maze"
    steps: int = 1_000_000
    limit: float = math.inf
    layers: tuple[int, ...] = (400, 400)
    bounds: tuple[float, float] = (0.0, 10.0)
    mode: Mode = Mode.GO
    kind: Literal["a", "b"] = "a"
    assets: Path | None = None
    planner: Cem | Mppi = Cem()
    scales: dict[str, float] = dataclasses.field(default_factory=lambda: {"kl": 1.0})


def test_config_comes_back_as_the_same_dataclass(tmp_path: Path) -> None:
    config = Config(planner=Mppi(gamma=2), layers=(1,), mode=Mode.EXPLORE, assets=Path("a/b"), kind="b")
    run = RunDirectory(tmp_path / "new" / "run")
    run.write_config(config)
    assert RunDirectory(run.path).read_config_as(Config) == config
    assert run.read_config()["planner"] == {"gamma": 2}
    assert run.checkpoints.is_dir()


def test_each_start_is_recorded(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_config(Config())
    run.write_config(Config(steps=5))
    starts = run.read_starts()
    assert len(starts) == 2 and run.read_config()["steps"] == 5
    assert starts[0]["packages"]["jax"] and starts[0]["cpu_count"] and "python" in starts[0]["command"]


def test_naming_a_directory_touches_nothing(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "typo")
    assert not run.exists() and not run.path.exists()
    with pytest.raises(RunError, match="no run at"):
        run.read_config()


def test_foreign_directories_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"thesis\.tex"):
        RunDirectory(tmp_path)
    with pytest.raises(RunError, match="is a file"):
        RunDirectory(tmp_path / "thesis.tex")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".lock").touch()
    RunDirectory(tmp_path / "hidden")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 1}, "config.speed is not an option"),
        ({"steps": "many"}, "config.steps is 'many', expected int"),
        ({"steps": True}, "config.steps is True"),
        ({"bounds": [1.0]}, "config.bounds has 1 values where 2"),
        ({"kind": "c"}, "config.kind is 'c'"),
        ({"planner": {"horizon": 3}}, "config.planner is"),
    ],
)
def test_a_config_of_another_version_names_the_option(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    run = RunDirectory(tmp_path)
    run.write_config(Config())
    content = json.loads(run.config_file.read_text())
    content["config"] |= change
    run.config_file.write_text(json.dumps(content))
    with pytest.raises(RunError, match=message.replace("[", r"\[")):
        run.read_config_as(Config)


def test_an_option_added_later_takes_its_default(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_config({"env": "ant_maze"})
    assert run.read_config_as(Config) == Config(env="ant_maze")


def test_damaged_config_is_said(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.config_file.write_text('{"config": {')
    with pytest.raises(RunError, match="not valid JSON"):
        run.read_config()


def test_a_value_without_json_form_names_its_field(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config\.agent\.optimiser is a function"):
        RunDirectory(tmp_path).write_config({"agent": {"optimiser": describe}})
    assert not (tmp_path / "config.json").exists()


def describe() -> None:
    """Stands for a callable that slipped into a config."""


def test_seed_directories(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.seed_directory(0, 1, seed=3) == tmp_path
    assert run.seed_directories() == [tmp_path]
    made = [run.seed_directory(i, 3, seed=8) for i in range(3)]
    assert [p.name for p in made] == ["seed_8", "seed_9", "seed_10"]
    assert run.seed_directories() == made and (made[0] / "media").is_dir()
    with pytest.raises(ValueError, match="outside"):
        run.seed_directory(3, 3, seed=8)
