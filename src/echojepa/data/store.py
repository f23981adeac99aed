"""The data set on disk, and the only code that reads or writes its bytes.

`loops.lance` has a row a cine loop, frames as lossless PNGs; `labels.parquet` holds labels joined by
`study_id`; `rejected.parquet` a row for every file that did not come in; `dataset.json` the format version.
Every append is one atomic Lance commit; the companions are replaced by renaming.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from echojepa.data.locking import locked
from echojepa.data.rows import StoredLoop, from_png
from echojepa.errors import UserError

FORMAT_VERSION = 1
LOCK, TABLE, LABELS, REJECTED, FACTS = (
    ".lock", "loops.lance", "labels.parquet", "rejected.parquet", "dataset.json",
)  # fmt: skip


class StoreError(UserError):
    """A folder is no data set, or one of another format."""


_TYPES = {
    "str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "float | None": pa.float64(),
    "str | None": pa.string(),
    "bytes": pa.binary(), "list[bytes]": pa.list_(pa.binary()), "list[float]": pa.list_(pa.float64()),
}  # fmt: skip
SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in StoredLoop.__annotations__.items()])
HEAVY = ("frames", "mask", "times")
LABEL_SCHEMA = pa.schema(
    [("study_id", pa.string()), ("label", pa.string()), ("value", pa.float64()), ("unit", pa.string())]
)
REJECTED_SCHEMA = pa.schema([("file_id", pa.string()), ("reason", pa.string()), ("detail", pa.string())])


def read_parquet(path: Path, schema: pa.Schema, remedy: str) -> pa.Table:
    """A companion table, without rows where it is missing; StoreError with what to do where it is damaged."""
    if not path.exists():
        return schema.empty_table()
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise StoreError(f"{path} is damaged; delete it and {remedy}") from error


def replace_parquet(path: Path, table: pa.Table) -> None:
    """Write a table so that a reader sees the old or the new one, never a half."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        pq.write_table(table, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class LoopStore:
    """A data set folder. Picklable; Lance, which is not fork-safe, is opened where it is first used."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._table: lance.LanceDataset | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "_table": None}

    @classmethod
    def create(cls, root: Path, seed: int) -> LoopStore:
        """Make an empty data set, or open the one that is there; one that was not made whole is made again.

        StoreError for a folder that holds anything else.
        """
        root.mkdir(parents=True, exist_ok=True)
        seen = {path.name for path in root.iterdir() if not path.name.startswith(".")}
        if seen - {TABLE, LABELS, REJECTED} and FACTS not in seen:
            raise StoreError(f"{root} is not empty and no data set; give a new folder")
        store = cls(root)
        with store.lock():
            if (root / FACTS).exists():
                return cls.open(root)
            if (root / TABLE).exists():  # one that was stopped while it was being made; it has no rows
                shutil.rmtree(root / TABLE)
            lance.write_dataset(SCHEMA.empty_table(), str(root / TABLE))
            replace_parquet(root / LABELS, LABEL_SCHEMA.empty_table())
            replace_parquet(root / REJECTED, REJECTED_SCHEMA.empty_table())
            facts = {"format_version": FORMAT_VERSION, "split_seed": seed}
            temporary = root / f".{FACTS}.tmp"
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            temporary.replace(root / FACTS)
        return store

    @classmethod
    def open(cls, root: Path) -> LoopStore:
        """Open a data set; StoreError for a folder that is none or of another format."""
        facts = root / FACTS
        if not facts.is_file():
            raise StoreError(f"{root} is no data set (no dataset.json); make one with `echojepa ingest`")
        try:
            version = json.loads(facts.read_text(encoding="utf-8"))["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{facts} is damaged; write it anew with its format_version ({FORMAT_VERSION}) and split_seed"
            ) from error
        if version != FORMAT_VERSION:
            raise StoreError(f"{root} has format version {version}; this package reads {FORMAT_VERSION}")
        return cls(root)

    @property
    def split_seed(self) -> int:
        """Seed of the patient-level split."""
        return int(json.loads((self.root / FACTS).read_text(encoding="utf-8"))["split_seed"])

    @property
    def table(self) -> lance.LanceDataset:
        """The Lance table, opened in this process; StoreError where it has other columns."""
        if self._table is None:
            self._table = lance.dataset(str(self.root / TABLE))
            if self._table.schema.names != SCHEMA.names:
                raise StoreError(f"{self.root} was made before version 1 was settled; ingest its files again")
        return self._table

    def lock(self) -> AbstractContextManager[None]:
        """Hold the data set against other writers of this machine."""
        return locked(self.root / LOCK)

    def refresh(self) -> None:
        """See what other processes have committed since the table was opened."""
        self._table = None

    def append(self, loops: Iterable[StoredLoop]) -> None:
        """Add loops in one atomic commit."""
        rows = pa.Table.from_pylist([asdict(loop) for loop in loops], schema=SCHEMA)
        self._table = lance.write_dataset(rows, str(self.root / TABLE), mode="append")

    def metadata(self, columns: Sequence[str] | None = None, since: int = 0) -> pa.Table:
        """Columns without pixels, in row order, from row `since` on."""
        chosen = list(columns) if columns else [name for name in SCHEMA.names if name not in HEAVY]
        return self.table.to_table(columns=chosen, offset=since or None)

    def fingerprint(self) -> str:
        """SHA-256 over ids, splits and pixels' checksums: equal for equal data."""
        rows = self.metadata(["loop_id", "split", "pixel_sha256"]).to_pylist()
        text = "\n".join(sorted("\t".join(row.values()) for row in rows))
        return hashlib.sha256(text.encode()).hexdigest()

    def times(self, row: int) -> NDArray[np.float64]:
        """Seconds since the first frame, (T,)."""
        return np.array(self._cell(row, "times"))

    def frames(self, row: int, indices: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Frames (T, H, W) or (T, H, W, 3) of a row: all, or those at `indices` (only these are decoded)."""
        encoded = self._cell(row, "frames")
        chosen = range(len(encoded)) if indices is None else indices
        decoded = {index: from_png(encoded[index]) for index in set(chosen)}
        return np.stack([decoded[index] for index in chosen])

    def mask(self, row: int) -> NDArray[np.bool_]:
        """The sector, (H, W)."""
        return from_png(self._cell(row, "mask")).astype(bool)

    def _cell(self, row: int, column: str) -> Any:
        return self.table.take([row], columns=[column])[column][0].as_py()

    def labels(self) -> pa.Table:
        """All labels: study_id, label, value, unit."""
        return read_parquet(self.root / LABELS, LABEL_SCHEMA, "ingest again with --labels")

    def add_labels(self, table: pa.Table) -> None:
        """Add labels; a label that a study has already is replaced."""
        new = {(row["study_id"], row["label"]): row for row in self.labels().to_pylist() + table.to_pylist()}
        replace_parquet(self.root / LABELS, pa.Table.from_pylist(list(new.values()), schema=LABEL_SCHEMA))

    def rejected(self) -> pa.Table:
        """Every file that did not come in: file_id, reason, detail."""
        return read_parquet(self.root / REJECTED, REJECTED_SCHEMA, "ingest again: its files are tried anew")

    def replace_rejected(self, rows: Sequence[dict[str, str]], came_in: set[str]) -> None:
        """Add rows for files that did not come in, in place of older ones of the same files, and drop those
        of files that came in after all."""
        new = pa.Table.from_pylist(list(rows), schema=REJECTED_SCHEMA)
        gone = {*new["file_id"].to_pylist(), *came_in}
        old = self.rejected()
        kept = old.filter(
            pa.array([file_id not in gone for file_id in old["file_id"].to_pylist()], pa.bool_())
        )
        if new.num_rows or kept.num_rows < old.num_rows:
            replace_parquet(self.root / REJECTED, pa.concat_tables([kept, new]))
