"""What is said of columns of all rows, piece by piece, is what plain Python says of all of them at once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest

from echojepa.data.store import scan
from echojepa.data.store.scan import counted, distinct, number_of, rows_that_repeat, short, sorted_digest

Row = tuple[str | None, str, float | None]
NAMES = ("name", "word", "value")


@pytest.fixture(params=[0, 1, 2, 97, 300])
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """Rows with repeated, absent, empty and long texts, and numbers that Python writes in several ways."""
    rng = np.random.default_rng(request.param)
    names = [None, "", "é" * 9, "a", "ab", "b" * 80, *(f"{n:020x}" for n in range(80))]
    values = [None, 30.0, 29.97, 1e-7, 1e22, float("nan"), float("inf"), -0.5]
    return [
        (names[a], names[b] or "w", values[c])
        for a, b, c in zip(*(rng.integers(0, n, request.param) for n in (86, 9, 8)), strict=True)
    ]


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few rows are held that every case takes several turns."""
    monkeypatch.setattr(scan, "HELD_ROWS", 40)
    monkeypatch.setattr(scan, "DRAWN_EVERY", 3)


def table_of(rows: Sequence[Row]) -> pa.Table:
    kinds = (pa.string(), pa.string(), pa.float64())
    return pa.table(
        [pa.array([row[n] for row in rows], kind) for n, kind in enumerate(kinds)], names=list(NAMES)
    )


def in_pieces(rows: Sequence[Row]) -> scan.Reader:
    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        table = table_of(rows).select(list(columns))
        yield pa.RecordBatch.from_pylist([], table.schema)
        yield from table.to_batches(max_chunksize=29)

    return read


def test_the_digest_is_that_of_the_sorted_lines(rows: list[Row]) -> None:
    text = "\n".join(sorted("\t".join(map(str, row)) for row in rows))
    assert sorted_digest(in_pieces(rows), NAMES) == hashlib.sha256(text.encode()).hexdigest()


def test_different_rows_are_counted(rows: list[Row]) -> None:
    pairs = Counter(row[:2] for row in rows)
    found = counted(in_pieces(rows)(NAMES[:2])).to_pylist()
    assert {tuple(row.values())[:2]: row["count"] for row in found} == pairs and len(found) == len(pairs)
    others = (distinct(in_pieces(rows)(NAMES[:2])), distinct(table_of(rows).select(NAMES[:2])))
    assert all(Counter(tuple(row.values()) for row in one.to_pylist()) == Counter([*pairs]) for one in others)
    assert number_of(table_of(rows)["name"]) == len({row[0] for row in rows})


def test_rows_that_repeat_are_all_of_them_and_no_others(
    rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counter(row[0] for row in rows)
    wanted = [row for row in rows if counts[row[0]] > 1]
    for number in (short, lambda values: short(values) % np.uint64(5)):  # however often numbers collide
        monkeypatch.setattr(scan, "short", number)
        found = rows_that_repeat(in_pieces(rows), "name", NAMES).to_pylist()
        assert [repr(tuple(row.values())) for row in found] == [repr(row) for row in wanted]


def test_a_number_depends_on_its_text_alone() -> None:
    texts = ["", "a", "b", "ab", "ba", "é" * 9, "x" * 80, *(f"{n:020x}" for n in range(5000))]
    whole = short(pa.array(texts))
    assert len(set(whole.tolist())) == len(texts)
    assert whole.tolist() == [short(pa.array([text])).item() for text in texts[:9]] + whole[9:].tolist()
    assert short(pa.array(["a", None])).tolist() == short(pa.array(["a", ""])).tolist()
