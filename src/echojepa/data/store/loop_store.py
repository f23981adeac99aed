"""The data set on disk or in an object store, and the only code that reads or writes its bytes.

`loops.lance` has a row a cine loop, frames encoded one by one; `labels.parquet` holds labels joined by
`study_id`; `rejected.parquet` a row for every file that did not come in; `links.parquet` ids of one person
that no row ties; `dataset.json` the format version. Every append is one atomic Lance commit; the companions
are replaced whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.data.store.companions import (
    LABEL_SCHEMA,
    LABELS,
    LINK_SCHEMA,
    LINKS,
    REJECTED,
    REJECTED_SCHEMA,
    SCHEMAS,
    read_companion,
)
from echojepa.data.store.facts import (
    FACTS,
    FORMAT_VERSION,
    StoreError,
    check_version,
    read_facts,
    write_facts,
)
from echojepa.data.store.location import Location
from echojepa.data.store.rows import READ_COLUMNS, DamagedLoop, Loop, StoredLoop
from echojepa.data.store.scan import sorted_digest
from echojepa.errors import UserError
from echojepa.files.durable import disk_full
from echojepa.files.tables import compute, parquet_bytes

TABLE = "loops.lance"
FILES_VERSION = "2.1"
"""Lance's own file format: written out, so that a newer Lance does not change what older ones can read."""
_TYPES = {
    "str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "float | None": pa.float64(),
    "str | None": pa.string(), "list[int]": pa.list_(pa.uint32()),
    "bytes": pa.binary(), "list[bytes]": pa.list_(pa.binary()), "list[float]": pa.list_(pa.float64()),
}  # fmt: skip
SCHEMA = pa.schema([(field.name, _TYPES[str(field.type)]) for field in fields(StoredLoop)])
HEAVY = ("frames", "frame_crc32", "mask", "times")
ROWS_AT_ONCE = 1 << 16
LANCE_ERRORS = (OSError, ValueError, RuntimeError)
"""What Lance raises where files are missing or damaged."""
METADATA_BYTES = 256 * 2**20
"""What a process may keep of where rows lie, 24 kB a row. Lance would keep 1 GiB; a miss costs 0.5 ms."""


