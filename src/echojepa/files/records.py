"""Settings, cards and records as JSON: written from dataclasses, read back into them strictly."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

from echojepa.errors import ConfigError
from echojepa.files.durable import write_text

Record = TypeVar("Record")
Value = TypeVar("Value")
MEND = "copy it again, or make it again"
"""What to do about a file that is damaged."""


LATER: dict[str, Any] = {"later": True}
"""Metadata of a dataclass' field that came after files were written: it is written where it is not the
default, and read as the default where it is not there. So what was written before reads and compares as it
did."""


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries, through lists, tuples and dictionaries; others as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if not _unsaid(f, value)}
        return plain(kept)
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _unsaid(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field came later and has its default."""
    return bool(field.metadata.get("later")) and getattr(value, field.name) == field.default


def encode(value: Any) -> str:
    """A dataclass, or plain values, as JSON text, entries in their order."""
    return json.dumps(plain(value), indent=2, default=path_as_text) + "\n"


def path_as_text(value: object) -> str:
    """A path's text, the one value of settings that JSON has no form for; TypeError for any other."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be stored in a record")


def write_record(path: Path, value: Any) -> None:
    """Write a dataclass, or plain values, as JSON; whole or not at all."""
    write_text(path, encode(value))


def read_plain(path: Path) -> dict[str, Any]:
    """The entries of a JSON file; ConfigError where it is not there, or is not whole."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is incomplete or not JSON. {MEND}") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} contains a {type(entries).__name__}; named entries are expected")
    return entries


def entry(entries: Mapping[str, Any], name: str, kind: type[Value], path: Path) -> Value:
    """One entry of a JSON file; ConfigError where it is not there, or of another type."""
    value = entries.get(name)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        found = "nothing" if name not in entries else f"a {type(value).__name__}"
        raise ConfigError(f"{path} has {found} as '{name}'; a {kind.__name__} is expected. {MEND}")
    return value


def keep_record(path: Path, settings: Any, what: str, free: Collection[str] = ()) -> None:
    """Leave the settings that a folder is made with in it, where it holds none, or the very same.

    Those named in `free` may have changed. ConfigError names the others that did.
    """
    mine: dict[str, Any] = json.loads(encode(settings))
    there = read_plain(path) if path.exists() else mine
    other = {name for name in mine.keys() | there.keys() if mine.get(name) != there.get(name)} - set(free)
    if other:
        raise ConfigError(
            f"{path.parent} holds another {what} with different {', '.join(sorted(other))} (see its "
            f"{path.name}); give another --out, or delete the folder to start over"
        )
    write_record(path, mine)


def decode(cls: type[Record], text: str | bytes) -> Record:
    """The value of type `cls` in JSON text; unknown, missing or ill-typed entries raise ConfigError."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"not the JSON of a {cls.__name__}: {error}") from error
    return decode_plain(cls, value)


def read_record(cls: type[Record], path: Path) -> Record:
    """The value of type `cls` in a JSON file; ConfigError, with its path, where it is not there, not whole,
    or as in `decode`."""
    try:
        return decode_plain(cls, read_plain(path))
    except ConfigError as error:
        raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from error


def decode_plain(cls: type[Record], value: Any) -> Record:
    """As `decode`, of what JSON text was read into."""
    try:
        return _build(cls, value, cls.__name__)
    except (ValueError, TypeError, OverflowError) as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"{cls.__name__}: {error}") from error


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The annotations of a class, which take Python longer to find than a record to be built."""
    return typing.get_type_hints(kind)


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` as an instance of the annotation `kind`; `where` names the place for errors."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _build(inner, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if kind is Any:
        return value
    if origin is list and isinstance(value, list):
        return [_build(arguments[0], entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {name: _build(arguments[1], entry, f"{where}[{name}]") for name, entry in value.items()}
    if origin is Literal and value in arguments:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = _hints(kind)
        later = {field.name for field in dataclasses.fields(kind) if field.metadata.get("later")}
        unknown, missing = sorted(set(value) - set(hints)), sorted(set(hints) - set(value) - later)
        if unknown or missing:
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
