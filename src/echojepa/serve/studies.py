"""An answered study on disk: what `predict` writes, and a film of each loop for the page."""

from __future__ import annotations

from pathlib import Path

from echojepa.answer.values import StudyAnswer
from echojepa.answer.writing.films import LoopFilm, films_of
from echojepa.answer.writing.output import write_answer
from echojepa.files.records import decode_plain, read_plain, read_record, write_record

INPUT, SCRATCH, STUDIES = "input", "scratch", "studies"
"""Within the folder of what was sent in: uploaded files, where zips are unpacked, answered studies."""
FILMS, POSTERS = "films", "posters.json"


def write_study(answer: StudyAnswer, folder: Path, dicom: bool) -> None:
    """Write an answer and its films."""
    films = films_of(answer)
    write_answer(answer, folder, dicom=dicom, films=films)
    (folder / FILMS).mkdir()
    for loop, film in films.items():
        write_record(film_file(folder, loop), film)
    write_record(folder / FILMS / POSTERS, {str(loop): film.middle for loop, film in films.items()})


def film_file(folder: Path, loop: int) -> Path:
    """Where the film of a loop is."""
    return folder / FILMS / f"{loop}.json"


def posters_of(folder: Path) -> dict[int, LoopFilm]:
    """The picture that stands for each loop, by its number."""
    plain = read_plain(folder / FILMS / POSTERS)
    return {int(loop): decode_plain(LoopFilm, film) for loop, film in plain.items()}


def whole_films(folder: Path) -> dict[int, LoopFilm]:
    """The film of each loop, by its number."""
    return {loop: read_record(LoopFilm, film_file(folder, loop)) for loop in posters_of(folder)}
