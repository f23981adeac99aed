"""The process that holds the model and answers one folder after the other, for `serve` and `listen`.

It speaks over a pipe with who asks alone, has a bound on its memory, and writes nothing to a terminal: what
libraries print may quote a file. It ends with who asks, and with it all processes that it started.

    OUT/1/, OUT/2/ ...    an answered study each; by a second model, the same studies follow
        scratch/          what it needs meanwhile
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import threading
import traceback
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from echojepa.errors import UserError
from echojepa.processes.workers import bound_memory

if TYPE_CHECKING:
    from echojepa.answer.model import Model

SCRATCH = "scratch"


@dataclass(frozen=True)
class ZipLimits:
    """What the zips of a study may hold."""

    files: int
    bytes: int


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told first."""

    model: Path
    workers: int
    memory: int
    """Bytes beyond the loaded model."""
    dicom: bool
    """Whether the SR and the key image are written."""
    films: bool = False
    """Whether each loop's film is a file of its own, and so is one with attention laid over it."""
    beside: Path | None = None
    """A second model, that answers the same studies."""
    zips: ZipLimits | None = None
    """Where it is given, zips are unpacked up to it; else one is a file like any other."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""

    name: str
    sha256: str
    synthetic: str
    tasks: tuple[str, ...]
    beside: str | None = None
    """Name of the second model."""


@dataclass(frozen=True)
class Step:
    """What is being done."""

    done: int
    total: int
    doing: str


@dataclass(frozen=True)
class Answered:
    """All studies of a folder have their answers."""

    studies: int
    """By how many models ever: folders."""
    answered: int
    """Tasks with a value."""
    tasks: int
    loops: int
    unused: int
    """Files that became no loop."""


@dataclass(frozen=True)
class Unanswered:
    """Why there is none, in a sentence."""

    sentence: str


DOING = {"files read": "reading files", "clips through the encoder": "looking at loops"}


def work(pipe: Connection) -> None:
    """Load the model, then answer folders until it is told that there are no more."""
    settings: WorkerSettings = pipe.recv()
    from echojepa.answer.model import load_model

    try:
        if settings.dicom:
            from echojepa.answer.writing.structured_report import check_installed

            check_installed()
        models = [load_model(path) for path in (settings.model, settings.beside) if path]
    except (UserError, OSError) as error:
        pipe.send(Unanswered(str(error)))
        return
    facts, *others = (model.facts for model in models)
    tasks = tuple(part.task.name for part in models[0].card.tasks)
    beside = others[0].name if others else None
    pipe.send(Ready(facts.name, facts.sha256, facts.synthetic, tasks, beside))
    bound_memory(settings.memory)
    while folders := pipe.recv():
        inbox, out = folders
        pipe.send(Step(0, 0, "starting"))  # whose sender ends before has not touched the folder
        pipe.send(outcome(inbox, out, models, settings, pipe))


def outcome(
    inbox: Path, out: Path, models: Sequence[Model], settings: WorkerSettings, pipe: Connection
) -> Answered | Unanswered:
    """What became of a folder; whatever is in it, the worker goes on."""
    try:
        return answer_folder(inbox, out, models, settings, pipe)
    except MemoryError:
        return Unanswered(f"it needs more than the {settings.memory / 1e6:.0f} MB that a study may take")
    except UserError as error:
        return Unanswered(str(error).replace(str(inbox), "the study"))
    except Exception as error:  # noqa: BLE001 - one study's fault is not the others'
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Unanswered(
            f"it failed ({type(error).__name__} in {Path(where.filename).stem}, line {where.lineno}); try "
            "its files in smaller parts"
        )


def answer_folder(
    inbox: Path, out: Path, models: Sequence[Model], settings: WorkerSettings, pipe: Connection
) -> Answered:
    """Answer for the files of a folder, and write a folder a study; the SR is by the first model alone."""
    from echojepa.answer.predict import answers
    from echojepa.answer.writing.attention import attention_films
    from echojepa.answer.writing.films import films_of, write_attention, write_films
    from echojepa.answer.writing.output import write_answer

    def tell(done: int, total: int, note: str = "") -> None:
        pipe.send(Step(done, total, DOING[note]))

    scratch = out / SCRATCH
    scratch.mkdir(parents=True)
    inputs = inputs_of(inbox, scratch, settings.zips)
    told: list[tuple[int, int, int, int]] = []
    for model in models:
        for answer in answers(inputs, model, tell, settings.workers, scratch):
            pipe.send(Step(answer.number - 1, answer.number, "writing the answer"))
            films, place = films_of(answer), out / str(len(told) + 1)
            write_answer(answer, place, dicom=settings.dicom and model is models[0], films=films)
            if settings.films:
                write_films(films, place)
                write_attention(*attention_films(answer, model), place)
            values = sum(task.value is not None for task in answer.tasks)
            told.append((values, len(answer.tasks), len(answer.loops), len(answer.unused)))
    shutil.rmtree(scratch)
    return Answered(len(told), *(sum(column) for column in zip(*told, strict=True)))


def inputs_of(inbox: Path, scratch: Path, limits: ZipLimits | None) -> list[Path]:
    """The inputs for `answers`: first one folder with all files that are not zips, then each zip, moved out.

    UserError for zips that contain more than a study may."""
    if limits is None:
        return [inbox]
    files = sorted(inbox.iterdir())
    zips = [path for path in files if zipfile.is_zipfile(path)]
    check_zips(zips, limits)
    moved = [path.rename(scratch / f"{number}.zip") for number, path in enumerate(zips, start=1)]
    return ([inbox] if len(zips) < len(files) else []) + moved


def check_zips(zips: Sequence[Path], limits: ZipLimits) -> None:
    """UserError for zips that say that they are too large; a damaged one is left to its reader."""
    entries: list[zipfile.ZipInfo] = []
    for path in zips:
        with suppress(zipfile.BadZipFile, NotImplementedError, EOFError), zipfile.ZipFile(path) as archive:
            entries += archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if len(entries) > limits.files or size > limits.bytes:
        raise UserError(
            f"the zip has {len(entries)} files of {size / 1e6:.0f} MB; a study may have at most "
            f"{limits.files} files of {limits.bytes / 1e6:.0f} MB"
        )


def end_with(pipe: Connection) -> None:
    """End this process, and all that works for it, with who asks, even one that was killed."""
    watch = select.poll()
    watch.register(pipe.fileno(), 0)  # that it hangs up is told unasked
    watch.poll()
    os.killpg(0, signal.SIGKILL)


def main(descriptor: int) -> None:
    """Work over the pipe of this number."""
    os.set_inheritable(descriptor, False)
    pipe = Connection(descriptor)
    threading.Thread(target=end_with, args=(pipe,), daemon=True).start()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        work(pipe)
