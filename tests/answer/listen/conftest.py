"""A listener, whoever sends to it, and an archive: all in this process, on free ports."""

from __future__ import annotations

import json
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydicom
import pynetdicom
import pytest
from pynetdicom import evt

from echojepa.answer.model import Model
from echojepa.answer.worker import Answered, Unanswered, WorkerSettings, answer_folder
from echojepa.config import ListenConfig
from echojepa.listen.receiving import send_at_once
from echojepa.listen.service import Listener

QUIET = 60.0
SECONDS = 60
"""How long a test waits for what must come, in real time."""


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Canned:
    """Answers every folder with the same files, or fails; remembers what was asked."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.asked: list[list[str]] = []
        self.fails = False
        self.meanwhile: Callable[[], object] = lambda: None

    def answer(self, inbox: Path, out: Path, tell: object, given_up: object) -> Answered | Unanswered:
        self.asked.append(sorted(path.name for path in inbox.iterdir()))
        self.meanwhile()
        if self.fails:
            return Unanswered("it is broken")
        shutil.copytree(self.results, out / "1")
        return Answered(1, 1, 1, 3, 0)


class ByModel:
    """Answers in this process."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def answer(self, inbox: Path, out: Path, tell: object, given_up: object) -> Answered:
        settings, deaf = WorkerSettings(Path(), 1, 0, dicom=True), SimpleNamespace(send=lambda step: None)
        return answer_folder(inbox, out, [self.model], settings, deaf)  # pyright: ignore[reportArgumentType]


class Archive:
    """An archive that keeps what it is sent; `refuses` is the status of the next instances, if any."""

    def __init__(self) -> None:
        self.got: queue.Queue[pydicom.Dataset] = queue.Queue()
        self.port = 0

    @contextmanager
    def at(self, port: int = 0) -> Iterator[Archive]:
        node = pynetdicom.AE("ARCHIVE")
        node.supported_contexts = pynetdicom.AllStoragePresentationContexts

        def store(event: evt.Event) -> int:
            self.got.put(event.dataset)
            return 0

        server = node.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            server.shutdown()
            node.shutdown()

    def next(self) -> pydicom.Dataset:
        """What comes next; fails where nothing does."""
        return self.got.get(timeout=SECONDS)


@contextmanager
def called(port: int, calling: str = "SCANNER", title: str = "ECHOJEPA") -> Iterator[pynetdicom.Association]:
    """An association as a scanner opens it."""
    node = pynetdicom.AE(calling)
    node.add_requested_context("1.2.840.10008.1.1")
    for storage in ("UltrasoundMultiFrameImageStorage", "UltrasoundImageStorage", "ComprehensiveSRStorage"):
        for syntax in (pydicom.uid.JPEGBaseline8Bit, pydicom.uid.ExplicitVRLittleEndian):
            node.add_requested_context(getattr(pydicom.uid, storage), syntax)
    opened = [(evt.EVT_CONN_OPEN, send_at_once)]
    link = node.associate("127.0.0.1", port, ae_title=title, evt_handlers=opened)
    yield link
    if link.is_established:
        link.release()


def sent(port: int, files: Sequence[Path]) -> list[int]:
    """The status of each file."""
    with called(port) as link:
        return [link.send_c_store(path).Status for path in files]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def canned(written: Path) -> Canned:
    return Canned(written)


@pytest.fixture
def settings(tmp_path: Path) -> ListenConfig:
    return ListenConfig(tmp_path / "out", Path("model"), quiet=QUIET, port=0, workers=1)


@pytest.fixture
def listener(settings: ListenConfig, canned: Canned, clock: Clock) -> Iterator[Callable[..., Listener]]:
    """A listener with other settings: it works when told, and nothing waits. A new one on the same folder
    ends the one before, as a crash does: nothing is tidied up."""
    made: list[Listener] = []

    def make(
        send: Callable[[Sequence[Path]], None] | None = None, answerer: Any = canned, **other: object
    ) -> Listener:
        for one in made:
            one.studies.close()
        made.append(Listener(replace(settings, **other), answerer, send, lambda line: None, clock))  # pyright: ignore
        return made[-1]

    yield make
    for one in made:
        one.studies.close()


@pytest.fixture
def open_listener(settings: ListenConfig, canned: Canned) -> Callable[..., AbstractContextManager[Listener]]:
    """A listener that works by itself."""

    @contextmanager
    def opened(answerer: object = canned, send: object = None, **other: object) -> Iterator[Listener]:
        made = Listener(replace(settings, **other), answerer, send, lambda line: None)  # pyright: ignore
        with made as entered:
            yield entered

    return opened


def steps(out: Path) -> list[str]:
    """The audit's steps."""
    return [json.loads(line)["step"] for line in (out / "audit.jsonl").read_text().splitlines()]


def wait_for(out: Path, step: str) -> None:
    """Until the audit says that it was taken; fails where it never is."""
    for _ in range(SECONDS * 20):
        if step in steps(out):
            return
        threading.Event().wait(0.05)
    pytest.fail(f"never {step}: {steps(out)}")
