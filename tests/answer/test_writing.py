"""What an answer is written as: valid, the same twice, naming nobody but where it goes back."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pydicom
import pytest
from identifiers import ATTRIBUTES, PlantedStudy
from programs import program

from echojepa.answer.model import Model
from echojepa.answer.predict import predict
from echojepa.answer.values import NOTICE, Interval, LoopShare, StudyAnswer, TaskAnswer
from echojepa.answer.writing.document import document_of, schema
from echojepa.answer.writing.output import CSV, HTML, JSON, places_of, write_answer
from echojepa.answer.writing.page import side_by_side
from echojepa.answer.writing.structured_report import KEY_IMAGE, REPORT
from echojepa.cli import main
from echojepa.data.reading.dicom.reader import header_of
from echojepa.errors import UserError

from .conftest import Made


@pytest.fixture(scope="module")
def answer(planted: PlantedStudy, model: Model) -> StudyAnswer:
    (answer,) = predict(planted.folder, model, workers=1)
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


def test_two_answers_side_by_side_say_both_values_and_by_how_much_they_differ(answer: StudyAnswer) -> None:
    task = answer.task("lvef")
    assert task.value is not None
    other = replace(answer, tasks=(replace(task, value=task.value + 3),))
    pressure = replace(answer, tasks=(replace(task, name="rvsp", unit="mmHg"),))
    first, second, third = (document_of(one) for one in (answer, other, pressure))
    (line,) = side_by_side(first, second)
    assert line["title"] == "Left ventricular ejection fraction" and line["difference"] == "+3 points"
    assert line["said"][0].startswith(f"{task.value:.0f} % (")
    lvef, rvsp = side_by_side(first, third)
    assert lvef["said"][1] == rvsp["said"][0] == "does not say" and lvef["difference"] == ""
    assert side_by_side(third, third)[0]["difference"] == "+0 mmHg"


def test_the_table_has_a_row_a_task(out: Path, answer: StudyAnswer) -> None:
    with (out / CSV).open(newline="") as file:
        (row,) = csv.DictReader(file)
    task = answer.task("lvef")
    assert task.interval is not None
    assert float(row["value"]) == pytest.approx(task.value, rel=1e-5)
    assert (row["task"], row["unit"], row["notice"]) == ("lvef", "%", NOTICE)
    assert float(row["low"]) == pytest.approx(task.interval.low, rel=1e-5)


def test_forty_kinds_of_identifiers_stand_in_the_study_that_is_asked_about(planted: PlantedStudy) -> None:
    held = [path.read_bytes().decode("latin-1") for path in planted.folder.iterdir()]
    assert len(set(planted.words)) == len(planted.words) >= 40
    assert planted.told_in([*held, *map(str, planted.files)]) == ["SECRET", *planted.words]


def test_no_identifier_is_in_any_output_but_what_goes_back(
    planted: PlantedStudy,
    made: Made,
    out: Path,
    answer: StudyAnswer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Attributes, UIDs, paths, text of a file that is none: not in JSON, CSV, page, `repr` or terminal."""
    command = ["predict", str(planted.folder), "--model", str(made.model), "--out", str(tmp_path / "o")]
    assert main([*command, "--workers", "1"]) == 0
    said = capsys.readouterr()
    texts = [(out / name).read_text() for name in (JSON, CSV, HTML)]
    places = [str(path.relative_to(folder)) for folder in (out, tmp_path) for path in folder.rglob("*")]
    assert not planted.told_in([*texts, *places, said.out, said.err, caplog.text, repr(answer)])
    assert NOTICE in said.out


def test_the_same_study_and_model_give_the_same_bytes(
    planted: PlantedStudy, model: Model, out: Path, tmp_path: Path
) -> None:
    (again,) = predict(planted.folder, model, workers=1)
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


def test_an_attribute_that_does_not_parse_is_left_out_of_what_goes_back(
    answer: StudyAnswer, planted: PlantedStudy, tmp_path: Path
) -> None:
    """Here one of a kind of value that there is not; the rest of its patient goes back."""
    kind = b"\x10\x00\x00\x40LT"
    content = planted.files[0].read_bytes()
    assert content.count(kind) == 1, "the patient's comments"
    header = header_of(content.replace(kind, kind[:4] + b"ZZ"))
    assert header is not None and "PatientComments" not in header
    loops = tuple(replace(loop, header=header) for loop in answer.loops)
    write_answer(replace(answer, loops=loops), tmp_path, dicom=True)
    report = pydicom.dcmread(tmp_path / REPORT)
    assert report.PatientID == ATTRIBUTES["PatientID"] and "PatientComments" not in report


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
    out: Path, answer: StudyAnswer, model: Model, planted: PlantedStudy
) -> None:
    from highdicom.sr import srread

    report = srread(out / REPORT)
    source = pydicom.dcmread(planted.files[0])
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
    assert model.sha256 in text and NOTICE in text and report.ContentDate == source.StudyDate
    ends = [item for item in value[0].ContentSequence if item.ValueType == "NUM"]
    assert [item.unit.value for item in ends] == ["%", "%"]
    assert task.interval is not None and task.value is not None
    assert ends[0].value == pytest.approx(task.interval.high - task.value, rel=1e-5)
    key = pydicom.dcmread(out / KEY_IMAGE)
    assert key.PatientID == source.PatientID and key.pixel_array.shape[2] == 3
    for name in (REPORT, KEY_IMAGE):
        assert (out / name).stat().st_mode & 0o077 == 0, "its owner alone reads it"


def test_the_report_is_one_that_dcmtk_reads(out: Path) -> None:
    command = [program("dcmtk", "dsr2html"), "+Cc", str(out / REPORT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for words in ("Ejection Fraction by US: ", "Source of Measurement", NOTICE):
        assert words in done.stdout
    assert not done.stderr


def test_a_video_has_no_report_to_go_back_anywhere(answer: StudyAnswer, tmp_path: Path) -> None:
    loops = tuple(replace(loop, header=None) for loop in answer.loops)
    assert len(write_answer(replace(answer, loops=loops), tmp_path, dicom=True)) == 3


def test_several_studies_have_a_folder_each_and_nothing_is_overwritten(
    answer: StudyAnswer, planted: PlantedStudy, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = [folder for _, folder in places_of(iter([answer, replace(answer, number=2)]), tmp_path)]
    assert two == [tmp_path / "study-1", tmp_path / "study-2"]
    assert [folder for _, folder in places_of(iter([answer]), tmp_path)] == [tmp_path]
    (tmp_path / "there").write_text("")
    command = ["predict", str(planted.folder), "--model", str(made.model), "--out", str(tmp_path)]
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
