"""Where answers are written: one folder a study, nothing overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from echojepa.answer.values import StudyAnswer
from echojepa.answer.writing.document import document_of, table_rows
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


def write_answer(answer: StudyAnswer, folder: Path, *, dicom: bool = False) -> list[Path]:
    """Write JSON, CSV and page, with `dicom` the SR and key image, and return what was written.

    No DICOM object is written of a study without an answer, or without a DICOM file: there is nothing to say,
    or nowhere to send it. UserError where highdicom is needed and not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / JSON, folder / CSV]
    write_record(written[0], document_of(answer))
    write_csv(written[1], table_rows(answer))
    written.append(write_answer_page(answer, folder / HTML))
    if dicom:
        from echojepa.answer.writing.structured_report import write_dicom_objects

        written += write_dicom_objects(answer, folder)
    return written
