"""Claims about MIMIC-IV-ECHO v0.1 and v1.0, on phantom DICOM files in its layout."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from echojepa.data.importers.listing import LayoutError
from echojepa.data.importers.mimic import measured
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.phantom.cohort.loops import one_loop
from echojepa.vocabulary import View

FILES = (("10002221", "94106955", 1), ("10002221", "94106955", 2), ("11000000", "95000000", 1))


def path_of(subject: str, study: str, number: int) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}/{study}_{number:04d}.dcm"


@pytest.fixture
def first_release(tmp_path, write_table) -> Path:
    """v0.1: two studies of two patients, and a row of a file that was not downloaded."""
    root = tmp_path / "mimic-iv-echo"
    for number, names in enumerate(FILES):
        # The DICOM header names somebody else in every file: the table must win.
        loop = one_loop(View.A4C, 0.15, ordinal=number).loop
        path = root / path_of(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_cine(path, loop, patient_name="x", study_date="20200101", transfer_syntax="explicit")
    gone = ("12000000", "96000000", 1)
    rows = [
        {"subject_id": n[0], "study_id": n[1], "acquisition_datetime": "", "dicom_filepath": path_of(*n)}
        for n in (*FILES, gone)
    ]
    write_table(root / "echo-record-list.csv", rows)
    return root


@pytest.fixture
def second_release(first_release, write_table) -> Path:
    """v1.0: the same with measurements, most of them odd."""
    rows = [
        {"study_id": "94106955", "study_datetime": "", "measurement_id": "m1"},
        {"study_id": "95000000", "study_datetime": "", "measurement_id": "m2"},
        {"study_id": "96000000", "study_datetime": "", "measurement_id": ""},
    ]
    write_table(first_release / "echo-study-list.csv", rows)
    measurements = [
        ("m1", "lvef", "55-60", "%"), ("m1", "av_pk_vel", "1.5 m/s", "m/sec"), ("m1", "gender", "F", ""),
        ("m1", "lvot_diam", "21", "cm"), ("m1", "av_area_continuity", "2.1", "cm^2"),
        ("m1", "la_dimension", "3.9", "cm"), ("m2", "lvef", "> 75", "%"), ("m2", "av_mean_grad", "", "mmHg"),
        ("m2", "av_pk_vel", "150", "cm/s"), ("m2", "lvef", "555", "%"), ("m3", "lvef", "50", "%"),
        ("m3", "height_cm", "150", "cm"),
    ]  # fmt: skip
    with gzip.open(first_release / "structured-measurement.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject_id", "measurement_id", "test_type", "measurement", "result", "unit"])
        writer.writerows(["1", m, "tte", name, result, unit] for m, name, result, unit in measurements)
    return first_release


def test_ids_are_the_tables_and_the_first_release_has_no_labels(first_release, bring_in) -> None:
    store, summary = bring_in("mimic-iv-echo", first_release)
    rows = store.metadata().to_pylist()
    assert [rows[0][c] == rows[1][c] for c in ("patient_id", "study_id", "split")] == [True] * 3
    assert rows[0]["patient_id"] != rows[2]["patient_id"]
    assert not store.mask(0).all()  # the screen is searched as in any archive
    assert store.labels().num_rows == 0
    assert summary.left_out == {"row whose file is missing": 1}


def test_measurements_are_labels_in_their_unit_and_range(second_release, bring_in, labels_by_study) -> None:
    store, summary = bring_in("mimic-iv-echo", second_release)
    one, again, two = labels_by_study(store)
    assert one == again == {
        "lvef": (57.5, "%"), "av_pk_vel": (1.5, "m/s"), "av_area_continuity": (2.1, "cm2"),
        "la_dimension": (3.9, "cm"),
    }  # fmt: skip
    assert two == {}
    assert summary.left_out == {
        "row whose file is missing": 1,
        "measurement whose result is no number": 2,
        "lvot_diam: outside 0.8 to 4 cm": 1,
        "av_pk_vel: in another unit than 'm/s'": 1,
        "lvef: outside 5 to 100 %": 1,
        "measured study without files here": 1,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("55", 55), (" 55 % ", 55), ("55%", 55), ("-18.5 %", -18.5), ("1.2 m/s", 1.2),
     ("55-60", 57.5), ("55 to 60 %", 57.5),
     (">75", None), ("normal", None), ("1 or 2", None), ("", None), ("nan", None), ("2.1 cm²", 2.1)],
)  # fmt: skip
def test_a_result_is_a_number_a_span_or_nothing(text: str, value: float | None) -> None:
    assert measured(text) == value


def test_a_folder_without_the_table_of_records_is_refused(tmp_path, bring_in) -> None:
    with pytest.raises(LayoutError, match="has no echo-record-list"):
        bring_in("mimic-iv-echo", tmp_path)
