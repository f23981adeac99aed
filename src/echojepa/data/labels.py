"""Tables of labels, as hospitals export them, joined to a data set by pseudonym."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa

from echojepa.data.dicom.reader import pseudonym
from echojepa.data.private import IngestError
from echojepa.data.store import LABEL_SCHEMA


def read_labels(path: Path, key: bytes) -> pa.Table:
    """Labels of a CSV with columns study_uid, label, value, unit, joined by pseudonym.

    Raises IngestError for missing columns, values that are no numbers, and a label given twice.
    """
    if not path.is_file():
        raise IngestError(f"the table of labels {path} does not exist")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"study_uid", "label", "value", "unit"} - set(reader.fieldnames or ())
        if missing:
            raise IngestError(f"{path} lacks the columns {sorted(missing)}; it has {reader.fieldnames}")
        rows = list(reader)
    out, seen = [], set()
    for line, row in enumerate(rows, start=2):
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
