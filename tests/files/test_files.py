"""Claims about files: whole or not there, durable, the same run or none, read strictly."""

from __future__ import annotations

import errno
import gzip
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

from echojepa.config import ConfigError
from echojepa.files.durable import disk_full, replace_folder, write_bytes, write_file, write_text
from echojepa.files.records import (
    LATER,
    decode,
    encode,
    keep_record,
    read_plain,
    read_record,
    write_record,
)
from echojepa.files.tables import TableError, read_rows, write_csv, write_parquet


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old\n")

    def fill(file: Path) -> None:
        file.write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(path, fill)
    assert path.read_text() == "old\n" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a power cut leaves the old or the new: of text, bytes, a table, a folder."""
    seen: list[list[str]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "text", "a")
    write_bytes(tmp_path / "bytes", b"a")
    write_parquet(tmp_path / "table", pa.table({"a": [1]}))
    (tmp_path / ".new").mkdir()
    (tmp_path / ".new" / "part").write_text("a")
    replace_folder(tmp_path / ".new", tmp_path / "folder")
    assert seen == [[], ["text"], ["bytes", "text"], ["bytes", "table", "text"]]
    assert (tmp_path / "folder" / "part").read_text() == "a"


def test_a_private_file_is_its_owner_s_from_its_first_byte(tmp_path: Path) -> None:
    modes = []

    def fill(file: Path) -> None:
        file.write_text("a name")
        modes.append(file.stat().st_mode & 0o777)

    write_file(tmp_path / "key", fill, private=True)
    write_csv(tmp_path / "map.csv", [{"file_id": "1", "path": "a\udcff"}], private=True)
    assert modes == [0o600] and {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_full_disk_is_told_from_other_failures_also_as_text(tmp_path: Path) -> None:
    said = f"the disk of {tmp_path} is full; make room and run again: finished work is kept"
    for full in (OSError(errno.EDQUOT, "quota"), OSError("LanceError(IO): ... (os error 28)")):
        assert disk_full(full, tmp_path) == said
    assert disk_full(OSError(errno.ENOSPC, "No space")).startswith("the disk is full; ")
    assert disk_full(OSError(errno.EACCES, "Permission denied"), tmp_path) == ""


@dataclass(frozen=True)
class Inner:
    shares: tuple[float, ...]
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    place: Path
    inner: Inner
    counts: dict[str, int]
    most: int | None = None


VALUE = Outer(Path("data"), Inner((0.5, 2.0)), {"x": 1})


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write_text(tmp_path / "record.json", encode(VALUE))
    assert read_record(Outer, tmp_path / "record.json") == VALUE
    with pytest.raises(TypeError, match="complex"):  # nothing is turned into text unasked
        encode({"value": 1j})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"place"', '"plaice"', r"unknown entries \['plaice'\], missing entries \['place'\]"),
        ('"x": 1', '"x": "many"', r"Outer.counts\[x\]: 'many' is not a"),
        ('"kind": "a"', '"kind": "c"', r"Outer.inner.kind: 'c' is not"),
        ("2.0", "true", r"Outer.inner.shares\[1\]: True is not"),
        ("{", "", "not the JSON of a Outer"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        decode(Outer, encode(VALUE).replace(old, new, 1))


def test_a_folder_goes_on_with_the_same_settings_and_refuses_others(tmp_path: Path) -> None:
    record = tmp_path / "config.json"
    keep_record(record, VALUE, "run", free={"most"})
    keep_record(record, replace(VALUE, most=3), "run", free={"most"})
    assert read_record(Outer, record).most == 3
    with pytest.raises(
        ConfigError, match=r"holds another run with different counts, place \(see its config.json\)"
    ):
        keep_record(record, replace(VALUE, place=Path("x"), counts={}), "run", free={"most"})
    assert read_record(Outer, record) == replace(VALUE, most=3)


def test_a_table_without_a_needed_column_is_refused_though_it_has_no_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,value\n")
    assert list(read_rows(path, ["id"])) == []
    with pytest.raises(TableError, match=r"lacks the columns \['unit'\]; its first line has 2 columns"):
        list(read_rows(path, ["id", "unit"]))
    with pytest.raises(TableError, match="does not exist"):
        list(read_rows(tmp_path / "absent.csv"))


def test_rows_are_the_same_from_csv_gzip_and_parquet(tmp_path: Path) -> None:
    rows = [{"id": "a", "value": "1"}, {"id": "b", "value": ""}]
    write_csv(tmp_path / "t.csv", rows)
    with gzip.open(tmp_path / "t.csv.gz", "wt", encoding="utf-8-sig") as file:
        file.write("id , value\na, 1\nb,\n")
    write_parquet(tmp_path / "t.parquet", pa.table({"id": ["a", "b"], "value": [1, None]}))
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        assert list(read_rows(tmp_path / name, ["id", "value"])) == rows


@dataclass(frozen=True)
class Grown:
    """A record whose second entry came after files were written."""

    name: str
    share: float = field(default=0.5, metadata=LATER)


def test_an_entry_that_came_later_leaves_what_was_written_before_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_record(file, Grown("old"))
    assert read_plain(file) == {"name": "old"} and read_record(Grown, file) == Grown("old")
    keep_record(file, Grown("old"), "run")
    write_record(file, Grown("new", 0.25))
    assert read_plain(file) == {"name": "new", "share": 0.25} and read_record(Grown, file).share == 0.25
    with pytest.raises(ConfigError, match="with different share"):
        keep_record(file, Grown("new"), "run")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"name": "a"', b"[1]", b"name", b"\xff\xfe", b'{"name": 1}', b'{"other": 1}', b"[" * 10**5],
)
def test_a_record_that_is_not_whole_is_a_sentence_with_its_path(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.json"):
        read_record(Grown, file)
    file.unlink()
    with pytest.raises(ConfigError, match=r"a\.json does not exist"):
        read_record(Grown, file)
