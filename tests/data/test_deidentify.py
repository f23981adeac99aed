"""Claims about what leaves: pseudonyms, shifted days, coarse ages; of sixty planted identifiers none does."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from echojepa.data.identity.deidentify import coarse_age, pseudonym, shifted_day
from echojepa.data.reading.cine import CineLoop
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.data.store.loop_store import LoopStore
from echojepa.phantom.cohort.loops import one_loop
from echojepa.vocabulary import View

KEY = b"a test key of sufficient length"
TEXTS = (
    "PatientName", "PatientID", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "PatientComments", "EthnicGroup", "Occupation",
    "AdditionalPatientHistory", "MilitaryRank", "BranchOfService", "CountryOfResidence", "RegionOfResidence",
    "PatientReligiousPreference", "MedicalAlerts", "Allergies", "MedicalRecordLocator", "IssuerOfPatientID",
    "PatientInsurancePlanCodeSequence", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName",
    "ReferringPhysicianName", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers",
    "PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName",
    "RequestingPhysician", "RequestingService", "AccessionNumber", "StudyID", "StudyDescription",
    "SeriesDescription", "ImageComments", "DerivationDescription", "ProtocolName", "StationName",
    "DeviceSerialNumber", "AdmissionID", "ReasonForStudy", "StudyComments", "CurrentPatientLocation",
    "PerformedProcedureStepDescription", "PerformedProcedureStepID", "RequestedProcedureDescription",
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "TransducerData", "ContentCreatorName",
)  # fmt: skip
DATES = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
UIDS = ("StudyInstanceUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "DeviceUID")
DAY = "19870523"
DRY_AND_IN_EARNEST = """
import sys
from echojepa.cli import main
sys.exit(main([*sys.argv[1:], "--dry-run"]) or main([*sys.argv[1:], "--lossless"]))
"""


def plant(path: Path, loop: CineLoop) -> list[str]:
    """Write a file with an identifier in every place that it can stand in; returns what to look for."""
    write_cine(path, loop, patient_name="x", study_date=DAY, transfer_syntax="explicit")
    data, planted = pydicom.dcmread(path), []

    def word(place: str) -> str:
        planted.append(f"ZQ{len(planted):02d}{place[:4].upper()}")
        return planted[-1]

    for name in TEXTS:
        if name.endswith("Sequence"):
            item = Dataset()
            item.CodeMeaning = word(name)
            setattr(data, name, Sequence([item]))
        else:
            setattr(data, name, word(name))
    for name in DATES:
        setattr(data, name, DAY)
    for number, name in enumerate(UIDS):
        setattr(data, name, f"1.2.840.99.{77001 + number}")
        planted.append(f"1.2.840.99.{77001 + number}")
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.PatientAge = "097Y"
    nested = Dataset()
    nested.PatientID, nested.IssuerOfPatientID = word("nested"), word("issuer")
    data.OtherPatientIDsSequence = Sequence([nested])
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = word("code"), word("scheme"), word("view")
    data.ViewCodeSequence = Sequence([view])
    block = data.private_block(0x0019, word("vendor"), create=True)
    block.add_new(1, "LO", word("private"))
    block.add_new(2, "UN", word("hidden").encode())
    data.add_new(0x60000010, "US", 8)
    data.add_new(0x60000011, "US", 8)
    data.add_new(0x60000022, "LO", word("overlay"))
    data.add_new(0x60003000, "OW", word("overlaybits").encode().ljust(8, b"\0"))
    data.file_meta.SourceApplicationEntityTitle = word("title")
    data.file_meta.PrivateInformationCreatorUID = "1.2.840.99.77099"
    data.file_meta.PrivateInformation = word("meta").encode()
    data.preamble = word("preamble").encode().ljust(128, b"\0")
    data.FrameTime, data.HeartRate = "20", 71
    data.save_as(path)
    path.write_bytes(path.read_bytes() + word("trailer").encode())
    return [*planted, DAY, date(1987, 5, 23).isoformat(), "97.0"]


def with_title(loop: CineLoop, text: str) -> tuple[CineLoop, np.ndarray]:
    """The loop with a line of text burned in above and beside the sector, and where its strokes are."""
    strokes = Image.new("1", loop.frames.shape[2:0:-1])
    for place in ((2, 1), (2, loop.frames.shape[1] - 12)):
        ImageDraw.Draw(strokes).text(place, text, fill=1)
    where = np.asarray(strokes)
    frames = loop.frames.copy()
    frames[:, where] = 255
    facts = {**vars(loop), "frames": frames}
    return CineLoop(**facts), where


def test_sixty_planted_identifiers_are_in_no_output_no_log_line_and_no_error(tmp_path: Path) -> None:
    loop = one_loop(View.A4C, 0.3).loop
    loop, strokes = with_title(loop, "ZQ98BURN")
    folder = tmp_path / "ZQ99FOLD_Jane"
    folder.mkdir()
    planted = [*plant(folder / "ZQ97FILE.dcm", loop), "ZQ97FILE", "ZQ98BURN", "ZQ99FOLD"]
    whole = (folder / "ZQ97FILE.dcm").read_bytes()
    (folder / "ZQ96cut.dcm").write_bytes(whole[: len(whole) // 2])
    (folder / "ZQ95note.txt").write_text("ZQ94TEXT")
    planted += ["ZQ96cut", "ZQ95note", "ZQ94TEXT"]
    assert len(planted) > 60
    out = tmp_path / "data"
    command = ["ingest", "--sources", str(folder), "--out", str(out), "--key", str(tmp_path / "key")]
    done = subprocess.run(
        [sys.executable, "-c", DRY_AND_IN_EARNEST, *command], capture_output=True, text=True, check=True
    )
    said = done.stdout + done.stderr
    assert not done.stderr or said != done.stderr
    store = LoopStore.open(out)
    assert store.table.count_rows() == 1 and store.rejected().num_rows == 2
    rows = store.table.to_table().to_pylist()
    said += (
        f"{[{k: v for k, v in row.items() if k != 'frames'} for row in rows]} {store.rejected().to_pylist()}"
    )
    found = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    for identifier in planted:
        assert identifier not in said, f"{identifier} was said or stands in a table"
        assert identifier.encode() not in found and identifier.encode("utf-16-le") not in found
    assert rows[0]["age"] == 90.0 and rows[0]["manufacturer"] == "other" and rows[0]["view"] is None
    assert "ZQ97FILE" in (tmp_path / "key.files.csv").read_text()
    assert_no_stroke_was_kept(store, loop, strokes)


def assert_no_stroke_was_kept(store: LoopStore, loop: CineLoop, strokes: np.ndarray) -> None:
    """Find where the stored pictures lie on the screen by their content, and look under the text."""
    stored = store.frames(0)
    height, width = stored.shape[1:]
    screen = loop.frames[:, :, :, None] if loop.frames.ndim == 3 else loop.frames
    mask = store.mask(0)
    places = [
        (y, x)
        for y in range(screen.shape[1] - height + 1)
        for x in range(screen.shape[2] - width + 1)
        if (screen[0, y : y + height, x : x + width, 0][mask] == stored[0][mask]).all()
    ]
    assert len(places) == 1
    y, x = places[0]
    assert strokes.sum() > 100
    assert not stored[:, strokes[y : y + height, x : x + width]].any()


def test_pseudonyms_depend_on_key_kind_and_identifier_and_show_none_of_them() -> None:
    one = pseudonym(KEY, "patient", "4711")
    assert len(one) == 20 and int(one, 16) >= 0 and "4711" not in one
    others = (
        pseudonym(KEY, "study", "4711"),
        pseudonym(KEY, "patient", "4712"),
        pseudonym(b"another", "patient", "4711"),
    )
    assert one == pseudonym(KEY, "patient", "4711") and one not in others


def test_a_patients_days_all_move_by_the_same_number_and_other_patients_by_another() -> None:
    first, second = date(2020, 3, 1), date(2021, 7, 9)
    moved = [date.fromisoformat(shifted_day(KEY, "a", day) or "") for day in (first, second)]
    assert moved[1] - moved[0] == second - first
    assert timedelta(days=1) <= first - moved[0] <= timedelta(days=3652)
    shifts = {shifted_day(KEY, f"patient {n}", first) for n in range(200)}
    assert len(shifts) > 180
    assert shifted_day(KEY, "a", date(1, 1, 1)) is None


@pytest.mark.parametrize(
    ("years", "kept"), [(0.02, 0.0), (0.26, 0.25), (1.96, 2.0), (45.9, 45.0), (89.5, 89.0), (97, 90.0)]
)
def test_ages_are_whole_years_below_two_months_and_above_89_ninety(years: float, kept: float) -> None:
    assert coarse_age(years) == kept
    assert coarse_age(-1) is None and coarse_age(200) is None
