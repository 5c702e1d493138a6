"""CheckpointStore: exactness, damage of every kind, templates that do not fit."""

import gc
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from peg_jax.run import checkpoint
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.files import RunError


@struct.dataclass
class State:
    params: dict[str, Any]
    replay: tuple[jax.Array, ...]
    key: jax.Array
    step: jax.Array
    nothing: jax.Array | None = None


def make_state(fill: float = 1.0, width: int = 4) -> State:
    weird = np.array([np.nan, -0.0, np.inf, 1e-45], np.float32)
    return State(
        params={
            "dense/0": {"kernel": jnp.full((3, width), fill, jnp.float32), "bias": jnp.ones(4, jnp.bfloat16) * fill}
        },
        replay=(jnp.asarray(weird), jnp.arange(5, dtype=jnp.uint8), jnp.zeros((0, 7)), jnp.array([True, False])),
        key=jax.random.split(jax.random.key(7), 3),
        step=jnp.int32(fill),
    )


def assert_same_bits(a: State, b: State) -> None:
    chex.assert_trees_all_equal_shapes_and_dtypes(a, b)
    raw = [jax.tree.leaves(replace(tree, key=jax.random.key_data(tree.key))) for tree in (a, b)]
    assert all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(*raw, strict=True))


def with_options(store: CheckpointStore, **options: Any) -> CheckpointStore:
    return CheckpointStore(store.path, made_with=options)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def two_steps(store: CheckpointStore) -> CheckpointStore:
    store.save(10, make_state(1))
    store.save(20, make_state(2))
    return store


def step_folder(store: CheckpointStore, step: int) -> Path:
    return store.path / f"{step:012d}"


