"""The process that holds the model and answers one study after the other.

It speaks over a pipe with the server alone, has a bound on its memory, and writes nothing to a terminal: what
libraries print may quote a file. It ends with its server, and with it all processes that it started.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import traceback
import zipfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from echojepa.errors import UserError
from echojepa.processes.workers import bound_memory
from echojepa.serve.studies import INPUT, SCRATCH, STUDIES, write_study

if TYPE_CHECKING:
    from echojepa.answer.model import Model


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told first."""

    model: Path
    workers: int
    memory: int
    """Bytes beyond the loaded model."""
    most_files: int
    most_bytes: int
    """Of a zip when unpacked."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""

    name: str
    sha256: str
    synthetic: str
    tasks: tuple[str, ...]


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


@dataclass(frozen=True)
class Unanswered:
    """Why there is none, in a sentence."""

    sentence: str


DOING = {"files read": "reading files", "clips through the encoder": "looking at loops"}


def work(pipe: Connection) -> None:
    """Load the model, then answer folders until the server is gone."""
    settings: WorkerSettings = pipe.recv()
    from echojepa.answer.model import load_model

    try:
        model = load_model(settings.model)
    except (UserError, OSError) as error:
        pipe.send(Unanswered(str(error)))
        return
    facts = model.facts
    tasks = tuple(part.task.name for part in model.card.tasks)
    pipe.send(Ready(facts.name, facts.sha256, facts.synthetic, tasks))
    bound_memory(settings.memory)
    while True:
        folder: Path = pipe.recv()
        pipe.send(Step(0, 0, "starting"))  # whose sender ends before has not touched the folder
        pipe.send(outcome(folder, model, settings, pipe))


def outcome(folder: Path, model: Model, settings: WorkerSettings, pipe: Connection) -> Answered | Unanswered:
    """What became of a study; whatever is in it, the worker goes on."""
    try:
        return Answered(answer_folder(folder, model, settings, pipe))
    except MemoryError:
        return Unanswered(f"it needs more than the {settings.memory >> 20} MB that a study may take")
    except UserError as error:
        return Unanswered(str(error).replace(str(folder / INPUT), "the study"))
    except Exception as error:  # noqa: BLE001 - one study's fault is not the others'
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Unanswered(
            f"it could not be answered ({type(error).__name__} in {Path(where.filename).stem}, "
            f"line {where.lineno}); try its files in smaller parts"
        )


def answer_folder(folder: Path, model: Model, settings: WorkerSettings, pipe: Connection) -> int:
    """Answer what was uploaded and write it; how many studies it was."""
    from echojepa.answer.predict import answers

    def tell(done: int, total: int, note: str = "") -> None:
        pipe.send(Step(done, total, DOING[note]))

    (folder / SCRATCH).mkdir()
    number, dicom = 0, importlib.util.find_spec("highdicom") is not None
    for answer in answers(inputs_of(folder, settings), model, tell, settings.workers, folder / SCRATCH):
        number = answer.number
        pipe.send(Step(number - 1, number, "writing the answer"))
        write_study(answer, folder / STUDIES / str(number), dicom)
    return number


def inputs_of(folder: Path, settings: WorkerSettings) -> list[Path]:
    """What `answers` is given: the files that are no zip as one folder, then each zip.

    UserError for a zip that holds more than a study may."""
    uploaded = sorted((folder / INPUT).iterdir())
    zips = [path for path in uploaded if zipfile.is_zipfile(path)]
    for number, path in enumerate(zips, start=1):
        check_zip(path, settings)
        path.rename(folder / SCRATCH / f"{number}.zip")
    moved = [folder / SCRATCH / f"{number}.zip" for number in range(1, len(zips) + 1)]
    return ([folder / INPUT] if len(zips) < len(uploaded) else []) + moved


def check_zip(path: Path, settings: WorkerSettings) -> None:
    """UserError for a zip that says that it is too large; a damaged one is left to its reader."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, EOFError):
        return
    size = sum(entry.file_size for entry in entries)
    if len(entries) > settings.most_files or size > settings.most_bytes:
        raise UserError(
            f"the zip holds {len(entries)} files of {size / 1e6:.0f} MB; a study may have "
            f"{settings.most_files} files of {settings.most_bytes / 1e6:.0f} MB"
        )


def main(descriptor: int) -> None:
    """Work over the pipe of this number."""
    os.set_inheritable(descriptor, False)
    try:
        work(Connection(descriptor))
    except EOFError:  # there is no more to do
        return
    except (BrokenPipeError, ConnectionResetError):
        os.killpg(0, signal.SIGKILL)  # the server is gone in the midst of it, and so is all that works for it
