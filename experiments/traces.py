"""Traced programs, kept between processes: a start that finds its own spares the seconds that tracing takes.

What was compiled is kept by JAX, which has to trace and lower a program before it can look for it. An entry here is
what lowering made of a program, StableHLO as `jax.export` writes it, under a name that is a digest of all that it was
made from. It holds data alone; nothing in it is ever executed by Python.
"""

import dataclasses
import hashlib
import importlib
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
from jax import export

from peg_jax.run.files import DiskError, replacing

MOST = 100  # entries in a folder; the oldest make room
OURS = ("peg_jax", "envs", "experiments")
SETTLED = 10.0  # seconds for which the sources must have been as they are when they are imported
_IMPORTED = time.time()
_CLASS, _DIGEST = "class ", hashlib.sha256().digest_size


class Lowered(Protocol):
    """A program that can be compiled."""

    def compile(self, compiler_options: Any = None) -> Callable[..., Any]:
        """The program, to be called with arguments of the shapes that it was lowered for."""


class _Flat(NamedTuple):
    """A program over the leaves of its arguments, whose results are packed."""

    lowered: jax.stages.Lowered
    structure: Any  # of the arguments

    def compile(self, compiler_options: Any = None) -> Callable[..., Any]:
        compiled = self.lowered.compile(compiler_options)

        def call(*arguments: Any) -> Any:
            leaves, structure = jax.tree.flatten(arguments)
            if structure != self.structure:
                raise TypeError(f"compiled for {self.structure}, called with {structure}")
            return _unpack(compiled(*leaves))

        return call


def lower(
    folder: Path | None, made_from: str, function: Callable[..., Any], *arguments: Any, donate: int | None = None
) -> Lowered:
    """As `jax.jit(function, donate_argnums=donate).lower(*arguments)`, but traced only once for all processes.

    Args:
        folder: where traced programs are kept; None: nowhere, but what is compiled is found under the name that it has
            for processes which keep theirs.
        made_from: all that decides what `function` computes, beside the sources and the arguments' shapes.
        function: of pytrees, to pytrees of arrays.
        arguments: arrays or their shapes.
        donate: which argument's memory the results may take.
    """
    plain = jax.jit(function, donate_argnums=() if donate is None else donate)
    leaves, structure = jax.tree.flatten(arguments)
    kinds = [(x.shape, str(x.dtype)) if hasattr(x, "dtype") else type(x).__name__ for x in leaves]
    before = 0 if donate is None else len(jax.tree.leaves(arguments[:donate]))
    donated = () if donate is None else range(before, before + len(jax.tree.leaves(arguments[donate])))
    file = folder and folder / _digest((made_from, donate, str(structure), kinds, *_made_with()))
    content = _read(file) if file else None
    if content is None:
        try:
            program = jax.jit(_flat(function, structure), donate_argnums=tuple(donated))
            content = bytes(export.export(program)(*leaves).serialize())
        except (NotImplementedError, TypeError, ValueError):  # not every program can be written down
            return plain.lower(*arguments)
        if file:
            _write(file, content)
    # Written or read, the program comes from the file's content, so that what is compiled is found under one name.
    call = export.deserialize(bytearray(content)).call
    return _Flat(jax.jit(call, donate_argnums=tuple(donated)).lower(*leaves), structure)


def _digest(parts: tuple[Any, ...]) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def known_by_sources() -> bool:
    """Whether this process computes what our sources say: another program than our commands may have put in its own.

    Sources that are being written are none that it is known to have read.
    """
    main = getattr(sys.modules["__main__"], "__spec__", None)
    command = main is not None and main.name.startswith("experiments.")
    return command and max(file.stat().st_mtime for _, file in _sources()) < _IMPORTED - SETTLED


@cache
def _made_with() -> tuple[str, ...]:
    """Digests and names of what every program depends on."""
    sources = hashlib.sha256()
    for name, file in _sources():
        sources.update(repr((name, file.read_bytes())).encode())
    installed = sorted(path.name for path in Path(jax.__file__).parents[1].glob("*.dist-info"))
    settings = sorted((name, str(value)) for name, value in jax.config.values.items() if "cache" not in name)
    return sources.hexdigest(), sys.version, repr(installed), repr(settings), jax.default_backend()


@cache
def _sources() -> list[tuple[str, Path]]:
    """All files of our packages, by the names they have there, in order."""
    found = []
    for package in OURS:
        root = Path(next(iter(importlib.import_module(package).__path__)))
        files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        found += [(f"{package}/{path.relative_to(root)}", path) for path in files]
    return sorted(found)


def _flat(function: Callable[..., Any], structure: Any) -> Callable[..., Any]:
    def flat(*leaves: Any) -> Any:
        results = function(*jax.tree.unflatten(structure, leaves))
        packed = _pack(results)
        again: Any = jax.tree.structure(_unpack(packed))
        if again != jax.tree.structure(results):
            raise TypeError("the results hold more than dataclasses, named tuples, dicts and lists of arrays")
        return packed

    return flat


def _pack(node: Any) -> Any:
    """A pytree as dicts, lists and tuples, which name the classes that they stand for."""
    if isinstance(node, dict):
        return {name: _pack(part) for name, part in node.items()}
    if type(node) in (list, tuple):
        return type(node)(map(_pack, node))
    fields: Iterable[str] = getattr(node, "_fields", ())
    if dataclasses.is_dataclass(node):
        fields = [field.name for field in dataclasses.fields(node)]
    elif not isinstance(node, tuple):
        return node
    name = f"{_CLASS}{type(node).__module__}:{type(node).__qualname__}"
    return {name: {field: _pack(getattr(node, field)) for field in fields}}


def _unpack(node: Any) -> Any:
    if type(node) in (list, tuple):
        return type(node)(map(_unpack, node))
    if not isinstance(node, dict):
        return node
    parts = {name: _unpack(part) for name, part in node.items()}
    if len(parts) != 1 or not next(iter(parts)).startswith(_CLASS):
        return parts
    ((name, fields),) = parts.items()
    module, _, qualified = name.removeprefix(_CLASS).partition(":")
    return attrgetter(qualified)(importlib.import_module(module))(**fields)


def _read(file: Path) -> bytes | None:
    """What was written, or None if it was not or is damaged."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, content = content[:_DIGEST], content[_DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def _write(file: Path, content: bytes) -> None:
    """Keep `content`; a disk that refuses costs no more than the time to trace again."""
    with suppress(DiskError, OSError), replacing(file) as temporary:
        temporary.write_bytes(hashlib.sha256(content).digest() + content)
    with suppress(OSError):
        for old in sorted(file.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-MOST]:
            old.unlink()
