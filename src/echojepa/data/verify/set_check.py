"""What a check of a whole data set is, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from echojepa.data.store.loop_store import ROWS_AT_ONCE, LoopStore
from echojepa.data.verify.loop_checks import Severity, shown


@dataclass(frozen=True)
class Found:
    """What one check of the whole set found."""

    things: str
    """What was counted, in the plural."""
    looked_at: int
    faults: list[str]
    """A few words each, with no id but pseudonyms."""


@dataclass(frozen=True)
class SetCheck:
    """A claim about the whole data set, and what to do where it fails."""

    name: str
    severity: Severity
    find: Callable[[LoopStore], Found]
    advice: str


def named(what: str, ids: pa.ChunkedArray) -> list[str]:
    """Each different id once, in order, after the word for what it is of."""
    return [f"{what} {shown(one)}" for one in sorted(ids.unique().to_pylist(), key=str)]


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """A table's rows as values; few are in memory at a time."""
    for piece in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        yield from piece.to_pylist()
