"""An archive without tables of its own: every file below the sources."""

from __future__ import annotations

import os
from pathlib import Path

from echojepa.data.private import IngestError

TABLES = (".csv", ".parquet", ".json")
"""Files of these kinds beside the videos are tables of labels and the like, not archives' files."""


def list_files(sources: tuple[Path, ...]) -> list[Path]:
    """Every file below the sources, resolved and sorted; hidden files and tables of labels are left out.

    A folder that cannot be listed is in the list itself, so that it gets its row and is not lost.
    """
    found: set[Path] = set()
    for source in sources:
        if not source.exists():
            raise IngestError(f"{source} does not exist; give folders or files to read")
        if source.is_file():
            found.add(source)
        closed: list[OSError] = []
        for folder, _, names in os.walk(source, onerror=closed.append):
            found.update(Path(folder, name) for name in names)
        found.update(Path(error.filename) for error in closed)
    real = {path.resolve() for path in found}  # one file under two names is one file
    kept = sorted(path for path in real if not path.name.startswith(".") and path.suffix not in TABLES)
    if not kept:
        raise IngestError(
            f"no files in {', '.join(map(str, sources))}; give the folder that holds the DICOM files"
        )
    return kept
