"""Nested configuration dataclasses to plain JSON values and back, without pickle or class names in the file."""

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from peg_jax.run.files import RunError

T = TypeVar("T")


def encode(value: Any, where: str = "config") -> Any:
    """Return `value` as JSON types: dataclasses become objects, tuples lists, enums their names, paths strings.

    Non-finite floats become the strings "nan", "inf" and "-inf", because JSON has no such numbers.

    Raises:
      RunError: names the field whose value has no JSON form.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: encode(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence):
        return [encode(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise RunError(f"{where} is a {type(value).__name__}, which has no JSON form; use numbers, strings or dataclasses")


def decode(kind: type[T], value: Any, where: str = "config") -> T:
    """Return an instance of the dataclass `kind` from what `encode` made of one.

    A field missing from `value` takes its default, so that a run outlives the addition of an option.

    Raises:
      RunError: names the first field that is unknown, missing without a default, or of the wrong type.
    """
    return typing.cast(T, _decode(kind, value, where))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested options as one table of dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _decode(kind: Any, value: Any, where: str) -> Any:
    """`decode` for any annotation that a configuration may carry."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, value, where)
    if origin is typing.Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return _decode_tuple(arguments, value, where)
    if origin is list and isinstance(value, list):
        return [_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if (origin is dict or origin is Mapping) and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is None and isinstance(kind, type):
        return _decode_plain(kind, value, where)
    if kind is Any:
        return value
    raise _mismatch(kind, value, where)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if not isinstance(value, dict):
        raise _mismatch(kind, value, where)
    if unknown := sorted(set(value) - set(fields)):
        raise RunError(f"{where}.{unknown[0]} is not an option of this version; known here: {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    given = {name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    for name, f in fields.items():
        if name not in given and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise RunError(f"{where}.{name} is missing and has no default")
    return kind(**given)


def _decode_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """The first alternative which fits; the error of the only dataclass among them says more than a list of types."""
    errors = []
    for kind in kinds:
        try:
            return _decode(kind, value, where)
        except RunError as error:
            if dataclasses.is_dataclass(kind) and isinstance(value, dict):
                errors.append(error)
    raise errors[0] if len(errors) == 1 else _mismatch(" | ".join(_name(kind) for kind in kinds), value, where)


def _decode_tuple(kinds: tuple[Any, ...], value: list[Any], where: str) -> tuple[Any, ...]:
    if kinds[-1:] == (Ellipsis,):
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise RunError(f"{where} has {len(value)} values where {len(kinds)} are expected")
    return tuple(_decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _decode_plain(kind: type, value: Any, where: str) -> Any:
    if issubclass(kind, enum.Enum) and value in kind.__members__:
        return kind[value]
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and (value in ("nan", "inf", "-inf") or type(value) in (int, float)):
        return float(value)
    if type(value) is kind:  # not isinstance: a bool is no int here
        return value
    raise _mismatch(kind, value, where)


def _mismatch(kind: Any, value: Any, where: str) -> RunError:
    return RunError(f"{where} is {value!r}, expected {kind if isinstance(kind, str) else _name(kind)}")


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
