"""Tables as people's programs write them: UTF-8, commas, a header; anything else is said in a sentence.

No message repeats a word of the table: a first line without names of columns is a patient's.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from io import StringIO
from pathlib import Path

from echojepa.errors import UserError

NOT_UTF8 = "save it as UTF-8 (in Excel: CSV UTF-8)"
_WHOLE = re.compile(r"(\d+)\.0+")


class TableError(UserError):
    """A table is not there, is not written as a table, or lacks a column."""


def read_columns(path: Path, needed: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values, without blanks around them, of each row of a CSV that has the needed columns.

    A byte-order mark is no part of the first name. Raises TableError for a table that is not there, is not in
    UTF-8, lacks a column, or has a row that is too short for one.
    """
    reader = csv.DictReader(StringIO(text_of(path), newline=""))
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        check_header(path, names, needed)
        reader.fieldnames = names
        for row in reader:
            if any(row[name] is None for name in needed):
                raise TableError(
                    f"{path}, line {reader.line_num}: it has fewer values than there are columns"
                )
            yield reader.line_num, {name: (row[name] or "").strip() for name in names}
    except csv.Error as error:
        raise TableError(f"{path}, line {reader.line_num}: it does not read as a table ({error})") from None


def text_of(path: Path) -> str:
    """The text of a file in UTF-8; TableError where it is in another encoding or not there."""
    if not path.is_file():
        raise TableError(f"the table {path} does not exist")
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4096]:
        raise TableError(f"{path} is in UTF-16, or no text; {NOT_UTF8}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TableError(f"{path} is not in UTF-8; {NOT_UTF8}") from None


def check_header(path: Path, names: Collection[str], needed: Collection[str]) -> None:
    """TableError naming the columns that a table lacks; how many it has, and never what stands there."""
    missing = sorted(set(needed) - set(names))
    if missing:
        raise TableError(
            f"{path} lacks the columns {missing}; its first line has {len(names)} columns. It must name "
            "them, with commas between the names"
        )


def identity(text: str) -> str:
    """An id as it was before a program took it for a number: 77.0 is 77."""
    stripped = text.strip()
    found = _WHOLE.fullmatch(stripped)
    return found[1] if found else stripped
