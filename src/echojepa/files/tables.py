"""Tables as people's programs write them, read as rows of text; CSV and Parquet written whole.

CSV, gzipped CSV or Parquet, in UTF-8, with commas and a header; anything else is said in a sentence. No
message repeats a word of the table: a first line without names of columns is a patient's.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from echojepa.errors import UserError
from echojepa.files.durable import write_bytes, write_file

compute: Any = pyarrow.compute
"""Arrow's functions, which are made at run time, without types."""
Row = dict[str, str]
NOT_UTF8 = "save it as UTF-8 (in Excel: CSV UTF-8)"
_TEXT: Any = {"encoding": "utf-8-sig", "newline": ""}
_WHOLE = re.compile(r"(\d+)\.0+")


class TableError(UserError):
    """A table is not there, is not written as a table, or lacks a column."""


def read_rows(path: Path, needed: Collection[str] = ()) -> Iterator[Row]:
    """Rows of a table, no spaces around names and values, absent values as "".

    Raises TableError for a table that is not there, lacks a needed column, or does not read.
    """
    for _, row in _numbered(path, needed):
        yield {name: (value or "").strip() for name, value in row.items()}


def read_whole_rows(path: Path, needed: Collection[str]) -> Iterator[tuple[int, Row]]:
    """As `read_rows`, with the line of each; a row too short for a needed value is a TableError, too."""
    for line, row in _numbered(path, needed):
        if any(row[name] is None for name in needed):
            raise TableError(f"{path}, line {line}: it has fewer values than there are columns")
        yield line, {name: (value or "").strip() for name, value in row.items()}


def _numbered(path: Path, needed: Collection[str]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Line and values of each row; None where a row has no value."""
    if not path.is_file():
        raise TableError(f"the table {path} does not exist; give the folder or file that contains it")
    try:
        yield from _parquet_rows(path, needed) if path.suffix == ".parquet" else _csv_rows(path, needed)
    except UnicodeDecodeError:
        raise TableError(f"{path} is not in UTF-8; {NOT_UTF8}") from None
    except (pa.ArrowException, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise TableError(f"{path} cannot be read as a table ({type(error).__name__})") from None


def check_columns(path: Path, there: Collection[str], needed: Collection[str]) -> None:
    """TableError naming the columns that a table lacks; how many it has, and never what stands there."""
    missing = sorted(set(needed) - set(there))
    if missing:
        raise TableError(
            f"{path} lacks the columns {missing}; its first line has {len(there)} columns. The first line "
            "must contain all column names, separated by commas"
        )


def _csv_rows(path: Path, needed: Collection[str]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Of a CSV, gzipped where its name ends so; a byte-order mark is no part of the first name."""
    zipped = path.suffix == ".gz"
    with gzip.open(path) if zipped else path.open("rb") as file:
        start = file.read(4096)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start:
        raise TableError(f"{path} is in UTF-16 or is not text; {NOT_UTF8}")
    with gzip.open(path, "rt", **_TEXT) if zipped else path.open(**_TEXT) as text:
        reader = csv.DictReader(text)
        names = [name.strip() for name in reader.fieldnames or ()]
        check_columns(path, names, needed)
        reader.fieldnames = names
        for row in reader:
            yield reader.line_num, {name: row[name] for name in names}


def _parquet_rows(path: Path, needed: Collection[str]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Of a Parquet file, values as text."""
    file = pq.ParquetFile(path)
    check_columns(path, file.schema_arrow.names, needed)
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield number, {name: "" if value is None else str(value) for name, value in row.items()}


def identity(text: str) -> str:
    """An id as it was before a program took it for a number: 77.0 is 77."""
    stripped = text.strip()
    found = _WHOLE.fullmatch(stripped)
    return found[1] if found else stripped


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


def parquet_bytes(table: pa.Table, *, checked: bool = False) -> pa.Buffer:
    """A table as a Parquet file; a `checked` one has checksums of its pages."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=checked)
    return sink.getvalue()


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table so that a reader sees the old or the new one, never a half, and never a changed one."""
    write_bytes(path, memoryview(parquet_bytes(table, checked=True)))


def read_parquet(path: Path, needed: Collection[str] = (), columns: list[str] | None = None) -> pa.Table:
    """A table that this package wrote; TableError where it is not there, damaged, or lacks a column."""
    if not path.is_file():
        raise TableError(f"{path} does not exist")
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TableError(
            f"{path} is damaged or not a Parquet file ({type(error).__name__}); make it again"
        ) from error
    missing = sorted(set(needed) - set(table.column_names))
    if missing:
        raise TableError(
            f"{path} lacks the columns {missing}; it was changed, or is another table. Make it again"
        )
    return table
