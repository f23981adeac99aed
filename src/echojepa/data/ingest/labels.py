"""Tables of labels, as hospitals export them, joined to a data set by pseudonym."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from echojepa.data.identity.deidentify import pseudonym
from echojepa.data.identity.private import IngestError
from echojepa.data.importers.listing import number
from echojepa.data.store.loop_store import LABEL_SCHEMA
from echojepa.files.tables import identity, read_whole_rows


def read_labels(path: Path, key: bytes) -> pa.Table:
    """Labels of a CSV with columns study_uid, label, value, unit, joined by pseudonym.

    Raises TableError for a table that does not read, IngestError for values that are no finite numbers, and
    for a label given twice.
    """
    out, seen = [], set()
    for line, row in read_whole_rows(path, ("study_uid", "label", "value", "unit")):
        entry = (pseudonym(key, "study", identity(row["study_uid"])), row["label"])
        if entry in seen:
            raise IngestError(
                f"{path}, line {line}: a second label of this name for the same study; keep one"
            )
        seen.add(entry)
        value = number(row["value"])
        if value is None:
            raise IngestError(f"{path}, line {line}: the value is not a number")
        out.append({"study_id": entry[0], "label": entry[1], "value": value, "unit": row["unit"]})
    return pa.Table.from_pylist(out, schema=LABEL_SCHEMA)
