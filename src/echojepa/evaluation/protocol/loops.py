"""Millions of cine loops as columns: what a dictionary of them would say, for some sixty bytes each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.data.store.loop_store import ROWS_AT_ONCE, LoopStore
from echojepa.data.store.scan import wanted_rows
from echojepa.files.tables import compute
from echojepa.vocabulary import Kind

Place = tuple[int, int]
"""Number of the data set, row of its table."""
COLUMNS = ("loop_id", "study_id", "patient_id", "split", "site", "view", "sex", "age")
REPEATED = ("study_id", "patient_id", "split", "site", "view", "sex")
"""Columns that hold few different values: kept as numbers of these."""
ROW_BITS = 40
LOW_BITS = (1 << ROW_BITS) - 1


@dataclass(frozen=True)
class CohortLoop:
    """A cine loop of a known view: its ids, and whose it is."""

    loop_id: str
    study_id: str
    patient_id: str
    split: str
    site: str
    view: str
    sex: str | None
    age: float | None


class CohortLoops:
    """Loops by their place, in this order; each becomes Python values when it is asked for."""

    def __init__(self, places: NDArray[np.int64], table: pa.Table) -> None:
        """`places` (n,) by `place_numbers`, increasing; `table` has a row of COLUMNS for each."""
        self._places, self._table = places, table

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Place) -> CohortLoop:
        at = int(self.numbers(place_numbers(np.array([place])))[0])
        if at < 0:
            raise KeyError(place)
        return CohortLoop(**self._table.slice(at, 1).to_pylist()[0])

    def items(self) -> Iterator[tuple[Place, CohortLoop]]:
        """Every loop with its place; few are in memory at a time."""
        places = ((number >> ROW_BITS, number & LOW_BITS) for number in map(int, self._places))
        return zip(places, self.values(), strict=True)

    def values(self) -> Iterator[CohortLoop]:
        """Every loop; few are in memory at a time."""
        for piece in self._table.to_batches(max_chunksize=ROWS_AT_ONCE):
            for row in piece.to_pylist():
                yield CohortLoop(**row)

    def numbers(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the loops, from 0, stands at each place (n,) by `place_numbers`; -1 for none."""
        at = np.minimum(np.searchsorted(self._places, places), max(0, len(self) - 1))
        return np.where(self._places[at] == places, at, -1) if len(self) else np.full(len(places), -1)

    def places(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(m, 2) data set and row of the chosen loops (n,)."""
        numbers = self._places[chosen]
        return np.stack([numbers >> ROW_BITS, numbers & LOW_BITS], axis=1)

    def texts(self, column: str, numbers: NDArray[np.int64] | None = None) -> NDArray[np.str_]:
        """A column of texts (m,), of all loops or of some by number."""
        values = self._table[column] if numbers is None else self._table[column].take(pa.array(numbers))
        pieces = [_texts(piece) for piece in values.chunks]
        return np.concatenate(pieces) if pieces else np.array([], dtype=str)

    def are(self, column: str, wanted: Collection[str]) -> NDArray[np.bool_]:
        """Whether each loop (n,) has one of some values in a column of REPEATED."""
        asked = pa.array(list(wanted), pa.string())
        chunks = [
            compute.is_in(chunk.dictionary, asked).take(chunk.indices).to_numpy(zero_copy_only=False)
            for chunk in self._table[column].chunks
        ]
        return np.concatenate([np.zeros(0, bool), *chunks]).astype(bool)

    def where(self, chosen: NDArray[np.bool_]) -> CohortLoops:
        """The chosen loops alone."""
        return CohortLoops(self._places[chosen], self._table.filter(pa.array(chosen)))

    def sites(self, store: int | None = None) -> Counter[str]:
        """How many loops each site has, of one data set or of all."""
        table = self._table
        if store is not None:
            table = table.filter(pa.array(self._places >> ROW_BITS == store))
        counts = compute.value_counts(table["site"].cast(pa.string())).to_pylist()
        return Counter({row["values"]: row["counts"] for row in counts})


def place_numbers(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each (data set, row) of (..., 2), in the same order; negative for an absent one."""
    return places[..., 0] * (1 << ROW_BITS) + places[..., 1]


def read_loops(stores: Sequence[LoopStore], renamed: Sequence[Mapping[str, str]]) -> CohortLoops:
    """The cine loops of data sets whose view is known; `renamed` has other names of each one's sites."""
    places, pieces = [np.zeros(0, np.int64)], list[pa.Table]()
    for number, (store, names) in enumerate(zip(stores, renamed, strict=True)):
        for rows, piece in wanted_rows(store.batches([*COLUMNS, "kind"]), cine_of_a_view):
            places.append(number * (1 << ROW_BITS) + rows)
            pieces.append(_kept(piece, names))
    return CohortLoops(np.concatenate(places), pa.concat_tables(pieces))


def cine_of_a_view(piece: pa.RecordBatch) -> pa.Array:
    """Which rows are cines whose view is known."""
    cine = compute.equal(piece["kind"], Kind.CINE.value)
    return compute.and_(cine, compute.not_equal(piece["view"], ""))


def _kept(piece: pa.RecordBatch, names: Mapping[str, str]) -> pa.Table:
    """COLUMNS of a piece, those of few values by number, sites by their other names."""
    columns: dict[str, Any] = {name: piece[name] for name in COLUMNS}
    columns |= {name: piece[name].dictionary_encode() for name in REPEATED}
    site = columns["site"]
    known = pa.array([names.get(one, one) for one in site.dictionary.to_pylist()], pa.string())
    return pa.table(columns | {"site": pa.DictionaryArray.from_arrays(site.indices, known)})


def _texts(values: pa.Array) -> NDArray[np.str_]:
    """A piece of a column as it is compared and stored."""
    if isinstance(values, pa.DictionaryArray):
        return np.array(values.dictionary.to_pylist(), dtype=str)[values.indices.to_numpy()]
    return np.array(values.to_pylist(), dtype=str)
