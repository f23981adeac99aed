"""A server as people start it, with the tiny model; and one in this process whose answers are made up."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from echojepa.answer.worker import Answered, Ready, Step, Unanswered
from echojepa.serve.access import AccessRules
from echojepa.serve.app import build_app
from echojepa.serve.jobs import JobStore
from echojepa.serve.server import http_server
from echojepa.serve.service import ServedLimits, Service

from ..conftest import Made

STARTED = 120


@dataclass
class Live:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    out: Path
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, verify=False)


@pytest.fixture(scope="session")
def free_model(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder, which takes any loop."""
    folder = tmp_path_factory.mktemp("served") / "tiny"
    shutil.copytree(made.model, folder)
    card = json.loads((folder / "model.json").read_text())
    card["thresholds"] |= {"least_beats": 0.0, "most_distance": 1e9, "least_view_probability": 0.0}
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def started(model: Path, root: Path, *settings: str) -> Live:
    """`echojepa serve` in a process of its own, on a free port."""
    root.mkdir(exist_ok=True)
    log = root / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "echojepa", "serve", "--model", str(model), "--out", str(root / "out"),
             "--port", "0", "--workers", "1", *settings],
            stdout=file, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    for _ in range(STARTED * 10):
        found = re.search(r"http://\S+", log.read_text())
        if found:
            return Live(found[0], process, root / "out", log)
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    process.kill()
    raise AssertionError(log.read_text())


@pytest.fixture(scope="session")
def live(free_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = started(free_model, tmp_path_factory.mktemp("live"), "--megabytes", "100")
    yield server
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert not list((server.out / "jobs").iterdir()), "results are deleted when the server stops"


@pytest.fixture
def shy(written: Path, tmp_path: Path) -> Path:
    """What another model says of the same study: nothing."""
    folder = tmp_path / "shy"
    shutil.copytree(written, folder)
    document = json.loads((folder / "prediction.json").read_text())
    document["model"]["name"] = "shy"
    abstention = {"reason": "unlike training", "detail": "it takes none"}
    for task in document["tasks"]:
        task |= {"value": None, "interval": None, "loops": [], "abstention": abstention}
    (folder / "prediction.json").write_text(json.dumps(document))
    return folder


@dataclass
class Puppet:
    """Writes the answer that it was given in place of reading what was uploaded; waits where told to."""

    given: Path
    hold: Callable[[Path], bool] = lambda folder: False
    sentence: str = ""
    beside: Path | None = None
    """By a second model."""

    def answer(
        self, inbox: Path, out: Path, tell: Callable[[Step], None], given_up: Callable[[], bool]
    ) -> Answered | Unanswered:
        tell(Step(1, 3, "reading files"))
        while self.hold(inbox.parent):
            if given_up():
                return Unanswered("it was given up")
        if self.sentence:
            return Unanswered(self.sentence)
        answers = [one for one in (self.given, self.beside) if one]
        for number, one in enumerate(answers, start=1):
            shutil.copytree(one, out / str(number))
        return Answered(len(answers), 1, 1, 3, 0)


LIMITS = ServedLimits(
    bytes=3000, files=3, piece=1000, seconds=5, memory=1 << 30, queue=2, studies=6, minutes=60
)
MODEL = Ready("tiny", "0" * 64, "all", ("lvef",))


@contextmanager
def served(
    puppet: Puppet, out: Path, limits: ServedLimits, rules: AccessRules, patience: float = 60
) -> Iterator[int]:
    """A server of this process on a real socket; its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    service = Service(JobStore(out, limits.studies, 3600), limits, puppet, MODEL)
    server = http_server(build_app(service, rules, patience))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        service.close()


def send(client: httpx.Client, files: list[bytes], piece: int = 1 << 20, job: str = "") -> str:
    """Upload a study as the page does, a new one or one that was begun; its id."""
    job = job or client.post("/api/jobs").json()["id"]
    said = client.post(f"/api/jobs/{job}/files", json={"sizes": [len(file) for file in files]})
    assert said.status_code == 201, said.text
    for number, file in enumerate(files, start=1):
        for start in range(0, len(file), piece):
            said = client.put(
                f"/api/jobs/{job}/files/{number}?offset={start}",
                content=file[start : start + piece],
                headers={"Content-Type": "application/octet-stream"},
            )
            assert said.status_code == 200, said.text
    return job


def settled(client: httpx.Client, job: str, pause: float = 0.02) -> dict:
    """A study once it waits and runs no more; asked for every so many seconds."""
    while True:
        said = client.get(f"/api/jobs/{job}").json()
        if said["state"] not in ("waiting", "running"):
            return said
        threading.Event().wait(pause)
