"""The only place that writes what must be whole: a temporary sibling, on the disk, renamed into place."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room: on the disk, in a quota, in one file."""


def write_file(path: Path, fill: Callable[[Path], object], *, private: bool = False) -> None:
    """Let `fill` write a temporary sibling, then rename it over `path`: never a half file, and none is lost
    to a power cut once this returns. A `private` file is its owner's alone to read, from its first byte."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if private:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        fill(temporary)
        flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes | memoryview, *, private: bool = False) -> None:
    """Write bytes, as `write_file`."""
    write_file(path, lambda file: file.write_bytes(content), private=private)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write UTF-8 text as it is, as `write_file`; paths that are no text survive a round trip."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"), private=private)


def flush(path: Path) -> None:
    """Have a file's content, or what a folder lists, on the disk and not only in its cache."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def replace_folder(temporary: Path, path: Path) -> None:
    """Rename a filled folder into the place of another, its files on the disk first."""
    for file in temporary.rglob("*"):
        if file.is_file():
            flush(file)
    if path.exists():
        shutil.rmtree(path)
    temporary.replace(path)


def disk_full(error: OSError, place: object = "") -> str:
    """What to say where a write failed for want of room; "" for any other failure."""
    # Lance gives the system's error as text only, as Rust writes it.
    if error.errno not in FULL and not any(f"os error {number}" in str(error) for number in FULL):
        return ""
    where = f" of {place}" if place else ""
    return f"the disk{where} is full; make room and run again: finished work is kept"
