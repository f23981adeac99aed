"""MIMIC-IV-ECHO (PhysioNet) v0.1 and v1.0: DICOM files, named by a table, and measurements in long form.

v1.0 adds `structured-measurement.csv.gz`; its rows reach a study by the `measurement_id` in
`echo-study-list.csv`. Tables may be gzipped or not.
"""

from __future__ import annotations

import re
from pathlib import Path

from echojepa.config import IngestConfig
from echojepa.data.importers.listing import PLAUSIBLE, LayoutError, Listing, Stated
from echojepa.files.tables import identity, read_rows

UNITS = {
    "lvef": "%", "av_pk_vel": "m/s", "av_mean_grad": "mmHg", "av_area_continuity": "cm2", "lvot_vti": "cm",
    "lvot_diam": "cm", "resting_hr": "bpm", "height_cm": "cm",
}  # fmt: skip
"""Measurements that are known, and their unit; one in another unit is left out."""
RANGES = {
    "av_pk_vel": (0.2, 8), "av_mean_grad": (0.1, 150), "av_area_continuity": (0.1, 8), "lvot_vti": (2, 60),
    "lvot_diam": (0.8, 4), "resting_hr": (20, 250), "height_cm": (20, 250),
}  # fmt: skip
"""Values of them that are kept; LVEF by its task's own range. Others have none."""
SPELLINGS = {"cm^2": "cm2", "cm²": "cm2", "mm hg": "mmhg", "beats/min": "bpm", "m/sec": "m/s"}
NUMBER = r"\d+(?:\.\d+)?"
ALONE = re.compile(rf"(-?{NUMBER})\s*[a-z%/²^0-9]*", re.IGNORECASE)
SPAN = re.compile(rf"({NUMBER})\s*(?:-|to)\s*({NUMBER})\s*%?", re.IGNORECASE)


def read_mimic(folder: Path, config: IngestConfig) -> Listing:
    """`echo-record-list.csv` names the files; measurements become labels of their studies.

    There is no official split. LayoutError without the table of records.
    """
    listing = Listing(plausible=PLAUSIBLE | RANGES)
    for row in read_rows(table_in(folder, "echo-record-list"), ("subject_id", "study_id", "dicom_filepath")):
        person, study = (f"mimic-iv-echo/{identity(row[name])}" for name in ("subject_id", "study_id"))
        listing.add_video(folder / row["dicom_filepath"], Stated(patient=person, study=study))
    if has_table(folder, "structured-measurement"):
        add_measurements(listing, folder)
    return listing


def has_table(folder: Path, name: str) -> bool:
    """Whether a table is there, gzipped or not."""
    return any((folder / f"{name}{ending}").is_file() for ending in (".csv", ".csv.gz"))


def table_in(folder: Path, name: str) -> Path:
    """A table, gzipped or not; LayoutError where it is not there."""
    if not has_table(folder, name):
        raise LayoutError(
            f"{folder} has no {name}.csv or {name}.csv.gz; give the folder that contains files/"
        )
    plain = folder / f"{name}.csv"
    return plain if plain.is_file() else plain.with_suffix(".csv.gz")


def add_measurements(listing: Listing, folder: Path) -> None:
    """Labels of the studies that are here, from measurements that are numbers in their unit and range."""
    here = {stated.study for stated in listing.videos.values()}
    studies = {
        identity(row["measurement_id"]): f"mimic-iv-echo/{identity(row['study_id'])}"
        for row in read_rows(table_in(folder, "echo-study-list"), ("study_id", "measurement_id"))
        if row["measurement_id"]
    }
    units, elsewhere = dict(UNITS), set[str]()
    needed = ("measurement_id", "measurement", "result", "unit")
    for row in read_rows(table_in(folder, "structured-measurement"), needed):
        study, label = studies.get(identity(row["measurement_id"])), row["measurement"]
        if study not in here or study is None:
            elsewhere.add(row["measurement_id"])
            continue
        unit = units.setdefault(label, row["unit"])
        value = measured(row["result"])
        if value is None and row["result"]:
            listing.leave_out("measurement whose result is no number", f"{study} {label}")
        elif row["unit"] and spelled(row["unit"]) != spelled(unit):
            listing.leave_out(f"{label}: in another unit than '{unit}'", study)
        else:
            listing.add_label(study, label, value, unit)
    for name in sorted(elsewhere):  # once each, not once a row: v1.0 measures 206,488 studies
        listing.leave_out("measured study without files here", name)


def spelled(unit: str) -> str:
    """A unit in one spelling, for comparing."""
    lower = unit.strip().lower()
    return SPELLINGS.get(lower, lower)


def measured(text: str) -> float | None:
    """The number that a result states: "55", "55 %", "1.2 m/s", or the middle of "55-60".

    None for words and for bounds such as "> 75": the value is not known.
    """
    stripped = text.strip()
    if found := SPAN.fullmatch(stripped):
        return (float(found[1]) + float(found[2])) / 2
    found = ALONE.fullmatch(stripped)
    return float(found[1]) if found else None
