"""A server as people start it, with the tiny model; and one in this process whose answers are made up."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from echojepa.answer.values import StudyAnswer
from echojepa.answer.worker import Answered, Ready, Step, Unanswered
from echojepa.answer.writing.films import films_of, write_films
from echojepa.answer.writing.output import write_answer

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


@dataclass
class Puppet:
    """Writes the answer that it was given in place of reading what was uploaded; waits where told to."""

    given: StudyAnswer
    hold: Callable[[Path], bool] = lambda folder: False
    sentence: str = ""

    def answer(
        self, inbox: Path, out: Path, tell: Callable[[Step], None], given_up: Callable[[], bool]
    ) -> Answered | Unanswered:
        tell(Step(1, 3, "reading files"))
        while self.hold(inbox.parent):
            if given_up():
                return Unanswered("it was given up")
        if self.sentence:
            return Unanswered(self.sentence)
        films = films_of(self.given)
        write_answer(self.given, out / "1", dicom=True, films=films)
        write_films(films, out / "1")
        return Answered(1, 1, 1, len(films), 0)


MODEL = Ready("tiny", "0" * 64, "all", ("lvef",))


def send(client: httpx.Client, files: list[bytes], piece: int = 1 << 20) -> str:
    """Upload a study as the page does; its id."""
    job = client.post("/api/jobs").json()["id"]
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


def settled(client: httpx.Client, job: str) -> dict:
    """A study once it waits and runs no more."""
    while True:
        said = client.get(f"/api/jobs/{job}").json()
        if said["state"] not in ("waiting", "running"):
            return said
        threading.Event().wait(0.02)
