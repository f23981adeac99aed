"""Rows that were never written: loops that are looked at once and let go, read as those of a data set are."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from echojepa.data.store.loop_store import SCHEMA
from echojepa.data.store.rows import Loop, StoredLoop


class LoopsInMemory:
    """Loops by their place in a sequence."""

    def __init__(self, rows: Sequence[StoredLoop]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def loop(self, row: int) -> Loop:
        """As `LoopStore.loop`."""
        return loop_of(self._rows[row])


def loop_of(row: StoredLoop) -> Loop:
    """The pixels and times of a row."""
    return Loop(pa.Table.from_pylist([vars(row)], schema=SCHEMA))
