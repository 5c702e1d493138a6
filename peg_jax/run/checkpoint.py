"""Checkpoints of one pytree, written by orbax and verified byte by byte when read back.

orbax alone restores a file with a flipped bit as if nothing had happened and does not fall back from a damaged step.
So each step carries a manifest with the sha256 of its files and with what the run was made with, and a step that does
not hold what its manifest says, or was made by another run, is passed over by name.
"""

import gc
import hashlib
import json
import logging
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from peg_jax.run import processes
from peg_jax.run.files import UNFINISHED, DiskError, RunError, write_json

State = TypeVar("State")

MANIFEST = "manifest.json"
DATA = "state"
FORMAT = 2  # 1 had neither this number nor the run's options, nor said whether the numbers were good


@dataclass(frozen=True)
class Leaf:
    """Shape and dtype name of one array of the state, as recorded and compared."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class CheckpointStore:
    """The newest `keep` checkpoints of a run, and the newest one that was saved as good.

    Layout: `<path>/<step, 12 digits>/state/` (orbax) and `<path>/<step>/manifest.json`. A step is written in a hidden
    folder and renamed when complete, so that a crash at any moment leaves the earlier steps as they were.
    One process writes at a time; others may read. Where several processes share a run, all call `save` and `restore`:
    each writes and reads the arrays that its devices hold, and the first does the rest.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        keep: int = 2,
        made_with: Mapping[str, Any] | None = None,
        added: Sequence[str] = (),
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        """Name the store at `path`; nothing is made before the first save.

        Args:
          keep: checkpoints that stay on disk; with one, a damaged file has nothing to fall back on.
          made_with: the options that the state depends on, JSON values by name; a checkpoint with others is not used.
          added: names of leaves that checkpoints of older formats may lack; they begin at zero.
          warn: told of each checkpoint that is passed over, and why.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.path = Path(path).absolute()
        self.keep, self.made_with, self.added, self._warn = keep, dict(made_with or {}), tuple(added), warn

    def steps(self) -> list[int]:
        """Return the steps on disk in rising order; their content is not verified."""
        found = self.path.iterdir() if self.path.is_dir() else iter(())
        return sorted(int(p.name) for p in found if p.name.isdigit() and p.is_dir())

    def latest(self) -> int | None:
        """Return the newest step on disk, None if there is none; its content is not verified."""
        return max(self.steps(), default=None)

    def last_good(self) -> int | None:
        """Return the newest step that was saved as good, None if there is none."""
        return max((step for step in self.steps() if self._is_good(step)), default=None)

    def save(self, step: int, state: Any, good: bool = True) -> None:
        """Write `state` as `step`, blocking until it is complete on disk.

        Earlier steps beyond `keep` are deleted, except the newest good one, and so are steps newer than `step`: they
        belong to a continuation which was rolled back. Leaves are arrays, typed PRNG keys, or numbers (saved as the
        arrays that `jnp.asarray` makes).

        Args:
          step: environment steps so far.
          state: a pytree.
          good: whether this is a state that one might want to go back to.

        Raises:
          DiskError: when the disk refuses; earlier steps are untouched.
        """
        leaves = {name: jnp.asarray(leaf) for name, leaf in _named_leaves(state).items()}
        target, temporary = self.folder(step), self.path / f"{UNFINISHED}{step:012d}"
        refusal = None
        with _without_noise():
            try:
                if processes.writes():
                    self._remove_unfinished()
                    temporary.mkdir(parents=True)
                processes.wait("folder made")
                # orbax refuses arrays without elements; the template says all there is to know of them.
                _write_arrays(temporary / DATA, {name: leaf for name, leaf in leaves.items() if leaf.size})
                processes.wait("arrays written")
                if processes.writes():
                    described = {name: [list(leaf.shape), str(leaf.dtype)] for name, leaf in leaves.items()}
                    facts = {"format": FORMAT, "made_with": self.made_with, "good": good, "leaves": described}
                    _write_manifest(temporary, facts)
                    self._put_in_place(step, temporary)
                processes.wait("checkpoint complete")
            except (OSError, ValueError, RunError) as error:  # orbax reports a full disk as ValueError
                refusal = "no space left on the disk" if "No space left" in str(error) else str(error)
            if refusal:
                gc.collect()  # or what orbax had begun would complain when the process ends
                logging.getLogger("asyncio").addFilter(_no_orphan)  # or when it is collected later
        if refusal:
            self._remove_unfinished()
            raise DiskError(f"cannot write checkpoint {target}: {refusal}; steps on disk: {self.steps()}")

    def _put_in_place(self, step: int, complete: Path) -> None:
        target = self.folder(step)
        if target.exists():
            target.rename(self.path / f"{UNFINISHED}replaced-{step:012d}")
        complete.rename(target)
        self._remove_unfinished()
        self._prune(step)

    def restore(self, template: State, step: int | None = None) -> tuple[State, int]:
        """Return the saved state and its step.

        Args:
          template: tree with the structure, shapes and dtypes of the saved state: the state itself or what
            `jax.eval_shape` gives. Arrays go to the template's shardings, where it has any, else to the first device.
          step: the one to read; None takes the newest that is intact and of this run, warning of each newer one.

        Raises:
          RunError: when there is none; says what is the matter with each.
        """
        candidates = self.steps()[::-1] if step is None else [step]
        if not candidates:
            raise RunError(f"no checkpoint in {self.path}")
        targets = {name: _abstract(leaf) for name, leaf in _named_leaves(template).items()}
        objections = []
        for candidate in candidates:
            folder = self.folder(candidate)
            objection, absent = self._examine(folder, targets)
            if not objection:
                return _read_arrays(folder, template, targets, absent), candidate
            objections.append(f"step {candidate} ({objection})")
            if step is None:
                self._warn(f"checkpoint {folder} cannot be used: {objection}; trying an older one")
        raise RunError(f"no intact checkpoint of this run in {self.path}; tried {', '.join(objections)}")

    def _examine(self, folder: Path, targets: dict[str, jax.ShapeDtypeStruct]) -> tuple[str | None, list[str]]:
        """What speaks against a step, None if nothing does, and which leaves it lacks that begin at zero."""
        objection, facts = _verify(folder)
        if objection:
            return objection, []
        if facts.get("format", 1) > FORMAT:
            return f"of format {facts['format']}, while this version reads up to {FORMAT}", []
        for name, value in facts.get("made_with", {}).items():
            if name in self.made_with and value != self.made_with[name]:
                return f"made by a run with {name} = {value}, here it is {self.made_with[name]}", []
        expected = {name: Leaf(target.shape, str(target.dtype)) for name, target in targets.items()}
        saved = {name: Leaf(tuple(shape), dtype) for name, (shape, dtype) in facts["leaves"].items()}
        older = facts.get("format", 1) < FORMAT
        absent = [name for name in self.added if older and name in expected and name not in saved]
        if absent:
            self._warn(f"checkpoint {folder} is of an older format: without {', '.join(absent)}, which begin at zero")
        return _first_difference({k: v for k, v in expected.items() if k not in absent}, saved), absent

    def folder(self, step: int) -> Path:
        """Where `step` lies, or would."""
        return self.path / f"{step:012d}"

    def _is_good(self, step: int) -> bool:
        try:
            return bool(json.loads((self.folder(step) / MANIFEST).read_text())["content"].get("good", True))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def _remove_unfinished(self) -> None:
        for leftover in self.path.glob(f"{UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _prune(self, newest: int) -> None:
        steps = self.steps()
        older = [step for step in steps if step <= newest]
        kept = {*older[-self.keep :], *[step for step in older if self._is_good(step)][-1:]}
        for step in set(steps) - kept:
            # By another name first: a half-deleted step cannot be mistaken for a damaged one.
            hidden = self.path / f"{UNFINISHED}deleted-{step:012d}"
            self.folder(step).rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)


def _named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by their path in the tree, such as `state.agent.params['dense']['kernel']`."""
    return {f"state{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, dtype and target sharding of a template's leaf."""
    if not isinstance(leaf, jax.ShapeDtypeStruct | jax.Array):
        leaf = jnp.asarray(leaf)
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


@contextmanager
def _without_noise() -> Iterator[None]:
    """Keep orbax, asyncio and threads from printing the tracebacks of an error that is reported in a line."""
    hooks = sys.unraisablehook, threading.excepthook
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            yield
    finally:
        logging.disable(before)
        sys.unraisablehook, threading.excepthook = hooks


def _no_orphan(record: logging.LogRecord) -> bool:
    """Not the report of a write whose error nobody waits for: that of another write was raised before."""
    return "exception was never retrieved" not in record.getMessage()


def _write_arrays(folder: Path, arrays: dict[str, jax.Array]) -> None:
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as writer:
        writer.save(folder, args=ocp.args.StandardSave(arrays))


def _read_arrays(
    folder: Path, template: State, targets: dict[str, jax.ShapeDtypeStruct], absent: Sequence[str]
) -> State:
    """Fill `template` from a verified step that fits."""
    stored = {name: target for name, target in targets.items() if target.size and name not in absent}
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        arrays = reader.restore(folder / DATA, args=ocp.args.StandardRestore(stored))
    zeros = {n: jnp.zeros(t.shape, t.dtype, device=t.sharding) for n, t in targets.items() if n not in stored}
    restored: State = jax.tree.unflatten(jax.tree.structure(template), [(arrays | zeros)[name] for name in targets])
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


def _write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    content = facts | {"files": {p.relative_to(folder).as_posix(): _sha256(p) for p in files}}
    write_json(folder / MANIFEST, {"sha256": _sha256_of_json(content), "content": content})


def _verify(folder: Path) -> tuple[str | None, dict[str, Any]]:
    """What is damaged in a step, None if nothing is, and what its manifest says."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        content: dict[str, Any] = manifest["content"]
        if manifest["sha256"] != _sha256_of_json(content):
            return f"{MANIFEST} has changed", {}
        for name, digest in content["files"].items():
            if _sha256(folder / name) != digest:
                return f"{name} has changed", {}
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing", {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"unreadable: {error}", {}
    return None, content


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
