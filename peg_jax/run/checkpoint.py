"""Checkpoints of one pytree, written by orbax and verified byte by byte when read back.

orbax alone restores a file with a flipped bit as if nothing had happened and does not fall back from a damaged step.
So each step carries a manifest with the sha256 of its files, and a step without one does not count.
"""

import hashlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from peg_jax.run.files import RunError, write_json

State = TypeVar("State")

MANIFEST = "manifest.json"
DATA = "state"
UNFINISHED = ".writing-"


@dataclass(frozen=True)
class Leaf:
    """Shape and dtype name of one array of the state, as recorded and compared."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class CheckpointStore:
    """The newest `keep` checkpoints of a run.

    Layout: `<path>/<step, 12 digits>/state/` (orbax) and `<path>/<step>/manifest.json`. A step is written in a hidden
    folder and renamed when complete, so that a crash at any moment leaves the earlier steps as they were.
    One process writes at a time; others may read.
    """

    def __init__(self, path: str | os.PathLike[str], keep: int = 2) -> None:
        """Name the store at `path`; nothing is made before the first save.

        Args:
          keep: checkpoints that stay on disk; with one, a damaged file has nothing to fall back on.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.path = Path(path).absolute()
        self.keep = keep

    def steps(self) -> list[int]:
        """Return the complete steps in rising order; their content is not verified."""
        found = self.path.iterdir() if self.path.is_dir() else iter(())
        return sorted(int(p.name) for p in found if p.name.isdigit() and (p / MANIFEST).is_file())

    def latest(self) -> int | None:
        """Return the newest complete step, None if there is none; its content is not verified."""
        return max(self.steps(), default=None)

    def save(self, step: int, state: Any) -> None:
        """Write `state` as `step`, blocking until it is complete on disk.

        Earlier steps beyond `keep` are deleted, and so are steps newer than `step`: they belong to a continuation which
        was rolled back. Leaves are arrays, typed PRNG keys, or numbers (saved as the arrays that `jnp.asarray` makes).

        Raises:
          RunError: when the disk refuses; earlier steps are untouched.
        """
        leaves = {name: jnp.asarray(leaf) for name, leaf in _named_leaves(state).items()}
        target, temporary = self._folder(step), self.path / f"{UNFINISHED}{step:012d}"
        self._remove_unfinished()
        try:
            temporary.mkdir(parents=True)
            # orbax refuses arrays without elements; the template says all there is to know of them.
            _write_arrays(temporary / DATA, {name: leaf for name, leaf in leaves.items() if leaf.size})
            _write_manifest(temporary, {name: _describe(leaf) for name, leaf in leaves.items()})
            if target.exists():
                target.rename(self.path / f"{UNFINISHED}replaced-{step:012d}")
            temporary.rename(target)
        except (OSError, ValueError, RunError) as error:  # orbax reports a full disk as ValueError
            self._remove_unfinished()
            reason = "no space left on the disk" if "No space left" in str(error) else error
            raise RunError(f"cannot write checkpoint {target}: {reason}; steps on disk: {self.steps()}") from error
        self._remove_unfinished()
        self._prune(step)

    def restore(self, template: State, step: int | None = None) -> tuple[State, int]:
        """Return the saved state and its step.

        Args:
          template: tree with the structure, shapes and dtypes of the saved state: the state itself or what
            `jax.eval_shape` gives. Arrays go to the template's shardings, where it has any, else to the first device.
          step: the one to read; None takes the newest intact one, with a warning naming each damaged newer one.

        Raises:
          RunError: when nothing intact is found, or when `template` differs from what was saved (names the first
            differing leaf).
        """
        candidates = self.steps()[::-1] if step is None else [step]
        if not candidates:
            raise RunError(f"no checkpoint in {self.path}")
        damages = []
        for candidate in candidates:
            folder = self._folder(candidate)
            damage, saved = _verify(folder)
            if not damage:
                return _read_arrays(folder, template, saved), candidate
            damages.append(f"step {candidate} ({damage})")
            if step is None:
                warnings.warn(f"checkpoint {folder} is damaged: {damage}; trying an older one", stacklevel=2)
        raise RunError(f"no intact checkpoint in {self.path}; tried {', '.join(damages)}")

    def _folder(self, step: int) -> Path:
        return self.path / f"{step:012d}"

    def _remove_unfinished(self) -> None:
        for leftover in self.path.glob(f"{UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _prune(self, newest: int) -> None:
        steps = self.steps()
        kept = [step for step in steps if step <= newest][-self.keep :]
        for step in set(steps) - set(kept):
            # Without its manifest a half-deleted step cannot be mistaken for a damaged one.
            (self._folder(step) / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self._folder(step), ignore_errors=True)


def _named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by their path in the tree, such as `state.agent.params['dense']['kernel']`."""
    return {f"state{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, dtype and target sharding of a template's leaf."""
    if not isinstance(leaf, jax.ShapeDtypeStruct | jax.Array):
        leaf = jnp.asarray(leaf)
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _describe(leaf: Any) -> Leaf:
    return Leaf(tuple(leaf.shape), str(leaf.dtype))


def _write_arrays(folder: Path, arrays: dict[str, jax.Array]) -> None:
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as writer:
        writer.save(folder, args=ocp.args.StandardSave(arrays))


def _read_arrays(folder: Path, template: State, saved: dict[str, Leaf]) -> State:
    """Fill `template` from a verified step.

    Raises:
      RunError: when the template's leaves differ from the saved ones.
    """
    targets = {name: _abstract(leaf) for name, leaf in _named_leaves(template).items()}
    if difference := _first_difference({name: _describe(leaf) for name, leaf in targets.items()}, saved):
        raise RunError(f"checkpoint {folder} does not fit: {difference}; was the run made with another configuration?")
    stored = {name: target for name, target in targets.items() if target.size}
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        arrays = reader.restore(folder / DATA, args=ocp.args.StandardRestore(stored))
    empty = {name: jnp.zeros(t.shape, t.dtype, device=t.sharding) for name, t in targets.items() if not t.size}
    restored: State = jax.tree.unflatten(jax.tree.structure(template), [(arrays | empty)[name] for name in targets])
    return restored


def _first_difference(expected: dict[str, Leaf], saved: dict[str, Leaf]) -> str | None:
    for name, leaf in expected.items():
        if name not in saved:
            return f"{name} is {leaf} here and absent in the checkpoint"
        if leaf != saved[name]:
            return f"{name} is {leaf} here and {saved[name]} in the checkpoint"
    for name, leaf in saved.items():
        if name not in expected:
            return f"{name} is absent here and {leaf} in the checkpoint"
    return None


def _write_manifest(folder: Path, leaves: dict[str, Leaf]) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    content = {
        "leaves": {name: [list(leaf.shape), leaf.dtype] for name, leaf in leaves.items()},
        "files": {p.relative_to(folder).as_posix(): _sha256(p) for p in files},
    }
    write_json(folder / MANIFEST, {"sha256": _sha256_of_json(content), "content": content})


def _verify(folder: Path) -> tuple[str | None, dict[str, Leaf]]:
    """Return what is wrong with a step, None if it is intact, and its leaves by path."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        content = manifest["content"]
        if manifest["sha256"] != _sha256_of_json(content):
            return f"{MANIFEST} has changed", {}
        for name, digest in content["files"].items():
            if _sha256(folder / name) != digest:
                return f"{name} has changed", {}
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing", {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"unreadable: {error}", {}
    return None, {name: Leaf(tuple(shape), dtype) for name, (shape, dtype) in content["leaves"].items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
