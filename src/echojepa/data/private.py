"""What stays with the owner of the files and never enters a data set: the key, and which file an id is."""

from __future__ import annotations

import csv
import os
import secrets
from pathlib import Path

from echojepa.errors import UserError


class IngestError(UserError):
    """Nothing can be, or was, ingested."""


def read_key(path: Path, out: Path) -> bytes:
    """The secret behind all pseudonyms; made on first use, readable by its owner only."""
    if path.resolve().is_relative_to(out.resolve()):
        raise IngestError(
            f"the key {path} lies inside the data set {out}; keep it apart, it undoes the pseudonyms"
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    key = path.read_bytes().strip()
    if len(key) < 16:
        raise IngestError(
            f"the key {path} has {len(key)} bytes; at least 16 are needed. Delete it to have one made"
        )
    return key


def write_file_map(key: Path, files: list[Path], ids: list[str]) -> Path:
    """Beside the key, never in the data set: which file an id is, for its owner to find rejected ones."""
    path = key.with_name(f"{key.name}.files.csv")
    known = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            known = {row["file_id"]: row["path"] for row in csv.DictReader(file)}
    known |= {file_id: str(p.resolve()) for p, file_id in zip(files, ids, strict=True)}
    temporary = path.with_name(f".{path.name}.tmp")
    with os.fdopen(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as file:
        writer = csv.writer(file)
        writer.writerows([("file_id", "path"), *known.items()])
    temporary.replace(path)
    return path
