"""Claims about who is one person: nobody stands in two splits, whatever ids files give, in whatever order."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from odd_files import without_processes
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from echojepa.config import IngestConfig
from echojepa.data.identity.deidentify import pseudonym
from echojepa.data.identity.people import People
from echojepa.data.identity.private import IngestError
from echojepa.data.identity.splits import assign_split
from echojepa.data.ingest.convert import convert
from echojepa.data.ingest.dry_run import dry_run
from echojepa.data.ingest.ingest import ingest, jobs_for, listing_of
from echojepa.data.ingest.key import key_for, remember_key
from echojepa.data.ingest.registrar import Registrar
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.verify.verify import verify
from echojepa.phantom.cohort.loops import one_loop
from echojepa.progress import quiet
from echojepa.vocabulary import Split, View


class Archive:
    """Files of one picture that differ in a corner, and in whose they are."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, itertools.count()
        self.loop = one_loop(View.A4C, 0.1).loop

    def write(self, batch: str, patient: str, study: str, **more: object) -> Path:
        """A file that stands in a folder of its own; equal `pixels` are equal pixels."""
        number = next(self.number)
        mark = int(str(more.pop("pixels", number)))
        path = self.folder / batch / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        loop = self.loop
        frames = loop.frames.copy()
        middle = frames.shape[1] // 2, frames.shape[2] // 2
        frames[:, middle[0] : middle[0] + 3, middle[1] : middle[1] + 3] += np.uint8(mark + 1)
        facts = {**vars(loop), "frames": frames, "patient_id": patient, "study_id": f"1.2.{study}"}
        facts["loop_id"] = f"1.2.3.{number}"
        kind = type(loop)
        write_cine(path, kind(**facts), patient_name="x", study_date="20200101", transfer_syntax="explicit")
        data = pydicom.dcmread(path)
        for name, value in more.items():
            setattr(data, name, value)
        data.save_as(path)
        return path

    def config(self, batch: str, **changes: object) -> IngestConfig:
        """Settings for one batch."""
        settings: dict[str, object] = {"key": self.folder / "key", "workers": 1, "max_side": 64} | changes
        return IngestConfig((self.folder / batch,), self.folder / "data", **settings)  # pyright: ignore[reportArgumentType]

    def register(self, *batches: str) -> LoopStore:
        """As `ingest`, without processes."""
        for batch in batches:
            config = self.config(batch)
            key = key_for(config.key, config.out)
            store = LoopStore.create(config.out, config.seed)
            remember_key(store, key, config.key)
            registrar = Registrar(store, self.folder / "review")
            for job in jobs_for(config, listing_of(config).videos, key):
                registrar.take(convert(job))
            registrar.commit()
        return LoopStore.open(self.folder / "data")

    def ingest(self, *batches: str) -> LoopStore:
        """Ingest batches one after the other."""
        for batch in batches:
            with without_processes():
                ingest(self.config(batch), quiet)
        return LoopStore.open(self.folder / "data")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive."""
    return Archive(tmp_path)


def crowd(archive: Archive, batch: str) -> None:
    """People enough that the next one stands in another split than the first."""
    first = assign_split(0, 0)
    for n in range(1, next(n for n in range(1, 40) if assign_split(0, n) != first)):
        archive.write(batch, f"crowd{n}", f"90{n}")


def found(store: LoopStore) -> dict[str, str]:
    """Verdict of each check of `verify`."""
    return {finding.check: finding.verdict for finding in verify(store, 1, quiet)}


def splits(store: LoopStore) -> set[str]:
    """Splits of the people who are no crowd: rows 0 and the last ones are theirs."""
    return set(store.metadata(["split"])["split"].to_pylist())


@pytest.mark.parametrize("issuer", ["HOSPITAL", "HOSPITAL ", "Old\\New"])
@pytest.mark.parametrize("where", [0, 1])
def test_a_patient_is_one_whether_a_file_names_the_issuer_or_not(
    archive: Archive, issuer: str, where: int
) -> None:
    for number in range(2):
        more = {"IssuerOfPatientID": issuer} if number == where else {}
        archive.write("a", "77", str(number), **more)
    store = archive.register("a")
    assert len(set(store.metadata(["patient_id"])["patient_id"].to_pylist())) == 1


def test_patients_of_two_issuers_with_one_id_are_taken_for_one(archive: Archive) -> None:
    for number, issuer in enumerate(("A", "B", "C")):
        archive.write("a", "77", str(number), IssuerOfPatientID=issuer)
    assert len(set(archive.register("a").metadata(["patient_id"])["patient_id"].to_pylist())) == 1


@pytest.mark.parametrize("late", ["study", "other id", "copy"])
@pytest.mark.parametrize("order", [("one", "two", "tie"), ("tie", "one", "two"), ("one", "tie", "two")])
def test_one_person_under_two_ids_stands_in_one_split_in_any_order(
    archive: Archive, late: str, order: tuple[str, ...]
) -> None:
    archive.write("one", "old", "1", pixels=50)
    crowd(archive, "one")
    archive.write("two", "new", "2")
    if late == "study":
        archive.write("tie", "new", "1")
    elif late == "other id":
        item = Dataset()
        item.PatientID = "old"
        archive.write("tie", "new", "3", OtherPatientIDsSequence=Sequence([item]))
    else:  # the same recording under the corrected id, which is refused as a copy
        archive.write("tie", "old", "1", pixels=50)
        archive.write("tie", "new", "1", pixels=50)
    store = archive.register(*order)
    table = store.metadata().to_pylist()
    key = (archive.folder / "key").read_bytes().strip()
    mine = {pseudonym(key, "patient", f"/{name}") for name in ("old", "new")}
    assert len({row["split"] for row in table if row["patient_id"] in mine}) == 1
    assert {row["patient_id"] for row in table} >= mine
    assert splits(store) <= set(Split)
    checks = found(store)
    assert checks["one study in two splits"] == checks["one person in two splits"] == "ok"
    if late == "study":
        assert checks["patients that share a study"] == "warning"


def test_who_moves_goes_to_the_guarded_split_and_no_row_changes_its_place(archive: Archive) -> None:
    archive.write("one", "old", "1")
    crowd(archive, "one")
    archive.write("two", "new", "2")
    before = archive.ingest("one", "two")
    rows, prints = before.metadata().to_pylist(), before.fingerprint()
    frames = before.frames(0)
    archive.write("tie", "new", "1")
    after = archive.ingest("tie")
    kept = after.metadata().to_pylist()[: len(rows)]
    assert [row["loop_id"] for row in kept] == [row["loop_id"] for row in rows]
    changed = [(old, new) for old, new in zip(rows, kept, strict=True) if old != new]
    assert len(changed) == 1
    assert {**changed[0][0], "split": changed[0][1]["split"]} == changed[0][1]
    pair = {rows[0]["split"], rows[-1]["split"]}
    assert {kept[0]["split"], kept[-1]["split"]} == {
        next(s for s in (Split.TEST, Split.VAL, Split.TRAIN) if s in pair)
    }
    assert after.fingerprint() != prints
    np.testing.assert_array_equal(after.frames(0), frames)


def test_groups_of_people_do_not_depend_on_the_order_in_which_they_are_tied() -> None:
    ties = [("a", "b"), ("c", "d"), ("e", "f"), ("b", "c"), ("f", "g")]
    groups = []
    for order in itertools.permutations(ties):
        people = People()
        for one in "abcdefg":
            people.place(one, "train")
        for tie in order:
            people.tie(tie)
        groups.append({frozenset(people.splits(one)) for one in "abcdefg"})
    assert all(group == {frozenset("abcd"), frozenset("efg")} for group in groups)


def test_another_key_is_refused_and_a_mistyped_one_is_not_made(archive: Archive) -> None:
    archive.write("a", "1", "1")
    archive.write("b", "2", "2")
    store = archive.ingest("a")
    before = store.metadata().to_pylist()
    other, missing = archive.folder / "other", archive.folder / "mistyped"
    other.write_text("another key, long enough")
    for run in (ingest, dry_run):
        with pytest.raises(IngestError, match="is not the one that the data set"):
            run(archive.config("b", key=other), quiet)
        with pytest.raises(IngestError, match="does not exist, and the data set"):
            run(archive.config("b", key=missing), quiet)
    assert not missing.exists()
    assert archive.ingest().metadata().to_pylist() == before
    assert archive.ingest("b").table.count_rows() == 2


def test_a_data_set_of_version_1_opens_takes_its_own_key_and_keeps_its_patients_together(
    archive: Archive,
) -> None:
    archive.write("a", "77", "1", IssuerOfPatientID="H")
    store = archive.ingest("a")
    key = (archive.folder / "key").read_bytes().strip()
    legacy = pseudonym(key, "patient", "H/77")  # as version 1 named the patient
    store.table.update({"patient_id": f"'{legacy}'"})
    store.location.replace("dataset.json", b'{"format_version": 1, "split_seed": 0}')
    (archive.folder / "data/links.parquet").unlink()
    crowd(archive, "b")
    archive.write("b", "77", "2", IssuerOfPatientID="H")
    archive.write("b", "77", "3")
    other = archive.folder / "other"
    other.write_text("another key, long enough")
    (archive.folder / "other.files.csv").write_text("file_id,path\nx,y\n")
    with pytest.raises(IngestError, match="is not the one"):
        ingest(archive.config("b", key=other), quiet)
    after = archive.ingest("b")
    assert after.key_fingerprint is not None
    assert json.loads(after.location.read("dataset.json"))["format_version"] == 2
    mine = {legacy, pseudonym(key, "patient", "/77")}
    rows = [row for row in after.metadata().to_pylist() if row["patient_id"] in mine]
    assert len(rows) == 3 and len({row["split"] for row in rows}) == 1


@pytest.mark.parametrize("ids", [["ANONYMOUS"] * 6, ["", *["x"] * 5], ["a"] * 8 + ["b", "c"]])
def test_verify_warns_where_one_patient_holds_most(archive: Archive, ids: list[str]) -> None:
    for number, patient in enumerate(ids):
        archive.write("a", patient, str(number))
    assert found(archive.register("a"))["one patient holds most of the set"] == "warning"


def test_verify_finds_a_study_and_a_person_in_two_splits(archive: Archive) -> None:
    archive.write("a", "old", "1")
    archive.write("a", "new", "1")
    archive.write("a", "third", "3")
    store = archive.register("a")
    rows = store.metadata(["patient_id", "split"]).to_pylist()
    store.move({rows[1]["patient_id"]: "val" if rows[0]["split"] != "val" else "test"})
    checks = found(store)
    assert checks["one study in two splits"] == checks["one person in two splits"] == "error"
