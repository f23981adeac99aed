"""Claims about what comes into a data set, what does not, and what never leaves."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import data_store
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pydicom.data
import pytest

from echojepa.config import IngestConfig
from echojepa.data.identity.deidentify import discreetly
from echojepa.data.identity.splits import LeakageError, assign_split, check_no_leakage
from echojepa.data.ingest.convert import shrink
from echojepa.data.ingest.ingest import IngestError, ingest
from echojepa.data.ingest.labels import read_labels
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.data.sector.sector import find_sector
from echojepa.data.store.loop_store import LoopStore, StoreError
from echojepa.files.tables import TableError
from echojepa.phantom.cohort.loops import one_loop
from echojepa.progress import quiet
from echojepa.vocabulary import Reason, Split, View


def config_for(folder: Path, source: Path) -> IngestConfig:
    return IngestConfig((source,), folder / "data", folder / "key", workers=1)


def test_a_lossless_file_survives_bit_for_bit_inside_the_sector(tmp_path: Path) -> None:
    loop = one_loop(View.A4C, 0.3).loop
    (tmp_path / "in").mkdir()
    write_cine(
        tmp_path / "in/a.dcm", loop, patient_name="X", study_date="20200101", transfer_syntax="explicit"
    )
    ingest(replace(config_for(tmp_path, tmp_path / "in"), lossless=True), quiet)
    store = LoopStore.open(tmp_path / "data")
    sector = find_sector(loop.frames)
    rows, columns = sector.box
    expected = loop.frames[:, rows, columns] * sector.mask[rows, columns]
    np.testing.assert_array_equal(store.frames(0), expected)
    np.testing.assert_array_equal(store.mask(0), sector.mask[rows, columns])
    np.testing.assert_allclose(store.loop(0).times, loop.times, atol=1e-6)
    np.testing.assert_array_equal(store.frames(0, [3, 1, 3]), expected[[3, 1, 3]])
    entry = store.metadata().to_pylist()[0]
    assert (entry["pixel_height_mm"], entry["pixel_width_mm"]) == pytest.approx(loop.regions[0].mm_per_pixel)


def test_reducing_keeps_the_aspect_ratio_and_small_loops_as_they_are() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8)
    assert shrink(frame, 0.5).shape == (150, 200)
    np.testing.assert_array_equal(shrink(frame, 1.0), frame)
    pairs = frame.reshape(150, 2, 200, 2).mean((1, 3))
    assert np.abs(shrink(frame, 0.5) - pairs).max() <= 1


def test_every_bad_file_has_a_row_and_the_good_ones_come_in(archive: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    good = sorted(archive.rglob("*.dcm"))[:3]
    source.mkdir()
    for number, path in enumerate(good):
        shutil.copy(path, source / f"good{number}.dcm")
    shutil.copy(good[0], source / "twin.dcm")
    (source / "cut.dcm").write_bytes(good[1].read_bytes()[:5000])
    (source / "letter.dcm").write_text("Dear Dr Smith")
    (source / "empty.dcm").touch()
    summary = ingest(config_for(tmp_path, source), quiet)
    assert summary.came.loops == 3 and summary.came.rejected.total() == 4
    reasons = LoopStore.open(tmp_path / "data").rejected()["reason"].to_pylist()
    assert sorted(reasons) == sorted(
        [Reason.DUPLICATE.value, Reason.TRUNCATED.value, Reason.NOT_DICOM.value, Reason.NOT_DICOM.value]
    )
    assert set(reasons) <= {reason.value for reason in Reason}
    again = ingest(config_for(tmp_path, source), quiet)
    assert (again.came.loops, again.already, again.came.rejected.total()) == (0, 7, 0)
    with pytest.raises(IngestError, match="rejected files by reason"):
        (source / "other.dcm").write_text("x")
        ingest(replace(config_for(tmp_path, source), strict=True), quiet)


def test_nothing_to_ingest_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(IngestError, match="no files"):
        ingest(config_for(tmp_path, tmp_path / "in"), quiet)
    with pytest.raises(IngestError, match="does not exist"):
        ingest(config_for(tmp_path, tmp_path / "absent"), quiet)
    (tmp_path / "in/a.dcm").write_text("nothing")
    with pytest.raises(IngestError, match="nothing came in"):
        ingest(config_for(tmp_path, tmp_path / "in"), quiet)


def test_a_folder_of_something_else_is_not_written_into(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        ingest(config_for(tmp_path, archive), quiet)
    with pytest.raises(StoreError, match="not a data set"):
        LoopStore.open(tmp_path)


def test_the_key_is_made_once_private_and_never_inside_the_data_set(archive: Path, tmp_path: Path) -> None:
    source = sorted(archive.rglob("*.dcm"))[0]
    ingest(config_for(tmp_path, source), quiet)
    key = tmp_path / "key"
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_text().strip()) == 64
    with pytest.raises(IngestError, match="inside the data set"):
        ingest(replace(config_for(tmp_path, source), key=tmp_path / "data/key"), quiet)


def test_no_identifier_is_in_any_byte_of_the_data_set_nor_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    loop = one_loop(View.A4C, 0.2).loop
    secret = replace(loop, patient_id="MRN-4711081547-SECRET")  # so many digits that no random id holds them
    source = tmp_path / "Doe_Jane_SECRET"
    source.mkdir()
    write_cine(source / "SECRETfile.dcm", secret, patient_name="SECRET^Jane", study_date="19991231")
    (source / "bad-SECRET.dcm").write_text("SECRET")
    whole = source / "whole.dcm"
    write_cine(whole, loop, patient_name="SECRET^Jane", study_date="19991231")
    (source / "cut-SECRET.dcm").write_bytes(whole.read_bytes()[:20000])
    ingest(config_for(tmp_path, source), quiet)
    said = caplog.text + " ".join(str(warning.message) for warning in recwarn)
    assert "SECRET" not in said and "Doe_Jane" not in said
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for word in (
                b"SECRET",
                b"4711081547",
                b"19991231",
                loop.study_id.encode(),
                loop.loop_id.encode(),
            ):
                assert word not in content, f"{word} in {path.name}"
    assert "SECRETfile" in (tmp_path / "key.files.csv").read_text()


def test_labels_join_by_study_and_bad_tables_are_refused(
    dataset: Path, archive: Path, tmp_path: Path
) -> None:
    store = LoopStore.open(dataset)
    lvef = [row for row in store.labels().to_pylist() if row["label"] == "lvef"]
    truth = pq.read_table(archive / "truth.parquet").to_pylist()
    assert sorted(row["value"] for row in lvef) == pytest.approx(
        sorted({row["study_id"]: row["lvef"] for row in truth}.values()), abs=1e-3
    )
    assert {row["study_id"] for row in lvef} == set(store.metadata(["study_id"])["study_id"].to_pylist())
    table = tmp_path / "labels.csv"
    for text, message in (
        ("study_uid,label,value\n", "lacks the columns"),
        ("study_uid,label,value,unit\n1,lvef,fifty,%\n", "not a number"),
        ("study_uid,label,value,unit\n1,lvef,5,%\n1,lvef,6,%\n", "a second"),
    ):
        table.write_text(text)
        with pytest.raises((IngestError, TableError), match=message):
            read_labels(table, b"k")


def test_a_patient_is_in_one_split_and_splits_are_stable_and_balanced(store: LoopStore) -> None:
    table = store.metadata(["patient_id", "split", "patient_ordinal"]).to_pydict()
    check_no_leakage(table["patient_id"], table["split"])
    assert len(set(table["patient_ordinal"])) == 20
    counts = [[assign_split(seed, n) for n in range(20)].count(Split.TRAIN) for seed in range(5)]
    assert counts == [14] * 5
    with pytest.raises(LeakageError, match="1 patients"):
        check_no_leakage(["a", "a", "b"], ["train", "test", "val"])


def test_a_patient_seen_again_later_keeps_ordinal_and_split(archive: Path, tmp_path: Path) -> None:
    files = sorted(archive.rglob("*.dcm"))
    ingest(replace(config_for(tmp_path, archive), sources=(files[0], files[3])), quiet)
    ingest(replace(config_for(tmp_path, archive), sources=(files[1], files[6])), quiet)
    rows = LoopStore.open(tmp_path / "data").metadata(["patient_id", "patient_ordinal", "split"]).to_pylist()
    assert [row["patient_ordinal"] for row in rows] == [0, 1, 0, 2]
    assert rows[0] == rows[2]


def ultrasound_files() -> list[Path]:
    """Every ultrasound file in pydicom's wheel and in pydicom-data."""
    folders = [Path(pydicom.data.__file__).parent, Path(data_store.__file__).parent]
    found = []
    with discreetly():
        for path in sorted(path for folder in folders for path in folder.rglob("*.dcm")):
            data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            found += [path] if data.get("Modality") == "US" else []
    return found


def test_every_ultrasound_file_that_pydicom_ships_comes_in_is_held_or_refused_for_its_reason(
    tmp_path: Path,
) -> None:
    """Two cines; stills with text in their region; stills of linear probes without a region in their tags,
    with a hospital's name beside the picture; and three of two frames without a time."""
    files = ultrasound_files()
    ingest(replace(config_for(tmp_path, files[0]), sources=tuple(files)), quiet)
    store = LoopStore.open(tmp_path / "data")
    assert len(files) >= 21
    assert store.metadata(["kind"])["kind"].to_pylist() == ["cine", "cine"]
    ids = pq.read_table(tmp_path / "data/rejected.parquet")["file_id"].to_pylist()
    assert len(set(ids)) == len(ids) == len(files) - 2
    reasons = Counter(store.rejected()["reason"].to_pylist())
    assert reasons.keys() == {Reason.HELD_TEXT.value, Reason.NO_SECTOR.value, Reason.NO_TIME.value}
    assert reasons[Reason.HELD_TEXT.value] == len(list((tmp_path / "key.review").glob("*.png"))) >= 7
    assert reasons[Reason.NO_TIME.value] == 3