def largest_file(folder: Path) -> Path:
    return max((p for p in (folder / "state").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_round_trip_is_bit_exact(store: CheckpointStore) -> None:
    state = make_state()
    store.save(5, state)
    restored, step = store.restore(jax.eval_shape(make_state))
    assert step == 5 and isinstance(restored, State)
    assert_same_bits(state, restored)
    assert jax.random.key_impl(restored.key) == jax.random.key_impl(state.key)
    assert jnp.array_equal(jax.random.normal(restored.key[1]), jax.random.normal(state.key[1]))
    assert_same_bits(store.restore(state)[0], state)  # a concrete template serves as well


def test_restored_arrays_can_be_donated(store: CheckpointStore) -> None:
    store.save(5, make_state())
    restored, _ = store.restore(make_state())
    stepped = jax.jit(lambda s: replace(s, step=s.step + 1), donate_argnums=0)(restored)
    assert_same_bits(stepped, replace(make_state(), step=jnp.int32(2)))


def test_a_bare_array_and_numbers_are_trees_too(store: CheckpointStore) -> None:
    store.save(1, jnp.arange(3))
    assert store.restore(jnp.arange(3))[0].tolist() == [0, 1, 2]
    store.save(2, {"count": 3, "host": np.float32(0.5)})
    assert store.restore({"count": 0, "host": np.float32(0)})[0] == {"count": 3, "host": 0.5}


def test_keeps_the_newest_and_drops_rolled_back_steps(store: CheckpointStore) -> None:
    for step in (10, 20, 30):
        store.save(step, make_state(step))
    assert store.steps() == [20, 30] and store.latest() == 30
    assert store.restore(make_state(), step=20)[1] == 20
    store.save(25, make_state(25))  # went on from 20
    assert store.steps() == [20, 25]
    store.save(25, make_state(26))  # the same step again
    assert store.restore(make_state())[0].step == 26
    assert sorted(p.name for p in store.path.iterdir()) == [f"{20:012d}", f"{25:012d}"]


def test_nothing_saved(store: CheckpointStore) -> None:
    assert store.latest() is None
    with pytest.raises(RunError, match="no checkpoint in"):
        store.restore(make_state())


def test_interrupted_saves_do_not_count(two_steps: CheckpointStore) -> None:
    shutil.copytree(step_folder(two_steps, 20), two_steps.path / f".writing-{30:012d}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert two_steps.restore(make_state())[1] == two_steps.latest() == 20
    two_steps.save(30, make_state(3))
    assert not list(two_steps.path.glob(".writing-*"))


def test_failing_write_leaves_earlier_steps(two_steps: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_manifest", full)
    with pytest.raises(RunError, match=r"no space left on the disk.*\[10, 20\]"):
        two_steps.save(30, make_state(3))
    assert two_steps.restore(make_state())[1] == 20
    assert not list(two_steps.path.glob(".writing-*"))


def flip_bit(folder: Path) -> None:
    file = largest_file(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def truncate(folder: Path) -> None:
    file = largest_file(folder)
    file.write_bytes(file.read_bytes()[:-3])


def remove_file(folder: Path) -> None:
    largest_file(folder).unlink()


def edit_manifest(folder: Path) -> None:
    file = folder / "manifest.json"
    file.write_text(file.read_text().replace("bfloat16", "float16"))


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def empty_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def tear_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"sha2')


@pytest.mark.parametrize(
    "damage", [flip_bit, truncate, remove_file, edit_manifest, tear_manifest, remove_manifest, empty_folder]
)
def test_damage_falls_back_with_a_warning(two_steps: CheckpointStore, damage: Callable[[Path], None]) -> None:
    damage(step_folder(two_steps, 20))
    with pytest.warns(UserWarning, match="000000000020 cannot be used"):
        restored, step = two_steps.restore(make_state())
    assert step == 10
    assert_same_bits(restored, make_state(1))
    with pytest.raises(RunError, match="tried step 20"):
        two_steps.restore(make_state(), step=20)
    damage(step_folder(two_steps, 10))
    with pytest.warns(UserWarning), pytest.raises(RunError, match=r"no intact .* step 20 .* step 10"):
        two_steps.restore(make_state())


def test_a_damaged_step_is_replaced_when_reached_again(two_steps: CheckpointStore) -> None:
    flip_bit(step_folder(two_steps, 20))
    two_steps.save(20, make_state(2))
    assert_same_bits(two_steps.restore(make_state())[0], make_state(2))


@pytest.mark.filterwarnings("ignore:checkpoint .* cannot be used")
def test_mismatches_name_the_leaf_and_both_shapes(two_steps: CheckpointStore) -> None:
    kernel = r"state\.params\['dense/0'\]\['kernel'\]"
    with pytest.raises(RunError, match=rf"{kernel} is float32\[3,5\] here and float32\[3,4\] in the checkpoint"):
        two_steps.restore(jax.eval_shape(lambda: make_state(width=5)))
    with pytest.raises(RunError, match=r"state\.step is float32\[\] here and int32\[\]"):
        two_steps.restore(replace(make_state(), step=jnp.float32(0)))
    with pytest.raises(RunError, match=r"state\.nothing is float32\[2\] here and absent"):
        two_steps.restore(replace(make_state(), nothing=jnp.ones(2)))
    with pytest.raises(RunError, match=r"state\.replay\[3\] is absent here and bool\[2\]"):
        two_steps.restore(replace(make_state(), replay=make_state().replay[:3]))
    with pytest.raises(RunError, match=r"state\.key is key<rbg>\[3\] here and key<fry>"):
        two_steps.restore(replace(make_state(), key=jax.random.split(jax.random.key(0, impl="rbg"), 3)))


def test_checkpoints_of_another_run_are_named_and_passed_over(store: CheckpointStore) -> None:
    with_options(store, seed=0, units=32).save(10, make_state(1))
    with_options(store, seed=7, units=32).save(20, make_state(2))
    with pytest.warns(UserWarning, match=r"0020 cannot be used: made by a run with seed = 7, here it is 0"):
        assert with_options(store, seed=0, units=32).restore(make_state())[1] == 10
    with pytest.warns(UserWarning), pytest.raises(RunError, match=r"tried step 20 .*seed = 7.*step 10 .*units = 32"):
        with_options(store, seed=0, units=64).restore(make_state())
    assert with_options(store, seed=7, later=1).restore(make_state())[1] == 20  # an option that came later


def rewrite(store: CheckpointStore, step: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a manifest says, as another version would have written it."""
    file = step_folder(store, step) / "manifest.json"
    content = json.loads(file.read_text())["content"]
    change(content)
    file.write_text(json.dumps({"sha256": checkpoint._sha256_of_json(content), "content": content}))


def first_format(content: dict[str, Any]) -> None:
    for name in ("format", "made_with", "good"):
        del content[name]


def test_an_older_format_is_read_and_what_it_lacks_begins_at_zero(two_steps: CheckpointStore) -> None:
    rewrite(two_steps, 20, first_format)
    assert two_steps.last_good() == 20
    later = replace(make_state(), nothing=jnp.ones(3, jnp.int32))
    said: list[str] = []
    store = CheckpointStore(two_steps.path, added=["state.nothing"], warn=said.append)
    restored, step = store.restore(later)
    assert step == 20 and restored.nothing.tolist() == [0, 0, 0]
    assert "older format: without state.nothing" in said[0]
    rewrite(two_steps, 10, lambda content: content.update(format=2))
    with pytest.raises(RunError, match=r"state\.nothing is int32\[3\] here and absent"):
        store.restore(later, step=10)  # of this format: nothing may be missing


def test_a_newer_format_is_passed_over(two_steps: CheckpointStore) -> None:
    rewrite(two_steps, 20, lambda content: content.update(format=99))
    with pytest.warns(UserWarning, match="of format 99, while this version reads up to 2"):
        assert two_steps.restore(make_state())[1] == 10


def test_the_last_good_one_outlives_newer_ones(store: CheckpointStore) -> None:
    for step, good in ((10, True), (20, True), (30, False), (40, False), (50, False)):
        store.save(step, make_state(step), good)
    assert store.steps() == [20, 40, 50] and store.last_good() == 20
    store.save(60, make_state(60))
    assert store.steps() == [50, 60] and store.last_good() == 60


def test_a_restored_state_is_in_memory_once(store: CheckpointStore) -> None:
    count = 1 << 22
    store.save(1, {"replay": jnp.arange(count, dtype=jnp.float32)})
    template = jax.eval_shape(lambda: {"replay": jnp.zeros(count)})
    gc.collect()
    before = sum(x.nbytes for x in jax.live_arrays())
    state, _ = store.restore(template)
    gc.collect()
    assert sum(x.nbytes for x in jax.live_arrays()) - before == 4 * count == state["replay"].nbytes
