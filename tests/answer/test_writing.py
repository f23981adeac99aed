"""What an answer is written as: valid, the same twice, naming nobody but where it goes back."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pydicom
import pytest

from echojepa.answer.model import Model
from echojepa.answer.predict import predict
from echojepa.answer.values import NOTICE, Interval, LoopShare, StudyAnswer, TaskAnswer
from echojepa.answer.writing.document import document_of, schema
from echojepa.answer.writing.output import CSV, HTML, JSON, places_of, write_answer
from echojepa.answer.writing.structured_report import KEY_IMAGE, REPORT
from echojepa.cli import main
from echojepa.errors import UserError

from .conftest import Made

SECRETS = {
    "PatientName": "SECRETNAME^A", "PatientID": "SECRETID-1", "PatientBirthDate": "19010203",
    "OtherPatientNames": "SECRETOTHER", "PatientAddress": "SECRETSTREET", "PatientComments": "SECRETCOMMENT",
    "AccessionNumber": "SECRETACC", "ReferringPhysicianName": "SECRETDOC", "InstitutionName": "SECRETHOUSE",
    "StudyDescription": "SECRETSTUDY", "SeriesDescription": "SECRETSERIES", "StationName": "SECRETSTATION",
    "OperatorsName": "SECRETHAND", "PerformingPhysicianName": "SECRETPERF", "DeviceSerialNumber": "SECRETSER",
    "ImageComments": "SECRETIMAGE", "StudyID": "SECRETSID", "StudyDate": "20110927", "StudyTime": "131415",
    "PatientTelephoneNumbers": "SECRETPHONE", "ManufacturerModelName": "SECRETMODEL",
}  # fmt: skip
"""Planted in every file of a study; its UIDs and the names of its files and folders are looked for, too."""


@pytest.fixture(scope="module")
def planted(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test patient's study with identifiers wherever one may stand."""
    folder = tmp_path_factory.mktemp("in") / "SECRETFOLDER"
    folder.mkdir()
    for number, path in enumerate(sorted(made.tested.iterdir())):
        data = pydicom.dcmread(path)
        for name, value in SECRETS.items():
            setattr(data, name, value)
        data.save_as(folder / f"SECRETFILE{number}.dcm")
    (folder / "SECRETNOTE.txt").write_text("SECRETTEXT")
    return folder


@pytest.fixture(scope="module")
def answer(planted: Path, model: Model) -> StudyAnswer:
    (answer,) = predict(planted, model, workers=1)
    return answer


@pytest.fixture(scope="module")
def out(answer: StudyAnswer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_answer(answer, folder, dicom=True)
    return folder


def test_the_document_follows_its_published_schema_and_says_what_it_is(
    out: Path, answer: StudyAnswer, model: Model
) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    document = json.loads((out / JSON).read_text())
    jsonschema.validate(document, schema())
    assert document["notice"] == NOTICE and document["model"]["sha256"] == model.sha256
    assert document["study"]["files"] == 4 and len(document["unused_files"]) == 1
    silent = replace(answer, tasks=tuple(none_of(task) for task in answer.tasks))
    jsonschema.validate(document_of(silent), schema())
    document["tasks"][0]["value"] = None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())


def none_of(task: TaskAnswer) -> TaskAnswer:
    from echojepa.answer.values import Abstention

    return replace(
        task, value=None, interval=None, loops=(), abstention=Abstention.VIEW, detail="it needs A4C"
    )


def test_the_table_has_a_row_a_task(out: Path, answer: StudyAnswer) -> None:
    with (out / CSV).open(newline="") as file:
        (row,) = csv.DictReader(file)
    task = answer.task("lvef")
    assert task.interval is not None
    assert float(row["value"]) == pytest.approx(task.value, rel=1e-5)
    assert (row["task"], row["unit"], row["notice"]) == ("lvef", "%", NOTICE)
    assert float(row["low"]) == pytest.approx(task.interval.low, rel=1e-5)


def test_no_identifier_is_in_any_output_but_what_goes_back(
    planted: Path,
    made: Made,
    out: Path,
    answer: StudyAnswer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Attributes, UIDs, paths, text of a file that is none: not in JSON, CSV, page, `repr` or terminal."""
    command = [
        "predict",
        str(planted),
        "--model",
        str(made.model),
        "--out",
        str(tmp_path / "o"),
        "--workers",
        "1",
    ]
    assert main(command) == 0
    said = capsys.readouterr()
    texts = [(out / name).read_text() for name in (JSON, CSV, HTML)] + [said.out, said.err, repr(answer)]
    data = pydicom.dcmread(next(planted.glob("*.dcm")))
    words = [str(value) for value in SECRETS.values()] + [
        "SECRET",
        data.SOPInstanceUID,
        data.StudyInstanceUID,
    ]
    for text in texts:
        assert not [word for word in words if word in text]
    assert NOTICE in said.out


def test_the_same_study_and_model_give_the_same_bytes(
    planted: Path, model: Model, out: Path, tmp_path: Path
) -> None:
    (again,) = predict(planted, model, workers=1)
    names = {path.name for path in write_answer(again, tmp_path, dicom=True)}
    assert names == {JSON, CSV, HTML, REPORT, KEY_IMAGE}
    for name in names:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_no_library_warns_of_a_name_while_objects_are_written(
    answer: StudyAnswer, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """highdicom quotes a physician's name of one part, as one is here."""
    write_answer(answer, tmp_path, dicom=True)
    assert not [warning for warning in recwarn if "SECRET" in str(warning.message)]


def test_a_study_with_more_loops_gets_another_report_in_the_same_series(
    answer: StudyAnswer, out: Path, tmp_path: Path
) -> None:
    """An archive drops a second object with a UID that it has."""
    fewer = (*answer.loops[:-1], replace(answer.loops[-1], header=None))
    write_answer(replace(answer, loops=fewer), tmp_path, dicom=True)
    for name in (REPORT, KEY_IMAGE):
        one, other = pydicom.dcmread(out / name), pydicom.dcmread(tmp_path / name)
        assert one.SOPInstanceUID != other.SOPInstanceUID
        assert one.SeriesInstanceUID == other.SeriesInstanceUID


def test_the_page_opens_in_chromium_plays_and_asks_for_nothing(
    out: Path, open_page: Callable[[Path], str]
) -> None:
    page = (out / HTML).read_text()
    assert NOTICE in page and "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']""", page) and "http:" not in page
    seen = open_page(out / HTML)
    assert seen.count(">Pause<") >= 2 and 'aria-valuetext="frame' in seen, "the players did not run"


