"""One process that answers, apart from the one that listens: it holds the model, and may die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echojepa.errors import UserError
from echojepa.progress import quiet

if TYPE_CHECKING:
    from echojepa.answer.model import Model


class AnswerFailed(UserError):
    """A study got no answer, not even one that says why; the text is a word, and names nobody."""


@dataclass(frozen=True)
class Outcome:
    """What an answer came to."""

    answered: int
    """Tasks with a value."""
    tasks: int
    loops: int
    unused: int
    """Files that became no loop."""


def answer_folder(inbox: Path, out: Path, model: Model, workers: int) -> Outcome:
    """Answer for a study's files and write what `predict --dicom` writes."""
    from echojepa.answer.predict import answers
    from echojepa.answer.writing.output import places_of, write_answer

    told = []
    for answer, folder in places_of(answers([inbox], model, quiet, workers), out):
        write_answer(answer, folder, dicom=True)
        values = sum(task.value is not None for task in answer.tasks)
        told.append((values, len(answer.tasks), len(answer.loops), len(answer.unused)))
    return Outcome(*(sum(column) for column in zip(*told, strict=True)))


class AnsweringProcess:
    """The process. Called with a study's folder and one to write; another takes its place when it dies."""

    def __init__(self, model: Path, workers: int) -> None:
        """Start it; UserError where the model does not load."""
        self._settings = (model, workers)
        self._closed = False
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: Any = context.Process(target=serve_answers, args=(theirs, *self._settings))
        self._process.start()
        theirs.close()
        try:
            loaded = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            raise UserError(
                "the process that answers ended while it loaded the model; is there memory?"
            ) from None
        if loaded:
            raise UserError(loaded)

    def __call__(self, inbox: Path, out: Path) -> Outcome:
        """The outcome; AnswerFailed where it failed, or the process died over it."""
        if self._closed:
            raise AnswerFailed("it was ended")
        if not self._process.is_alive():
            try:
                self._start()
            except UserError:
                raise AnswerFailed("the model no longer loads") from None
        try:
            self._pipe.send((inbox, out))
            result = self._pipe.recv()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self._process.join()
            raise AnswerFailed("its process died") from None
        if isinstance(result, str):
            raise AnswerFailed(result)
        return result

    def close(self) -> None:
        """End it; an answer under way fails."""
        self._closed = True
        self._process.kill()
        self._process.join()


def serve_answers(pipe: Connection, path: Path, workers: int) -> None:
    """Load a model, send "" or what is wrong with it; then answer until the listener is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the listener ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
    from echojepa.answer.model import load_model
    from echojepa.answer.writing.structured_report import check_installed

    try:
        check_installed()
        model = load_model(path)
    except UserError as error:
        pipe.send(str(error))
        return
    pipe.send("")
    while True:
        try:
            inbox, out = pipe.recv()
        except EOFError:
            return
        try:
            result: Outcome | str = answer_folder(inbox, out, model, workers)
        except Exception as error:  # noqa: BLE001 - one study must not stop the others
            result = type(error).__name__
        pipe.send(result)


def end_with_parent() -> None:
    """End this process with the listener, even one that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
