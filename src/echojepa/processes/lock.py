"""One writer at a time: a lock on a file, let go of by the system when its holder dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echojepa.errors import UserError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path`, made if it is missing, against other processes of this machine; waits for it.

    Between machines it holds where the file system carries flock (NFS 4 does, object stores do not).
    """
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def held_alone(path: Path, otherwise: str) -> Iterator[None]:
    """As `locked`, but does not wait: UserError, saying `otherwise`, where somebody else holds it."""
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(otherwise) from None
        yield
