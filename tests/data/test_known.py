"""What an ingest knows of a table without its texts is what a plain reading of all rows says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from echojepa.data.identity.people import People
from echojepa.data.ingest import known
from echojepa.data.ingest.known import Known

Row = dict[str, Any]
SPLITS = ("train", "val", "test")


class Rows:
    """As much of a data set as `Known` looks at."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.tied: set[tuple[str, str]] = set()
        self.table = SimpleNamespace(take=self.take)

    def refresh(self) -> None: ...

    def links(self) -> set[tuple[str, str]]:
        return set(self.tied)

    def reading(self) -> Any:
        return nullcontext()

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        return pa.table({name: [self.rows[row][name] for row in rows] for name in columns})

    def batches(self, columns: Sequence[str], since: int = 0) -> Iterator[pa.RecordBatch]:
        kinds = pa.schema([(name, pa.string()) for name in columns])
        yield pa.RecordBatch.from_pylist([], kinds)
        for begin in range(since, len(self.rows), 40):
            part = [{name: row[name] for name in columns} for row in self.rows[begin : begin + 40]]
            yield pa.RecordBatch.from_pylist(part, kinds)


def drawn(rng: np.random.Generator, start: int, count: int, ordinals: dict[str, int]) -> list[Row]:
    """Rows of patients with studies of their own, some shared, and some pixels twice."""
    rows = []
    for number in range(start, start + count):
        patient = f"p{rng.integers(25)}"
        study = f"s{rng.integers(12)}" if rng.random() < 0.1 else f"{patient}.{rng.integers(3)}"
        rows.append({
            "file_id": f"f{number}", "loop_id": f"l{number}", "pixel_sha256": f"x{rng.integers(100)}",
            "patient_id": patient, "study_id": study, "split": SPLITS[int(rng.integers(3))],
            "patient_ordinal": ordinals.setdefault(patient, len(ordinals)),
        })  # fmt: skip
    return rows


def plain(rows: Sequence[Row], links: set[tuple[str, str]]) -> People:
    """Everybody, as every row and link says."""
    people = People()
    for row in rows:
        people.tie((row["patient_id"], row["study_id"]))
        people.place(row["patient_id"], row["split"])
    for link in links:
        people.tie(link)
    return people


def growing(seed: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Rows, Known, dict[str, int]]]:
    """A data set that grows three times, and what is known of it each time."""
    monkeypatch.setattr(known, "HELD_ROWS", 16)
    rng, store, ordinals = np.random.default_rng(seed), Rows(), dict[str, int]()
    mine = Known(store)  # pyright: ignore[reportArgumentType]
    for _ in range(3):
        store.rows += drawn(rng, len(store.rows), int(rng.integers(0, 90)), ordinals)
        store.tied |= {(f"p{a}", f"p{b}") for a, b in rng.integers(0, 40, (2, 2)).tolist()}
        store.tied |= {(f"p{rng.integers(40)}", f"s{rng.integers(12)}"), ("p1", f"other{rng.integers(3)}")}
        mine.learn()
        yield store, mine, ordinals


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("numbers", [1 << 62, 61])
def test_files_and_pixels_are_known_however_often_numbers_collide(
    seed: int, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = known.short
    monkeypatch.setattr(known, "short", lambda values: whole(values) % np.uint64(numbers))
    for store, mine, _ in growing(seed, monkeypatch):
        for column, letter in (("file_id", "f"), ("loop_id", "l"), ("pixel_sha256", "x")):
            owners = {row[column]: row["patient_id"] for row in store.rows}
            asked = [f"{letter}{n}" for n in range(0, 200, 3)]
            assert mine.owners(column, asked) == {one: owners[one] for one in asked if one in owners}


@pytest.mark.parametrize("seed", range(4))
def test_who_is_one_person_is_what_all_rows_and_links_say(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for store, mine, ordinals in growing(seed, monkeypatch):
        everybody = plain(store.rows, store.tied)
        assert mine.count_patients() == len(ordinals)
        for one, other in ((f"p{n}", f"s{n % 12}") for n in range(0, 40, 3)):
            people, placed = mine.people([one, other])
            assert people.splits(one) == everybody.splits(one)
            assert people.splits(other) == everybody.splits(other)
            assert all(placed[name] == ordinals[name] for name in people.splits(one))
            together = everybody.group(one) == everybody.group(other)
            assert (people.group(one) == people.group(other)) == together


def test_a_patient_does_not_bring_studies_that_nobody_shares() -> None:
    store = Rows()
    store.rows = [
        {"file_id": f"f{n}", "loop_id": f"l{n}", "pixel_sha256": f"x{n}", "patient_id": "one",
         "study_id": f"s{n}", "split": "train", "patient_ordinal": 0}
        for n in range(50)
    ]  # fmt: skip
    mine, taken = Known(store), []  # pyright: ignore[reportArgumentType]
    store.table = SimpleNamespace(take=lambda rows, columns: taken.append(rows) or store.take(rows, columns))
    mine.learn()
    assert mine.people(["one"])[0].splits("one") == {"one": "train"}
    assert taken == [[49]]
