"""Tables of labels, as hospitals export them, joined to a data set by pseudonym."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from echojepa.data.dicom.reader import pseudonym
from echojepa.data.private import IngestError
from echojepa.data.store import LABEL_SCHEMA
from echojepa.files.tables import read_rows


def read_labels(path: Path, key: bytes) -> pa.Table:
    """Labels of a CSV with columns study_uid, label, value, unit, joined by pseudonym.

    Raises TableError for missing columns, IngestError for values that are no numbers and a label given twice.
    """
    out, seen = [], set()
    for line, row in enumerate(read_rows(path, ("study_uid", "label", "value", "unit")), start=2):
        entry = (pseudonym(key, "study", row["study_uid"]), row["label"])
        if entry in seen:
            raise IngestError(f"{path}, line {line}: a second '{row['label']}' for the same study; keep one")
        seen.add(entry)
        try:
            value = float(row["value"])
        except ValueError:
            raise IngestError(f"{path}, line {line}: the value of '{row['label']}' is not a number") from None
        out.append({"study_id": entry[0], "label": entry[1], "value": value, "unit": row["unit"]})
    return pa.Table.from_pylist(out, schema=LABEL_SCHEMA)