class LoopStore:
    """A data set. Picklable; Lance, which is not fork-safe, is opened where it is first used."""

    def __init__(self, root: Path | str) -> None:
        """`root` is a folder, or a URI of an object store."""
        self.location = Location(root)
        self._table: lance.LanceDataset | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "_table": None}

    @property
    def root(self) -> Path:
        """The folder, as config values hold it; also of an object store."""
        return Path(self.location.root)

    @classmethod
    def create(cls, root: Path | str, seed: int) -> LoopStore:
        """Make an empty data set, or open the one that is there; one that was not made whole is made again.

        StoreError for a folder that holds anything else, and where nothing can be written.
        """
        store = cls(root)
        place = store.location
        with store.writing():
            place.make()
            seen = place.names()
            if seen - {TABLE, *SCHEMAS} and FACTS not in seen:
                raise StoreError(f"{place} is not empty and is not a data set; give a new folder")
            with store.lock():
                if place.exists(FACTS):
                    return cls.open(root)
                if place.exists(TABLE):  # one that was stopped while it was being made; it has no rows
                    place.delete_folder(TABLE)
                empty = SCHEMA.empty_table()
                lance.write_dataset(empty, place.child(TABLE), data_storage_version=FILES_VERSION)
                for name, schema in SCHEMAS.items():
                    place.replace(name, parquet_bytes(schema.empty_table()))
                write_facts(place, {"format_version": FORMAT_VERSION, "split_seed": seed})
        return store

    @classmethod
    def open(cls, root: Path | str) -> LoopStore:
        """Open a data set; StoreError for a folder that is none or of another format."""
        store = cls(root)
        check_version(store.location)
        return store

    @property
    def split_seed(self) -> int:
        """Seed of the patient-level split."""
        return int(read_facts(self.location)["split_seed"])

    @property
    def key_fingerprint(self) -> str | None:
        """Fingerprint of the key that its ids are made with; None in version 1 and before an ingest."""
        return read_facts(self.location).get("key_fingerprint")

    def remember_key(self, fingerprint: str) -> None:
        """State the key; a data set of an older version becomes one of this. Hold the lock."""
        facts = read_facts(self.location)
        if facts.get("key_fingerprint") != fingerprint:
            with self.writing():
                stated = {"format_version": FORMAT_VERSION, "key_fingerprint": fingerprint}
                write_facts(self.location, facts | stated)

    @property
    def table(self) -> lance.LanceDataset:
        """The Lance table, opened in this process; StoreError where it is damaged or has other columns."""
        if self._table is None:
            place = self.location.child(TABLE)
            try:
                table = lance.dataset(place, metadata_cache_size_bytes=METADATA_BYTES)
            except LANCE_ERRORS as error:
                raise StoreError(
                    f"the newest version of {place} cannot be opened. Delete the newest file in its "
                    "folder _versions to return to the version before; then ingest again for the rest"
                ) from error
            if set(table.schema.names) != set(SCHEMA.names):
                raise StoreError(f"{self.location} was made before format version 1; ingest its files again")
            self._table = table
        return self._table

    def lock(self) -> AbstractContextManager[None]:
        """Hold the data set against other writers; see `Location.lock` for what holds where."""
        return self.location.lock()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """StoreError that says what to do where the disk is full or the place cannot be written."""
        try:
            yield
        except OSError as error:
            why = (
                f"{self.location} cannot be written ({type(error).__name__}: {error}); finished work is kept"
            )
            raise StoreError(disk_full(error, self.location) or why) from error

    def refresh(self) -> None:
        """See what other processes have committed since the table was opened."""
        self._table = None

    def append(self, loops: Iterable[StoredLoop]) -> None:
        """Add loops in one atomic commit; StoreError where the disk is full: then nothing of them is in."""
        rows = pa.Table.from_pylist([vars(loop) for loop in loops], schema=SCHEMA)
        with self.writing():
            self._table = lance.write_dataset(rows, self.location.child(TABLE), mode="append")

    def move(self, splits: dict[str, str]) -> None:
        """Put patients into other splits, in one atomic commit that leaves every row in its place.

        `moves` of `dataset.json` counts it first: who has read `split` before must read it again.
        """
        ids = pa.array(list(splits), pa.string())
        new = pa.table({"patient_id": ids, "split": pa.array(list(splits.values()), pa.string())})
        table, changed, fields_changed = self.table, [], set[int]()
        with self.writing():
            facts = read_facts(self.location)
            write_facts(self.location, facts | {"moves": int(facts.get("moves", 0)) + 1})
            for fragment in table.get_fragments():
                there = fragment.to_table(columns=["patient_id"])["patient_id"]
                if compute.any(compute.is_in(there, ids)).as_py():
                    metadata, touched = fragment.update_columns(new, left_on="patient_id")
                    changed.append(metadata)
                    fields_changed |= set(touched)
            operation = lance.LanceOperation.Update(
                updated_fragments=changed, fields_modified=sorted(fields_changed)
            )
            place = self.location.child(TABLE)
            self._table = lance.LanceDataset.commit(place, operation, read_version=table.version)

    def metadata(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns without pixels, in row order."""
        chosen = list(columns) if columns else [name for name in SCHEMA.names if name not in HEAVY]
        with self.reading():
            return self.table.to_table(columns=chosen)

    def batches(
        self, columns: Sequence[str], size: int = ROWS_AT_ONCE, since: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Columns of all rows in order, from row `since` on, in pieces, the first one of no rows."""
        yield pa.RecordBatch.from_pylist([], pa.schema([SCHEMA.field(name) for name in columns]))
        with self.reading():
            yield from self.table.to_batches(columns=list(columns), batch_size=size, offset=since or None)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """StoreError that names the damaged files where Lance cannot read one."""
        try:
            yield
        except UserError:
            raise
        except LANCE_ERRORS as error:
            raise StoreError(self._damage()) from error

    def _damage(self) -> str:
        torn, lost = [], 0
        for fragment in self.table.get_fragments():
            try:
                fragment.to_table(columns=["loop_id"])
            except LANCE_ERRORS:
                torn += [file.path for file in fragment.data_files()]
                lost += fragment.count_rows()
        return (
            f"{self.location.child(TABLE)} is damaged: {lost} of its {self.table.count_rows()} loops are in "
            f"the files {torn} of its folder data. Restore these from a backup, or ingest into a new folder"
        )

    def rows_where(self, columns: Sequence[str], **values: str) -> pa.Table:
        """Number (`row`) and some columns of all rows that have these values, in row order.

        The table is read in pieces, so that 18 million rows need no more memory than the answer.
        """
        wanted = reduce(and_, (compute.field(column) == value for column, value in values.items()))
        parts, start = [], 0
        for batch in self.batches([*columns, *values]):
            numbered = pa.table(batch).append_column("row", pa.array(np.arange(start, start + len(batch))))
            parts.append(numbered.filter(wanted).select(["row", *columns]))
            start += len(batch)
        empty = SCHEMA.empty_table().append_column("row", pa.array([], pa.int64())).select(["row", *columns])
        return pa.concat_tables([empty, *parts])

    def loop_ids(self, rows: Sequence[int]) -> list[str]:
        """The ids of some rows."""
        return self.table.take(list(rows), columns=["loop_id"])["loop_id"].to_pylist()

    def fingerprint(self) -> str:
        """SHA-256 over ids, splits, pixels' checksums, encodings and frame rates: equal for equal data."""
        columns = ["loop_id", "split", "pixel_sha256", "encoding", "frame_rate"]
        return sorted_digest(self.batches, columns)

    def loop(self, row: int) -> Loop:
        """The pixels and times of a row, read in one go; DamagedLoop where they cannot be read."""
        return Loop(self._take(row, READ_COLUMNS))

    def row(self, row: int) -> StoredLoop:
        """All of a row, frames as they are encoded; DamagedLoop as `loop`."""
        return StoredLoop(**self._take(row, SCHEMA.names).to_pylist()[0])

    def _take(self, row: int, columns: Sequence[str]) -> pa.Table:
        table = self.table
        try:
            return table.take([row], columns=list(columns))
        except LANCE_ERRORS as error:
            raise DamagedLoop(
                f"row {row} of {self.location.child(TABLE)} cannot be read; other rows may be intact. "
                "Restore the file from a backup, or ingest the archive into a new folder"
            ) from error

    def frames(self, row: int, indices: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Frames of a row, see `Loop.frames`."""
        return self.loop(row).frames(indices)

    def mask(self, row: int) -> NDArray[np.bool_]:
        """The sector, (H, W)."""
        return self.loop(row).mask

    def _replace(self, name: str, table: pa.Table) -> None:
        with self.writing():
            self.location.replace(name, parquet_bytes(table))

    def labels(self) -> pa.Table:
        """All labels: study_id, label, value, unit."""
        return read_companion(self.location, LABELS)

    def add_labels(self, table: pa.Table) -> None:
        """Add labels; a label that a study has already is replaced."""
        new = {(row["study_id"], row["label"]): row for row in self.labels().to_pylist() + table.to_pylist()}
        self._replace(LABELS, pa.Table.from_pylist(list(new.values()), schema=LABEL_SCHEMA))

    def links(self) -> set[tuple[str, str]]:
        """Pairs of pseudonyms of one person that no row of the table ties."""
        table = read_companion(self.location, LINKS).to_pydict()
        return set(zip(table["one"], table["other"], strict=True))

    def add_links(self, links: set[tuple[str, str]]) -> None:
        """Add such pairs."""
        there = self.links()
        if not links <= there:
            one, other = zip(*sorted(there | links), strict=True)
            self._replace(LINKS, pa.table([pa.array(one), pa.array(other)], schema=LINK_SCHEMA))

    def rejected(self) -> pa.Table:
        """Every file that did not come in: file_id, reason, detail."""
        return read_companion(self.location, REJECTED)

    def replace_rejected(self, rows: Sequence[dict[str, str]], came_in: set[str]) -> None:
        """Add rows for files that did not come in, in place of older ones of the same files, and drop those
        of files that came in after all."""
        new = pa.Table.from_pylist(list(rows), schema=REJECTED_SCHEMA)
        gone = pa.array([*new["file_id"].to_pylist(), *came_in], pa.string())
        old = self.rejected()
        kept = old.filter(compute.invert(compute.is_in(old["file_id"], gone)))
        if new.num_rows or kept.num_rows < old.num_rows:
            self._replace(REJECTED, pa.concat_tables([kept, new]))
