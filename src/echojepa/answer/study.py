"""From files to studies: each file is read as ingest reads it, in a process with limits, and waits on the
disk for its study's turn, so that an archive of any size needs the memory of one study.

Loops are of one study by their StudyInstanceUID; videos by their folder. Pseudonyms are made with a key that
is thrown away, so that nothing that is written depends on an identifier.
"""

from __future__ import annotations

import os
import pickle
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echojepa.answer.gathering import Gathered
from echojepa.answer.model import ModelCard
from echojepa.answer.values import UnusedFile
from echojepa.config import InputSpec
from echojepa.data.clips.scale import NO_SCALE
from echojepa.data.ingest.convert import ConvertedLoop, Job, Refused
from echojepa.data.ingest.ingest import convert_here
from echojepa.data.reading.dicom.reader import header_of
from echojepa.data.reading.rejection import Rejected
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.rows import StoredLoop
from echojepa.errors import UserError
from echojepa.progress import Progress, quiet
from echojepa.vocabulary import Kind, Reason

STRIPS = {
    Kind.STILL: "a single frame: nothing moves",
    Kind.DOPPLER: "a Doppler strip has no moving image",
    Kind.MMODE: "an M-mode strip has no moving image",
}
"""What is said of files that came in and are no cine."""
NO_CINE = "not a cine loop"


@dataclass(frozen=True)
class ReadLoop:
    """A cine loop in memory."""

    file: int
    row: StoredLoop
    withheld: bool
    """Whether still text was found in it, so that its picture is not shown."""
    header: Any
    """Its DICOM attributes; None for a video."""


@dataclass(frozen=True)
class ReadStudy:
    """One study."""

    number: int
    loops: tuple[ReadLoop, ...]
    unused: tuple[UnusedFile, ...]

    @property
    def files(self) -> int:
        """Files of it."""
        return len(self.loops) + len(self.unused)

    @property
    def timeless(self) -> int:
        """Files that were refused because nothing says when their frames are."""
        return sum(file.reason == Reason.NO_TIME for file in self.unused)


