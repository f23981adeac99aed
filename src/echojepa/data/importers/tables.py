"""Tables as rows of text, whatever file they stand in: CSV, gzipped CSV, Parquet."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echojepa.data.importers.listing import LayoutError

Row = dict[str, str]
_TEXT: Any = {"encoding": "utf-8-sig", "newline": ""}


def read_rows(path: Path, needed: Collection[str] = ()) -> Iterator[Row]:
    """Rows of a table, names of columns without spaces around them, absent values as "".

    Raises LayoutError for a table that is not there, lacks a needed column, or does not read.
    """
    if not path.is_file():
        raise LayoutError(f"{path} does not exist; give the folder as the data set's publisher lays it out")
    try:
        rows = parquet_rows(path) if path.suffix == ".parquet" else csv_rows(path)
        for line, row in enumerate(rows):
            if line == 0:
                check_columns(path, row, needed)
            yield row
    except (pa.ArrowException, UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise LayoutError(f"{path} does not read as a table ({type(error).__name__})") from None


def check_columns(path: Path, row: Row, needed: Collection[str]) -> None:
    """LayoutError naming the columns that a table lacks; what stands in its first line may be a patient's."""
    missing = sorted(set(needed) - set(row))
    if missing:
        raise LayoutError(
            f"{path} lacks the columns {missing}; its first line has {len(row)} columns. It must name them, "
            "with commas between the names"
        )


def csv_rows(path: Path) -> Iterator[Row]:
    """Rows of a CSV, gzipped where its name ends so; a byte-order mark is no part of the first name."""
    with gzip.open(path, "rt", **_TEXT) if path.suffix == ".gz" else path.open(**_TEXT) as text:
        for row in csv.DictReader(text):
            yield {name.strip(): (value or "").strip() for name, value in row.items() if name is not None}


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file, values as text."""
    for batch in pq.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            yield {name: "" if value is None else str(value) for name, value in row.items()}
