"""Claims about an ingest that is killed, doubled, or short of disk: every file is in once, none is spoilt."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echojepa.config import IngestConfig
from echojepa.data.identity.splits import check_no_leakage
from echojepa.data.ingest.ingest import IngestError, ingest
from echojepa.data.store.loop_store import LoopStore, StoreError
from echojepa.progress import quiet
from echojepa.vocabulary import Reason

SMALL_COMMITS = (
    "import sys; import echojepa.data.ingest.ingest as i; i.COMMIT_EVERY = 2; from echojepa.cli import main; "
    "sys.exit(main(sys.argv[1:]))"
)


PATIENTS = 6
FILES = 3 * PATIENTS


@pytest.fixture
def sources(archive: Path) -> list[str]:
    """Folders of a few patients, which come in by nine commits."""
    return [str(archive / f"P{ordinal:05}") for ordinal in range(PATIENTS)]


def start(sources: list[str], out: Path, key: Path) -> subprocess.Popen[str]:
    command = ["ingest", "--sources", *sources, "--out", str(out), "--key", str(key), "--workers", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", SMALL_COMMITS, *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def contents(out: Path) -> tuple[dict[str, list[object]], dict[str, list[object]]]:
    """Every row of both tables. The archive's loops are short, so one may be held for review."""
    store = LoopStore.open(out)
    return tuple(table.sort_by("file_id").to_pydict() for table in (store.metadata(), store.rejected()))  # pyright: ignore


def files_of(store: LoopStore) -> list[str]:
    """The ids of all files that are done with."""
    return [*store.metadata(["file_id"])["file_id"].to_pylist(), *store.rejected()["file_id"].to_pylist()]


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_moment_and_run_again_it_neither_repeats_nor_loses_a_file(
    sources: list[str], tmp_path: Path, kills: int
) -> None:
    began = time.perf_counter()
    whole = start(sources, tmp_path / "whole", tmp_path / "key")
    finish(whole)
    length = time.perf_counter() - began
    rng = np.random.default_rng(kills)
    out, done = tmp_path / "data", 0
    for number in range(kills):
        process = start(sources, out, tmp_path / "key")
        time.sleep(rng.uniform(0.5, 1.1) * length)
        process.send_signal(signal.SIGKILL)  # the parent alone: its workers must see it for themselves
        process.communicate()
        if (out / "dataset.json").exists():
            inside = files_of(LoopStore.open(out))
            assert len(inside) == len(set(inside)) >= done
            done = len(inside)
            if done == FILES and number < kills - 1:  # all in: begin anew, so that each kill finds work
                out, done = tmp_path / f"data{number}", 0
    finish(start(sources, out, tmp_path / "key"))
    assert contents(out) == contents(tmp_path / "whole")
    assert len(files_of(LoopStore.open(out))) == FILES


def test_two_ingests_into_one_data_set_at_once_do_not_corrupt_it(sources: list[str], tmp_path: Path) -> None:
    both = [start(sources, tmp_path / "data", tmp_path / "key") for _ in range(2)]
    for process in both:
        finish(process)
    store = LoopStore.open(tmp_path / "data")
    table = store.metadata(["file_id", "patient_id", "patient_ordinal", "split"]).to_pydict()
    assert len(files_of(store)) == len(set(files_of(store))) == FILES
    assert len(table["file_id"]) >= FILES - 2
    check_no_leakage(table["patient_id"], table["split"])
    places = set(zip(table["patient_id"], table["patient_ordinal"], strict=True))
    assert len(places) == len(set(table["patient_id"])) == len(set(table["patient_ordinal"])) == PATIENTS


def test_a_full_disk_is_said_and_costs_nothing_that_was_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(archive.rglob("*.dcm"))
    config = IngestConfig(tuple(files[:2]), tmp_path / "data", tmp_path / "key", workers=1)
    ingest(config, quiet)

    def full(self: LoopStore, loops: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LoopStore, "append", full)
        with pytest.raises(IngestError, match="full"):
            ingest(replace(config, sources=tuple(files[:4])), quiet)
    assert LoopStore.open(tmp_path / "data").metadata().num_rows == 2
    summary = ingest(replace(config, sources=tuple(files[:4])), quiet)
    assert (summary.came.loops, summary.already) == (2, 2)


def test_a_kill_between_the_two_tables_of_a_commit_leaves_no_file_in_both(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A held file that was cleared comes in; killed before its refusal is dropped, the next run drops it."""
    file = sorted(archive.rglob("*.dcm"))[0]
    config = IngestConfig((file,), tmp_path / "data", tmp_path / "key", workers=1)
    ingest(config, quiet)
    store = LoopStore.open(tmp_path / "data")
    file_id = store.metadata(["file_id"])["file_id"][0].as_py()
    store.replace_rejected([{"file_id": file_id, "reason": "x", "detail": "x"}], came_in=set())
    ingest(config, quiet)
    assert store.rejected().num_rows == 0


def test_a_folder_that_cannot_be_listed_has_its_row(archive: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "closed").mkdir(parents=True)
    (source / "a.dcm").write_bytes(sorted(archive.rglob("*.dcm"))[0].read_bytes())
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    with pytest.MonkeyPatch.context() as patched:  # root may list anything, so the refusal is made
        patched.setattr(os, "scandir", scandir)
        summary = ingest(IngestConfig((source,), tmp_path / "data", tmp_path / "key", workers=1), quiet)
    assert summary.came.loops == 1 and summary.came.rejected == {Reason.UNREADABLE.value: 1}


@pytest.mark.parametrize(
    ("name", "message"),
    [("rejected.parquet", "ingest again"), ("labels.parquet", "--labels"), ("dataset.json", "split_seed")],
)
def test_a_damaged_companion_is_named_with_what_to_do(
    archive: Path, tmp_path: Path, name: str, message: str
) -> None:
    files = tuple(sorted(archive.rglob("*.dcm"))[:2])
    config = IngestConfig(files, tmp_path / "data", tmp_path / "key", workers=1)
    ingest(config, quiet)
    damaged = tmp_path / "data" / name
    damaged.write_bytes(damaged.read_bytes()[:20])
    with pytest.raises(StoreError, match=f"{name} is damaged.*{message}"):
        store = LoopStore.open(tmp_path / "data")
        store.labels(), store.rejected()
    if name.endswith(".parquet"):
        damaged.unlink()  # what it says to do
        ingest(config, quiet)
        assert LoopStore.open(tmp_path / "data").metadata().num_rows == 2