class Shelf:
    """A file without a name, gone when the process is, that holds what waits."""

    def __init__(self, folder: Path | None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as the shelf

    def put(self, thing: Any) -> tuple[int, int]:
        """Where it lies, and its size; UserError where there is no room."""
        data = pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
        place = self.file.seek(0, os.SEEK_END)
        try:
            self.file.write(data)
            self.file.flush()
        except OSError as error:
            raise UserError(
                f"loops that wait for their study's turn cannot be kept ({error.strerror}); set TMPDIR to a "
                "folder with more space, or give fewer studies at once"
            ) from error
        return place, len(data)

    def get(self, where: tuple[int, int]) -> Any:
        """What lies there."""
        self.file.seek(where[0])
        return pickle.loads(self.file.read(where[1]))


@dataclass(frozen=True)
class Shelved:
    """What must be known of a file to find its study and what it is, while the rest is on the shelf."""

    study_id: str
    kind: str
    loop_id: str
    pixel_sha256: str
    where: tuple[int, int]
    """Its row and, of a cine, its header."""


@dataclass(frozen=True)
class WaitingStudy:
    """A study whose loops, (file, shelved), are on the shelf."""

    number: int
    loops: tuple[tuple[int, Shelved], ...]
    unused: tuple[UnusedFile, ...]


def read_studies(
    given: Gathered, card: ModelCard, progress: Progress, workers: int = 0, scratch: Path | None = None
) -> Iterator[ReadStudy]:
    """Every study of the input; one without loops where no file came in.

    All files are read at once; each study is then in memory for as long as its turn lasts. `scratch`: a
    folder for what waits, where it is not the system's.
    """
    key, shelf = secrets.token_bytes(32), Shelf(scratch)
    jobs = [
        Job(path, str(place), key, "", card.max_side, cleared=False, lossless=card.lossless)
        for place, path in given.files.items()
    ]
    results = converted(jobs, shelf, progress, workers)
    held = {
        place: replace(job, cleared=True)
        for place, (job, result) in enumerate(zip(jobs, results, strict=True))
        if isinstance(result, Refused) and result.why.reason == Reason.HELD_TEXT  # it may show a name
    }
    again = converted([*held.values()], shelf, quiet, workers)
    for place, result in zip(held, again, strict=True):
        results[place] = result
    withheld = {int(job.file_id) for job in held.values()}
    return taken(shelf, grouped(given, results), withheld)


def taken(shelf: Shelf, studies: Sequence[WaitingStudy], withheld: set[int]) -> Iterator[ReadStudy]:
    """Studies off the shelf, one at a time."""
    with shelf.file:
        for study in studies:
            read = ((file, *shelf.get(loop.where)) for file, loop in study.loops)
            loops = tuple(ReadLoop(file, row, file in withheld, header) for file, row, header in read)
            yield ReadStudy(study.number, loops, study.unused)


def stored_study(store: LoopStore, rows: Sequence[int]) -> ReadStudy:
    """A study of a data set, as `read_studies` gives those of files; `file` is a loop's row, 1 the first."""
    return ReadStudy(1, tuple(ReadLoop(row + 1, store.row(row), False, None) for row in rows), ())


def shown_to(spec: InputSpec, study: ReadStudy) -> ReadStudy:
    """The study with loops that a model can be shown; for one fed by mm, those without scale are not used."""
    if spec.mm is None:
        return study
    detail = "the model needs millimetres, and the file does not state the size of a pixel"
    scaled: list[ReadLoop] = []
    unused = list(study.unused)
    for loop in study.loops:
        if loop.row.pixel_height_mm and loop.row.pixel_width_mm:
            scaled.append(loop)
        else:
            unused.append(UnusedFile(loop.file, NO_SCALE, detail))
    return replace(study, loops=tuple(scaled), unused=tuple(sorted(unused, key=lambda one: one.file)))


def converted(jobs: Sequence[Job], shelf: Shelf, progress: Progress, workers: int) -> list[Shelved | Refused]:
    """Results of jobs in order, loops on the shelf; calls progress(files, all files, note)."""
    results: list[Shelved | Refused] = []
    for job, result in zip(jobs, convert_here(jobs, workers) if jobs else (), strict=True):
        results.append(result if isinstance(result, Refused) else shelved(shelf, job, result))
        progress(len(results), len(jobs), "files read")
    return results


def shelved(shelf: Shelf, job: Job, loop: ConvertedLoop) -> Shelved | Refused:
    """A file that came in, put on the shelf; Refused where it is gone by now, and its header with it."""
    try:
        header = header_of(job.path) if loop.kind == Kind.CINE else None
    except (OSError, ValueError):  # ValueError: it is empty by now
        why = Rejected(Reason.UNREADABLE, "it was removed or emptied while the study was read")
        return Refused(job.file_id, why, ids=(loop.patient_id, loop.study_id))
    return Shelved(loop.study_id, loop.kind, loop.loop_id, loop.pixel_sha256, shelf.put((loop, header)))


def study_of(result: Shelved | Refused) -> str:
    """The pseudonym of a file's study; "" where it does not say."""
    if isinstance(result, Refused):
        return result.ids[1] if len(result.ids) > 1 else ""
    return result.study_id


def grouped(given: Gathered, results: Sequence[Shelved | Refused]) -> list[WaitingStudy]:
    """Studies in the order of their first files. A file that names no study goes with most files of its
    folder, else with the first study."""
    owners = dict(zip(given.files, map(study_of, results), strict=True))
    by_folder: dict[Path, Counter[str]] = {}
    for place, path in given.files.items():
        by_folder.setdefault(path.parent, Counter())[owners[place]] += owners[place] != ""
    names = list(dict.fromkeys(owner for owner in owners.values() if owner)) or [""]
    loops: dict[str, list[tuple[int, Shelved]]] = {name: [] for name in names}
    unused: dict[str, list[UnusedFile]] = {name: [] for name in names}
    seen: set[str] = set()
    for (place, path), result in zip(given.files.items(), results, strict=True):
        likeliest = by_folder[path.parent].most_common(1)[0]
        owner = owners[place] or (likeliest[0] if likeliest[1] else names[0])
        why = why_unused(result, seen)
        if why:
            unused[owner].append(UnusedFile(place, *why))
        elif isinstance(result, Shelved):
            loops[owner].append((place, result))
    unused[names[0]] += given.unused
    return [
        WaitingStudy(number, tuple(loops[name]), tuple(sorted(unused[name], key=lambda file: file.file)))
        for number, name in enumerate(names, start=1)
    ]


def why_unused(result: Shelved | Refused, seen: set[str]) -> tuple[str, str] | None:
    """Reason and detail of a file that is no cine loop, or one `seen` before; None for a loop, seen now."""
    if isinstance(result, Refused):
        return result.why.reason.value, result.why.detail
    if result.kind != Kind.CINE:
        return NO_CINE, STRIPS[Kind(result.kind)]
    if result.loop_id in seen or result.pixel_sha256 in seen:
        return Reason.DUPLICATE.value, ""
    seen |= {result.loop_id, result.pixel_sha256}
    return None
