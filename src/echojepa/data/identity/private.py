"""Private files that stay with the owner and never enter a data set: the key, the map from ids to files, and
images of loops held for review because they may show a name."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from echojepa.errors import UserError
from echojepa.files.durable import write_text
from echojepa.files.tables import write_csv
from echojepa.processes.lock import locked


class IngestError(UserError):
    """Nothing can be, or was, ingested."""


def check_apart(path: Path, out: Path) -> None:
    """IngestError for a key inside the data set."""
    if path.resolve().is_relative_to(out.resolve()):
        raise IngestError(
            f"the key {path} lies inside the data set {out}; keep it elsewhere, because it reverses the "
            "pseudonyms"
        )


def read_key(path: Path, out: Path) -> bytes:
    """The secret behind all pseudonyms; made on first use, readable by its owner only."""
    check_apart(path, out)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                write_text(path, secrets.token_hex(32) + "\n", private=True)
    key = path.read_bytes().strip()
    if len(key) < 16:
        raise IngestError(
            f"the key {path} has {len(key)} bytes and needs at least 16. Delete it, and a new one is created"
        )
    return key


def beside(key: Path, what: str) -> Path:
    """Where a private table stands."""
    return key.with_name(f"{key.name}.{what}.csv")


def write_left_out(key: Path, left_out: Sequence[tuple[str, str]]) -> Path:
    """Beside the key: what of a data set's own tables was passed over, and why; none where nothing was."""
    path = beside(key, "left-out")
    if left_out:
        write_csv(path, ({"why": why, "what": what} for why, what in left_out), private=True)
    return path


class Tried(NamedTuple):
    """What the private map says of a file."""

    path: str
    stamp: tuple[int, int] | None
    """Size in bytes and time of change, nanoseconds, when it was last tried; None where that is not known."""


def stamp_of(path: Path) -> tuple[int, int]:
    """Size and time of change of a file; (0, 0) where the system does not say."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return facts.st_size, facts.st_mtime_ns


def read_file_map(key: Path, wanted: Collection[str] | None = None) -> Iterator[tuple[str, Tried]]:
    """File ids of the private map beside the key, all or those that are wanted, and what it says of them, one
    at a time; nothing where there is none."""
    path = beside(key, "files")
    if path.exists():
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for row in csv.DictReader(file):
                if wanted is None or row["file_id"] in wanted:
                    yield row["file_id"], Tried(row["path"], _stamp(row))


def _stamp(row: dict[str, str]) -> tuple[int, int] | None:
    """As it stands in the map; those of older packages have none."""
    size, changed = row.get("size") or "", row.get("changed") or ""
    return (int(size), int(changed)) if size.isdecimal() and changed.isdecimal() else None


def write_file_map(key: Path, files: dict[str, Path], tried: set[str]) -> Path:
    """Beside the key, never in the data set: which file an id is, for its owner to find rejected ones, and
    what those that are `tried` now are like."""
    path = beside(key, "files")
    with locked(key.with_name(f".{key.name}.lock")):
        columns = ("file_id", "path", "size", "changed")
        rows = ((file_id, one.path, *(one.stamp or ("", ""))) for file_id, one in _renewed(key, files, tried))
        write_csv(path, (dict(zip(columns, row, strict=True)) for row in rows), private=True)
    return path


def _renewed(key: Path, files: dict[str, Path], tried: set[str]) -> Iterator[tuple[str, Tried]]:
    """The private map's rows as they are to be: those of the files anew, then what it did not know."""
    new = dict(files)
    for file_id, known in read_file_map(key):
        if file_id not in files:
            yield file_id, known
        elif file := new.pop(file_id, None):
            yield file_id, Tried(str(file), stamp_of(file) if file_id in tried else known.stamp)
    for file_id, file in new.items():
        yield file_id, Tried(str(file), stamp_of(file) if file_id in tried else None)


def keep_pictures(folder: Path, pictures: dict[str, bytes]) -> None:
    """Beside the key: a PNG of every held loop, named by its file id, for a person to look at."""
    if pictures:
        folder.mkdir(mode=0o700, exist_ok=True)
    for file_id, picture in pictures.items():
        (folder / f"{file_id}.png").write_bytes(picture)
