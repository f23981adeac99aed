"""Claims about archives as they lie on disks: every file has a row, what was unfinished is tried again."""

from __future__ import annotations

import csv
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from odd_files import fan, native, quiet, whole

from echojepa.config import IngestConfig
from echojepa.data.identity.private import IngestError, read_file_map
from echojepa.data.importers.archive import list_archive
from echojepa.data.ingest import ingest as ingest_module
from echojepa.data.ingest.convert import Refused, convert
from echojepa.data.ingest.ingest import ingest
from echojepa.data.reading.boundary import one_file
from echojepa.data.reading.rejection import Rejected
from echojepa.data.store.loop_store import LoopStore
from echojepa.vocabulary import Reason

FRAMES = fan()


def names(folder: Path) -> list[str]:
    """What an archive is taken to hold, from the folder on."""
    return [str(path.relative_to(folder)) for path in list_archive((folder,)).videos]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder with one sound file."""
    native(tmp_path / "in/sound.dcm", FRAMES)
    return tmp_path / "in"


def test_what_is_no_file_has_its_row_and_hangs_nothing(archive: Path) -> None:
    os.mkfifo(archive / "pipe.dcm")
    (archive / "self.dcm").symlink_to("self.dcm")
    (archive / "gone.dcm").symlink_to("nowhere")
    one, two = archive / "one.dcm", archive / "two.dcm"
    one.symlink_to(two)
    two.symlink_to(one)
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(archive)
        server.bind("s.dcm")
        os.chdir(here)
        found = whole(archive)
    assert len(found.rows) == 1
    assert found.rejected == {Reason.UNREADABLE: 6} == found.dry.refused


def test_folders_that_are_links_are_walked_once(tmp_path: Path, archive: Path) -> None:
    native(tmp_path / "elsewhere/deep/a.dcm", FRAMES)
    (archive / "patient1").symlink_to("../elsewhere")
    (archive / "again").symlink_to("../elsewhere/deep")
    (archive / "up").symlink_to("..")
    (archive / "same.dcm").symlink_to("sound.dcm")
    found = list_archive((archive, archive)).videos
    assert [path.name for path in found] == ["a.dcm", "sound.dcm"]


def test_hidden_files_and_tables_are_accounted_for(archive: Path) -> None:
    for name in (".hidden", "labels.csv", "More.CSV", "a.json"):
        (archive / name).write_text("x")
    listing = list_archive((archive,))
    assert listing.counted() == {"hidden file": 1, "table, or the like": 3}
    assert [path.name for path in listing.videos] == ["sound.dcm"]


@pytest.mark.parametrize("begun", [0, 100, 5000])
def test_a_half_copied_file_is_tried_again_once_it_is_whole(archive: Path, begun: int) -> None:
    content = native(archive.parent / "whole.dcm", FRAMES[:-1]).read_bytes()
    late = archive / "late.dcm"
    late.write_bytes(content[:begun])
    assert whole(archive).rejected.total() == 1
    again = whole(archive)
    assert again.rejected.total() == 1 and len(again.rows) == 1
    late.write_bytes(content)
    found = whole(archive)
    assert len(found.rows) == 2 and not found.rejected
    assert found.checks["came in and rejected"] == "ok"


@pytest.mark.parametrize("reason", [Reason.UNREADABLE, Reason.LIMITS, Reason.CRASHED, Reason.TRUNCATED])
def test_a_passing_reason_is_tried_again_and_a_lasting_one_is_not(
    archive: Path, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    native(archive / "other.dcm", FRAMES[1:])
    tried: list[str] = []

    def fake(jobs: list[Any], config: IngestConfig) -> Any:
        for job in jobs:
            tried.append(job.path.name)
            bad = job.path.name == "other.dcm" and len(tried) < 3
            yield Refused(job.file_id, Rejected(reason, "for now")) if bad else convert(job)

    monkeypatch.setattr(ingest_module, "convert_all", fake)
    config = IngestConfig((archive,), archive.parent / "data", archive.parent / "key", workers=1)
    ingest(config, quiet)
    ingest(config, quiet)
    passing = reason != Reason.TRUNCATED
    assert tried == ["other.dcm", "sound.dcm", *(["other.dcm"] if passing else [])]
    assert LoopStore.open(config.out).table.count_rows() == (2 if passing else 1)


def test_a_map_of_an_older_package_is_read(archive: Path) -> None:
    key = archive.parent / "key"
    (archive.parent / "key.files.csv").write_text("file_id,path\nabc,/x/y\n")
    assert dict(read_file_map(key))["abc"].stamp is None


@pytest.mark.parametrize("error", [TypeError("Doe^Jane"), ZeroDivisionError("Doe"), RecursionError("Doe")])
def test_an_error_of_the_program_costs_one_file_and_is_named_without_a_value(
    archive: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    native(archive / "bad.dcm", FRAMES[1:])

    def broken(frames: Any, regions: Any = ()) -> Any:
        raise error

    def fake(jobs: list[Any], config: IngestConfig) -> Any:
        for job in jobs:
            with monkeypatch.context() as patch:
                if job.path.name == "bad.dcm":
                    patch.setattr("echojepa.data.ingest.convert.find_sector", broken)
                yield convert(job)

    monkeypatch.setattr(ingest_module, "convert_all", fake)
    config = IngestConfig((archive,), archive.parent / "data", archive.parent / "key", strict=True)
    with pytest.raises(
        IngestError, match=rf"errors of this program: .*{type(error).__name__} at data/ingest/convert"
    ):
        ingest(config, quiet)
    store = LoopStore.open(config.out)
    assert store.table.count_rows() == 1
    row = store.rejected().to_pylist()[0]
    assert row["reason"] == Reason.PROGRAM and "Doe" not in row["detail"]


def test_running_out_of_memory_is_of_the_file() -> None:
    with pytest.raises(Rejected, match=Reason.LIMITS), one_file():
        raise MemoryError


def test_the_map_says_what_a_file_was_like(archive: Path) -> None:
    whole(archive)
    with (archive.parent / "in.out/key.files.csv").open(newline="") as file:
        entry = next(csv.DictReader(file))
    facts = (archive / "sound.dcm").stat()
    assert (int(entry["size"]), int(entry["changed"])) == (facts.st_size, facts.st_mtime_ns)
