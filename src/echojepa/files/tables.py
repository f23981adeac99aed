"""Tables read as rows of text from CSV, gzipped CSV or Parquet; CSV and Parquet written whole."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echojepa.errors import UserError
from echojepa.files.durable import write_bytes, write_file

Row = dict[str, str]
_TEXT: Any = {"encoding": "utf-8-sig", "newline": ""}


class TableError(UserError):
    """A table is not there, lacks a column, or does not read."""


def read_rows(path: Path, needed: Collection[str] = ()) -> Iterator[Row]:
    """Rows of a table, names of columns without spaces around them, absent values as "".

    Raises TableError for a table that is not there, lacks a needed column, or does not read.
    """
    if not path.is_file():
        raise TableError(f"the table {path} does not exist; give the folder or file that holds it")
    try:
        yield from parquet_rows(path, needed) if path.suffix == ".parquet" else csv_rows(path, needed)
    except (pa.ArrowException, UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise TableError(f"{path} does not read as a table ({type(error).__name__})") from None


def check_columns(path: Path, there: Collection[str], needed: Collection[str]) -> None:
    """TableError naming the columns that a table lacks; what stands in its first line may be a patient's."""
    missing = sorted(set(needed) - set(there))
    if missing:
        raise TableError(
            f"{path} lacks the columns {missing}; its first line has {len(there)} columns. It must name "
            "them, with commas between the names"
        )


def csv_rows(path: Path, needed: Collection[str]) -> Iterator[Row]:
    """Rows of a CSV, gzipped where its name ends so; a byte-order mark is no part of the first name."""
    with gzip.open(path, "rt", **_TEXT) if path.suffix == ".gz" else path.open(**_TEXT) as text:
        reader = csv.DictReader(text)
        check_columns(path, [name.strip() for name in reader.fieldnames or ()], needed)
        for row in reader:
            yield {name.strip(): (value or "").strip() for name, value in row.items() if name is not None}


def parquet_rows(path: Path, needed: Collection[str]) -> Iterator[Row]:
    """Rows of a Parquet file, values as text."""
    file = pq.ParquetFile(path)
    check_columns(path, file.schema_arrow.names, needed)
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            yield {name: "" if value is None else str(value) for name, value in row.items()}


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], *, private: bool = False) -> None:
    """A CSV with the columns of its first row, whole or not at all; `private` as in `write_file`."""

    def fill(file: Path) -> None:
        with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as text:
            writer: csv.DictWriter[str] | None = None
            for row in rows:
                if writer is None:
                    writer = csv.DictWriter(text, list(row))
                    writer.writeheader()
                writer.writerow(row)

    write_file(path, fill, private=private)


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """A table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue()


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table so that a reader sees the old or the new one, never a half."""
    write_bytes(path, memoryview(parquet_bytes(table)))
