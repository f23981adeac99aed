"""What a data set holds, as far as new files must be held against it, without the texts of all its rows.

A row costs 24 bytes: a number each for its file, its loop and its pixels (`short`); a study of a patient
costs 24 more. Rows whose numbers fit are read from the table and their texts compared: no file is taken for
another. That patients and studies differ rests on numbers of 64 bits: two of three million ids share one with
a probability of three in ten million; the ids themselves have 80 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.data.identity.people import People
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.scan import HELD_ROWS, short

Numbers = NDArray[np.uint64]
Link = tuple[str, str]
IDS = ("file_id", "loop_id", "pixel_sha256")
PEOPLE = ("patient_id", "study_id", "patient_ordinal", "split")
NONE: Numbers = np.zeros(0, np.uint64)


class Known:
    """What is committed, learned piece by piece. Rows keep their places, and their ids never change."""

    def __init__(self, store: LoopStore) -> None:
        self.store, self.rows, self.patients = store, 0, 0
        self._ids: dict[str, Numbers] = dict.fromkeys(IDS, NONE)
        self._pairs = Pairs()
        self.links: set[Link] = set()
        self._linked: dict[int, set[Link]] = {}

    def learn(self) -> None:
        """Take note of what was committed since the last look, by this process or another."""
        self.store.refresh()
        new: dict[str, list[Numbers]] = {name: [numbers] for name, numbers in self._ids.items()}
        for piece in self.store.batches([*IDS, "patient_id", "study_id"], since=self.rows):
            for name in IDS:
                new[name].append(short(piece[name]))
            patients, studies = short(piece["patient_id"]), short(piece["study_id"])
            self._pairs.add(patients, studies, np.arange(self.rows, self.rows + len(piece)))
            self.rows += len(piece)
        self._ids = {name: np.concatenate(parts) for name, parts in new.items()}
        for link in self.store.links() - self.links:
            self.links.add(link)
            for number in numbers_of(link).tolist():
                self._linked.setdefault(number, set()).add(link)

    def owners(self, column: str, values: Collection[str]) -> dict[str, str]:
        """Of some values of a column of IDS those in the table, each with the patient of its last row."""
        there = self._taken(among(self._ids[column], numbers_of(values)), [column, "patient_id"])
        pairs = zip(there[column].to_pylist(), there["patient_id"].to_pylist(), strict=True)
        wanted = set(values)
        return {value: patient for value, patient in pairs if value in wanted}

    def people(self, ids: Collection[str]) -> tuple[People, dict[str, int]]:
        """Who some patients and studies are, with all who are one person with them: their groups and splits,
        and the ordinals of the patients."""
        together = self._together(np.unique(numbers_of(ids)))
        people, ordinals = People(), dict[str, int]()
        rows = self._taken(self._pairs.rows_of(together), PEOPLE)
        for row in rows.to_pylist():
            people.tie((row["patient_id"], row["study_id"]))
            people.place(row["patient_id"], row["split"])
            ordinals[row["patient_id"]] = row["patient_ordinal"]
        for link in self._links_of(together):
            people.tie(link)
        return people, ordinals

    def count_patients(self) -> int:
        """How many there are."""
        return len(np.unique(self._pairs.patients))

    def _together(self, numbers: Numbers) -> Numbers:
        """The numbers of all patients, and of the studies they share, that are one person with these."""
        named = np.fromiter(self._linked, np.uint64)
        while True:
            linked = numbers_of([one for link in self._links_of(numbers) for one in link])
            grown = np.unique(np.concatenate([numbers, linked, self._pairs.beside(numbers, named)]))
            if len(grown) == len(numbers):
                return numbers
            numbers = grown

    def _links_of(self, numbers: Numbers) -> set[Link]:
        return set[Link]().union(*(self._linked.get(number, ()) for number in numbers.tolist()))

    def _taken(self, rows: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Some columns of some rows, in row order."""
        with self.store.reading():
            return self.store.table.take(np.sort(rows).tolist(), columns=list(columns))


class Pairs:
    """Which studies are of which patient, in numbers, with the last row that says so."""

    def __init__(self) -> None:
        self.patients, self.studies = NONE, NONE
        self.rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._tidy = 0

    def add(self, patients: Numbers, studies: Numbers, rows: NDArray[np.int64]) -> None:
        """Rows that come after all others."""
        patients, studies, rows = last_of_each(patients, studies, rows)
        self.patients = np.concatenate([self.patients, patients])
        self.studies = np.concatenate([self.studies, studies])
        self.rows = np.concatenate([self.rows, rows])
        if len(self.rows) > max(2 * self._tidy, HELD_ROWS):
            self.patients, self.studies, self.rows = last_of_each(self.patients, self.studies, self.rows)
            self._tidy = len(self.rows)

    def beside(self, numbers: Numbers, linked: Numbers) -> Numbers:
        """The patients of the studies among these numbers, and what ties the patients among them to others:
        the studies that they share or that are linked, and who shares them. Others are passed over."""
        of_studies = self.patients[among(self.studies, numbers)]
        theirs = self.studies[among(self.patients, numbers)]
        sharing = among(self.studies, theirs)
        sharing = sharing[~np.isin(self.patients[sharing], numbers)]
        named = theirs[among(theirs, linked)]
        return np.concatenate([of_studies, named, self.studies[sharing], self.patients[sharing]])

    def rows_of(self, numbers: Numbers) -> NDArray[np.int64]:
        """Rows that say all of these: the last of each patient, and of each patient of each study."""
        mine = among(self.patients, numbers)
        last = last_of_each(self.patients[mine], np.zeros_like(self.patients[mine]), self.rows[mine])[2]
        return np.unique(np.concatenate([last, self.rows[among(self.studies, numbers)]]))


def last_of_each(
    patients: Numbers, studies: Numbers, rows: NDArray[np.int64]
) -> tuple[Numbers, Numbers, NDArray[np.int64]]:
    """The different pairs, each with the last of its rows."""
    order = np.lexsort((rows, studies, patients))
    patients, studies, rows = patients[order], studies[order], rows[order]
    other = (patients[1:] != patients[:-1]) | (studies[1:] != studies[:-1])
    last = np.append(other, np.ones(min(1, len(rows)), bool))
    return patients[last], studies[last], rows[last]


def numbers_of(texts: Collection[str]) -> Numbers:
    """The numbers of some texts, in their order."""
    return short(pa.array(texts, pa.string()))


def among(numbers: Numbers, wanted: Numbers) -> NDArray[np.int64]:
    """Where, in order, one of a few wanted numbers stands: a look at two bytes of each tells most apart."""
    near = np.zeros(1 << 16, dtype=bool)
    near[wanted.astype(np.uint16)] = True
    places = np.flatnonzero(near[numbers.astype(np.uint16)])
    return places[np.isin(numbers[places], wanted)]
