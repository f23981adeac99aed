"""Where answers are written: one folder a study, nothing overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from echojepa.answer.values import StudyAnswer
from echojepa.answer.writing.document import document_of, table_rows
from echojepa.answer.writing.films import LoopFilm, films_of
from echojepa.answer.writing.page import write_answer_page
from echojepa.errors import UserError
from echojepa.files.records import write_record
from echojepa.files.tables import write_csv

JSON, CSV, HTML = "prediction.json", "prediction.csv", "prediction.html"


def check_writable(out: Path, dicom: bool) -> None:
    """UserError for a folder that holds something, and where DICOM is asked for without highdicom."""
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out} is not empty; give a new folder")
    if dicom:
        from echojepa.answer.writing.structured_report import check_installed

        check_installed()


def places_of(answers: Iterator[StudyAnswer], out: Path) -> Iterator[tuple[StudyAnswer, Path]]:
    """Each answer with its folder: `out` itself for a single study, else one in it by the study's number."""
    first = list(islice(answers, 2))
    for answer in chain(first, answers):
        yield answer, out if len(first) == 1 else out / f"study-{answer.number}"


def write_answer(
    answer: StudyAnswer, folder: Path, *, dicom: bool = False, films: Mapping[int, LoopFilm] | None = None
) -> list[Path]:
    """Write JSON, CSV and page, with `dicom` the SR and key image, and return what was written.

    `films`: those of all loops, where they were made before.

    No DICOM object is written of a study without an answer, or without a DICOM file: there is nothing to say,
    or nowhere to send it. UserError where highdicom is needed and not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = write_document(document_of(answer), films_of(answer) if films is None else films, folder)
    if dicom:
        from echojepa.answer.writing.structured_report import write_dicom_objects

        written += write_dicom_objects(answer, folder)
    return written


def write_document(document: dict[str, Any], films: Mapping[int, LoopFilm], folder: Path) -> list[Path]:
    """Write JSON, CSV and page of what `prediction.json` holds, over those that are there; their paths."""
    write_record(folder / JSON, document)
    write_csv(folder / CSV, table_rows(document))
    return [folder / JSON, folder / CSV, write_answer_page(document, films, folder / HTML)]
