"""What a check of a whole data set is, and what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from echojepa.data.store.loop_store import LoopStore
from echojepa.data.verify.loop_checks import Severity


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


def rows_that_share(table: pa.Table, column: str) -> pa.Table:
    """The rows whose value in a column occurs in another row too."""
    counts = table.group_by(column).aggregate([([], "count_all")])
    repeated = counts.filter(pc.field("count_all") > 1)[column]
    return table.filter(pc.field(column).isin(repeated.combine_chunks()))


def distinct(table: pa.Table) -> pa.Table:
    """A table's different rows."""
    return table.group_by(table.column_names).aggregate([])
