"""Settings, cards and records as JSON: written from dataclasses, read back into them strictly."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

from echojepa.errors import ConfigError
from echojepa.files.durable import write_text

Record = TypeVar("Record")


def encode(value: Any) -> str:
    """A dataclass, or plain values, as JSON text, entries in their order."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(type(value)) else value
    return json.dumps(plain, indent=2, default=path_as_text) + "\n"


def path_as_text(value: object) -> str:
    """A path's text, the one value of settings that JSON has no form for; TypeError for any other."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is no value of a record")


def write_record(path: Path, value: Any) -> None:
    """Write a dataclass, or plain values, as JSON; whole or not at all."""
    write_text(path, encode(value))


def read_plain(path: Path) -> Any:
    """The plain values in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def keep_record(path: Path, settings: Any, what: str, free: Collection[str] = ()) -> None:
    """Leave the settings that a folder is made with in it, where it holds none, or the very same.

    Those named in `free` may have changed. ConfigError names the others that did.
    """
    mine: dict[str, Any] = json.loads(encode(settings))
    there = read_plain(path) if path.exists() else mine
    other = {name for name in mine.keys() | there.keys() if mine.get(name) != there.get(name)} - set(free)
    if other:
        raise ConfigError(
            f"{path.parent} holds another {what}, of other {', '.join(sorted(other))} (see its {path.name}); "
            "give another --out, or delete the folder to start over"
        )
    write_record(path, mine)


def decode(cls: type[Record], text: str | bytes) -> Record:
    """The value of type `cls` in JSON text; unknown, missing or ill-typed entries raise ConfigError."""
    try:
        return decode_plain(cls, json.loads(text))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"not the JSON of a {cls.__name__}: {error}") from error


def read_record(cls: type[Record], path: Path) -> Record:
    """The value of type `cls` in a JSON file; OSError and, as `decode`, ConfigError."""
    return decode(cls, path.read_text(encoding="utf-8"))


def decode_plain(cls: type[Record], value: Any) -> Record:
    """As `decode`, of what JSON text was read into."""
    return _build(cls, value, cls.__name__)


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` as an instance of the annotation `kind`; `where` names the place for errors."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _build(inner, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict and isinstance(value, dict):
        return {name: _build(arguments[1], entry, f"{where}[{name}]") for name, entry in value.items()}
    if origin is Literal and value in arguments:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        if set(value) != set(hints):
            unknown, missing = sorted(set(value) - set(hints)), sorted(set(hints) - set(value))
            raise ConfigError(f"{where}: unknown entries {unknown}, missing entries {missing}")
        make: Any = kind
        return make(**{name: _build(hints[name], entry, f"{where}.{name}") for name, entry in value.items()})
    if isinstance(kind, type) and issubclass(kind, StrEnum) and value in list(kind):
        return kind(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    raise ConfigError(f"{where}: {value!r} is not a {kind}")
