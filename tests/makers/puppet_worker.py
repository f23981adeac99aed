"""A worker whose model is made up: what it does with a folder is the word that a file of it holds. All else
is the real worker's."""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType, SimpleNamespace

from echojepa.answer import worker
from echojepa.answer.worker import Answered, WorkerSettings
from echojepa.errors import UserError

HERE = str(Path(__file__).parent)
MAIN = f"import sys; sys.path.insert(0, {HERE!r}); import puppet_worker; puppet_worker.main"
ONE = Answered(1, 1, 1, 1, 0)


def load_model(path: Path) -> SimpleNamespace:
    """A model of no kind; UserError where its file is missing."""
    if not path.exists():
        raise UserError("no such model")
    return SimpleNamespace(
        facts=SimpleNamespace(name="m", sha256="0", synthetic="all"), card=SimpleNamespace(tasks=())
    )


def answer_folder(
    inbox: Path, out: Path, models: object, settings: WorkerSettings, pipe: Connection
) -> Answered:
    """Do what the folder's files say."""
    word = b" ".join(path.read_bytes() for path in inbox.iterdir())
    if word == b"deadly":
        os._exit(3)
    if word == b"endless":
        time.sleep(600)
    if word == b"hungry":
        bytearray(4 << 30)  # never touched, so never there
    (out / "1").mkdir(parents=True)
    if word == b"last":
        pipe.send(ONE)
        os._exit(0)
    return ONE


def main(descriptor: int) -> None:
    """Work over the pipe of this number."""
    sys.modules["echojepa.answer.model"] = fake = ModuleType("model")
    fake.load_model = load_model  # pyright: ignore[reportAttributeAccessIssue]
    worker.answer_folder = answer_folder  # pyright: ignore[reportAttributeAccessIssue]
    worker.main(descriptor)