def test_the_page_says_why_there_is_no_answer_and_hides_a_picture_that_may_show_a_name(
    answer: StudyAnswer, tmp_path: Path
) -> None:
    loops = tuple(replace(loop, picture_withheld=True) for loop in answer.loops)
    write_answer(replace(answer, tasks=tuple(map(none_of, answer.tasks)), loops=loops), tmp_path, dicom=True)
    page = (tmp_path / HTML).read_text()
    assert "Required view missing." in page and "It needs A4C" in page
    assert "image/jpeg" not in page and "may be a name" in page
    assert not (tmp_path / REPORT).exists(), "nothing to send back"


def test_the_report_reads_back_with_codes_sources_algorithm_and_the_patient_unchanged(
    out: Path, answer: StudyAnswer, model: Model, planted: Path
) -> None:
    from highdicom.sr import srread

    report = srread(out / REPORT)
    source = pydicom.dcmread(next(planted.glob("*.dcm")))
    for name in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "AccessionNumber",
        "StudyInstanceUID",
        "StudyDate",
    ):
        assert report[name] == source[name]
    assert report.SeriesInstanceUID != source.SeriesInstanceUID
    (group,) = report.content.get_image_measurement_groups()
    (value,) = group.get_measurements()
    task = answer.task("lvef")
    assert value.value == pytest.approx(task.value, rel=1e-5)
    assert (value.name.value, value.name.scheme_designator, value.unit.value) == ("18043-0", "LN", "%")
    assert {image.referenced_sop_instance_uid for image in value.referenced_images} == {
        loop.header.SOPInstanceUID for loop in answer.loops if loop.used_for
    }
    assert all(image.ConceptNameCodeSequence[0].CodeValue == "121112" for image in value.referenced_images)
    text = report.to_json()
    assert model.sha256 in text and NOTICE in text and report.ContentDate == SECRETS["StudyDate"]
    ends = [item for item in value[0].ContentSequence if item.ValueType == "NUM"]
    assert [item.unit.value for item in ends] == ["%", "%"]
    assert task.interval is not None and task.value is not None
    assert ends[0].value == pytest.approx(task.interval.high - task.value, rel=1e-5)
    key = pydicom.dcmread(out / KEY_IMAGE)
    assert key.PatientID == SECRETS["PatientID"] and key.pixel_array.shape[2] == 3
    for name in (REPORT, KEY_IMAGE):
        assert (out / name).stat().st_mode & 0o077 == 0, "its owner alone reads it"


def test_the_report_is_one_that_dcmtk_reads(out: Path) -> None:
    if shutil.which("dsr2html") is None:
        if os.environ.get("CI"):
            pytest.fail("no dcmtk on this machine; .ci/run must install it")
        pytest.skip("no dcmtk on this machine: the SR was not read by it")
    done = subprocess.run(["dsr2html", "+Cc", str(out / REPORT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for words in ("Ejection Fraction by US: ", "Source of Measurement", NOTICE):
        assert words in done.stdout
    assert not done.stderr


def test_a_video_has_no_report_to_go_back_anywhere(answer: StudyAnswer, tmp_path: Path) -> None:
    loops = tuple(replace(loop, header=None) for loop in answer.loops)
    assert len(write_answer(replace(answer, loops=loops), tmp_path, dicom=True)) == 3


def test_several_studies_have_a_folder_each_and_nothing_is_overwritten(
    answer: StudyAnswer, planted: Path, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = [folder for _, folder in places_of(iter([answer, replace(answer, number=2)]), tmp_path)]
    assert two == [tmp_path / "study-1", tmp_path / "study-2"]
    assert [folder for _, folder in places_of(iter([answer]), tmp_path)] == [tmp_path]
    (tmp_path / "there").write_text("")
    command = ["predict", str(planted), "--model", str(made.model), "--out", str(tmp_path)]
    assert main(command) == 1
    assert "give a new folder" in capsys.readouterr().err


def test_without_highdicom_it_says_what_to_install(
    answer: StudyAnswer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("echojepa.answer.writing.structured_report.import_module", absent)
    with pytest.raises(UserError, match=r"echojepa\[dicom-sr\]"):
        write_answer(answer, tmp_path, dicom=True)


def test_a_value_of_several_views_is_shown_with_its_loops_ranked(answer: StudyAnswer, tmp_path: Path) -> None:
    shares = (LoopShare(2, 0.7, None), LoopShare(1, 0.3, None))
    rvsp = TaskAnswer(
        name="rvsp", unit="mmHg", value=41.0, interval=Interval(30.0, 52.0, 0.9, 24), loops=shares,
        abstention=None, detail="",
    )  # fmt: skip
    write_answer(replace(answer, tasks=(rvsp,)), tmp_path)
    page = (tmp_path / HTML).read_text()
    assert page.index('href="#loop-2"') < page.index('href="#loop-1"')
    assert "30 to 52 mmHg" in page and "24 patients calibrated" in page
