"""What is true of columns of all rows, without holding them: different rows, repeated values, checksums.

Pieces of the table come in, Arrow throughout; what is held is the answer and HELD_ROWS rows beside it, or a
number of eight bytes a row. Nothing here knows where the pieces come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.files.tables import compute

Pieces = Iterable[pa.RecordBatch]
Reader = Callable[[Sequence[str]], Pieces]
"""Some columns of all rows in order, from the first on at every call."""
HELD_ROWS = 1 << 19
"""Rows that are held beside an answer: 60 MB of the widest columns, and as much again to sort them."""
DRAWN_EVERY = 64
"""Of so many rows one is drawn to know how values are spread."""
COUNT = "count"
WORD = 8
_FACTORS: NDArray[np.uint64] = np.random.default_rng(20).integers(1, 1 << 63, 64, dtype=np.uint64) * 2 + 1
"""An odd factor for each eight bytes of a value, in turn."""


def wanted_rows(
    pieces: Pieces, wanted: Callable[[pa.RecordBatch], pa.Array]
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Of each piece of a whole table the rows that are wanted: their numbers (n,) in the table, and the rows
    themselves. What is not known to be wanted is not."""
    start = 0
    for piece in pieces:
        mask = compute.fill_null(wanted(piece), False)
        yield start + np.flatnonzero(mask.to_numpy(zero_copy_only=False)), piece.filter(mask)
        start += len(piece)


def counted(pieces: Pieces) -> pa.Table:
    """The different rows of pieces, in no order, and how often each is there (`count`)."""
    waiting: list[pa.Table] = []
    number, held = 0, 0
    for piece in pieces:
        once = pa.array(np.ones(len(piece), np.int64))
        waiting.append(_merged([pa.table(piece).append_column(COUNT, once)]))
        number += len(waiting[-1])
        if number > max(2 * held, HELD_ROWS):
            waiting = [_merged(waiting)]
            number = held = len(waiting[0])
    return _merged(waiting)


def _merged(parts: Sequence[pa.Table]) -> pa.Table:
    table = pa.concat_tables(parts)
    columns = [name for name in table.column_names if name != COUNT]
    summed = table.group_by(columns).aggregate([(COUNT, "sum")])
    return summed.rename_columns([*columns, COUNT])


def distinct(rows: pa.Table | Pieces) -> pa.Table:
    """The different rows of a table or of pieces, in no order."""
    return counted([rows] if isinstance(rows, pa.Table) else rows).drop_columns([COUNT])


def number_of(values: pa.ChunkedArray) -> int:
    """How many different values there are; that there is none is one of them."""
    return compute.count_distinct(values, mode="all").as_py()


def rows_that_share(table: pa.Table, column: str) -> pa.Table:
    """The rows whose value in a column occurs in another row too."""
    counts = table.group_by(column).aggregate([([], "count_all")])
    repeated = counts.filter(compute.field("count_all") > 1)[column]
    return table.filter(compute.field(column).isin(repeated.combine_chunks()))


def rows_that_repeat(read: Reader, column: str, columns: Sequence[str]) -> pa.Table:
    """Some columns of the rows whose value in `column` occurs in another row too.

    Held are eight bytes a row and the answer: numbers of values first, then the values of equal numbers.
    """
    numbers = np.concatenate([np.zeros(0, np.uint64), *(short(piece[column]) for piece in read([column]))])
    numbers.sort()
    twice = np.unique(numbers[1:][numbers[1:] == numbers[:-1]])
    wanted = list(dict.fromkeys((column, *columns)))
    parts = [pa.table(piece).filter(pa.array(np.isin(short(piece[column]), twice))) for piece in read(wanted)]
    return rows_that_share(pa.concat_tables(parts), column).select(list(columns))


def short(values: pa.Array) -> NDArray[np.uint64]:
    """A number for each text (n,): the same for equal ones, hardly ever for others. None is as no letter.

    Eight bytes at a time times a factor of their own, summed (multilinear hashing): whoever needs certainty
    compares the texts of equal numbers.
    """
    if not len(values):
        return np.zeros(0, np.uint64)
    texts = compute.fill_null(values, "").cast(pa.binary()).to_numpy(zero_copy_only=False).astype(bytes)
    width = -(-texts.itemsize // WORD) * WORD
    words = texts.astype(f"S{width}").view("<u8").reshape(len(texts), -1)
    factors = np.resize(_FACTORS, words.shape[1])
    mixed = (words * factors).sum(axis=1, dtype=np.uint64)
    return mixed ^ (mixed >> np.uint64(32))


def sorted_digest(read: Reader, columns: Sequence[str]) -> str:
    """SHA-256 of all rows as lines in order: values as Python writes them, tabs between, new lines between.

    The table is read once for every HELD_ROWS rows, each time for the next lines in order.
    """
    digest, between = hashlib.sha256(), b""
    for lowest, highest in pairwise(_bounds(read, columns[0])):
        text = _sorted_lines(read(columns), columns, lowest, highest)
        if len(text):
            digest.update(between)
            digest.update(text[:-1])
            between = b"\n"
        del text  # before the next part is read
    return digest.hexdigest()


def _sorted_lines(
    pieces: Pieces, columns: Sequence[str], lowest: str | None, highest: str | None
) -> memoryview:
    """The lines of some rows, see `_lines`, one after the other in order."""
    parts = [pa.array([], pa.string()), *(_lines(piece, columns, lowest, highest) for piece in pieces)]
    lines = pa.concat_arrays(parts)
    parts.clear()
    ordered = lines.take(compute.sort_indices(lines))
    return memoryview(ordered.buffers()[2] or b"")[: compute.sum(compute.binary_length(ordered)).as_py() or 0]


def _bounds(read: Reader, column: str) -> list[str | None]:
    """Values of a column with about HELD_ROWS rows between them; None below the first and above the last."""
    rows, drawn = 0, list[str]()
    for piece in read([column]):
        drawn += _text(piece[column])[-rows % DRAWN_EVERY :: DRAWN_EVERY].to_pylist()
        rows += len(piece)
    drawn.sort()
    parts = -(-rows // HELD_ROWS)
    inner = dict.fromkeys(drawn[number * len(drawn) // parts] for number in range(1, parts))
    return [None, *inner, None]


def _lines(
    piece: pa.RecordBatch, columns: Sequence[str], lowest: str | None, highest: str | None
) -> pa.StringArray:
    """The rows of a piece whose first column lies from one value to below another, each as its line."""
    first = _text(piece[columns[0]])
    if lowest is not None:
        inside = compute.greater_equal(first, lowest)
        piece, first = piece.filter(inside), first.filter(inside)
    if highest is not None:
        piece = piece.filter(compute.less(first, highest))
    whole = compute.binary_join_element_wise(*(_text(piece[name]) for name in columns), "\t")
    return compute.binary_join_element_wise(whole, "", "\n")


def _text(values: pa.Array) -> pa.StringArray:
    """Each value as Python's `str` writes it."""
    if values.type == pa.string():
        return compute.fill_null(values, str(None))
    encoded = values.dictionary_encode(null_encoding="encode")
    return pa.array(map(str, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)
