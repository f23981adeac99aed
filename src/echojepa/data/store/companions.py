"""The small tables beside `loops.lance`, each read and replaced whole."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from echojepa.data.store.facts import StoreError
from echojepa.data.store.location import Location

LABELS, REJECTED, LINKS = "labels.parquet", "rejected.parquet", "links.parquet"
LABEL_SCHEMA = pa.schema(
    [("study_id", pa.string()), ("label", pa.string()), ("value", pa.float64()), ("unit", pa.string())]
)
REJECTED_SCHEMA = pa.schema([("file_id", pa.string()), ("reason", pa.string()), ("detail", pa.string())])
LINK_SCHEMA = pa.schema([("one", pa.string()), ("other", pa.string())])
SCHEMAS = {LABELS: LABEL_SCHEMA, REJECTED: REJECTED_SCHEMA, LINKS: LINK_SCHEMA}
REMEDIES = {
    LABELS: "ingest again with --labels",
    REJECTED: "ingest again: its files are tried again",
    LINKS: "ingest into a new folder: links between patients must be found again",
}


def read_companion(place: Location, name: str) -> pa.Table:
    """A companion table, without rows where it is missing; StoreError where it is damaged."""
    try:
        return pq.read_table(pa.BufferReader(place.read(name)))
    except FileNotFoundError:
        return SCHEMAS[name].empty_table()
    except pa.ArrowInvalid as error:
        raise StoreError(f"{place.child(name)} is damaged; delete it and {REMEDIES[name]}") from error
