"""Writes `format_v2/`, a data set of version 2, from the phantom: run once, when the format was settled.

The one of version 1 was written by the same program of its time.

    .venv/bin/python tests/data/write_format_fixture.py

Its purpose is to stay as it is: a test opens it with every later package. Do not run it again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from echojepa.config import IngestConfig, SimulateConfig
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.loop_store import LABEL_SCHEMA, LoopStore
from echojepa.data.verify.verify import read_rows
from echojepa.phantom.cohort.make import write_cohort

FIXTURE = Path(__file__).parent / "format_v2"


def main() -> None:
    """Simulate one patient, ingest two loops each way, and state what must be read again."""
    root = FIXTURE / "data"
    with tempfile.TemporaryDirectory() as folder:
        write_cohort(SimulateConfig(Path(folder) / "in", patients=2, seconds=0.1, workers=1), lambda *_: None)
        files = sorted((Path(folder) / "in").rglob("*.dcm"))
        (Path(folder) / "note.txt").write_text("no video")
        for lossless, chosen in ((False, files[:2]), (True, [files[2], Path(folder) / "note.txt"])):
            key = Path(folder) / "key"
            config = IngestConfig(tuple(chosen), root, key, max_side=72, workers=1)
            ingest(replace(config, lossless=lossless), lambda *_: None)
    store = LoopStore.open(root)
    rows = list(read_rows(store))
    label = {"study_id": rows[0]["study_id"], "label": "lvef", "value": 55.5, "unit": "%"}
    store.add_labels(pa.Table.from_pylist([label], schema=LABEL_SCHEMA))
    stated = [
        {
            "columns": row,
            "shape": list(store.frames(number).shape),
            "mask": hashlib.sha256(np.packbits(store.mask(number)).tobytes()).hexdigest(),
            "means": store.frames(number).mean(axis=(1, 2)).tolist(),
        }
        for number, row in enumerate(rows)
    ]
    whole = {
        "split_seed": store.split_seed, "rows": stated, "labels": store.labels().to_pylist(),
        "rejected": store.rejected().to_pylist(),
    }  # fmt: skip
    (FIXTURE / "expected.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    (root / ".lock").unlink()
    for left in root.glob("loops.lance/_transactions"):
        shutil.rmtree(left)


if __name__ == "__main__":
    main()
