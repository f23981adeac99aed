"""The process that answers folders for `serve` and `listen`: a study costs itself alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from puppet_worker import MAIN, ONE

from echojepa.answer import process
from echojepa.answer.model import Model
from echojepa.answer.predict import predict
from echojepa.answer.process import AnsweringProcess
from echojepa.answer.values import StudyAnswer
from echojepa.answer.worker import Answered, Step, Unanswered, WorkerSettings, answer_folder
from echojepa.answer.writing.document import document_of
from echojepa.errors import UserError

from .conftest import Made

MEMORY = 1 << 30


@pytest.fixture
def puppet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweringProcess]:
    monkeypatch.setattr(process, "MAIN", MAIN)
    (tmp_path / "model").touch()
    with AnsweringProcess(WorkerSettings(tmp_path / "model", 1, MEMORY, dicom=False), 60) as answering:
        yield answering


def ask(answering: AnsweringProcess, root: Path, word: str) -> Answered | Unanswered:
    """What becomes of a folder with this word in it; the second time one is asked for, it is given up."""
    inbox = root / word
    inbox.mkdir()
    (inbox / "1").write_text(word)
    steps: list[Step] = []
    return answering.answer(inbox, root / f"{word} out", steps.append, lambda: word == "endless")


def test_a_study_that_dies_takes_too_long_or_too_much_costs_itself_alone(
    puppet: AnsweringProcess, tmp_path: Path
) -> None:
    """In the midst of work, while idle, and out of time; another worker takes the place of one that ended."""
    ends = {
        "deadly": "process that read it ended", "fine": "", "hungry": "more than the 1074 MB", "last": "",
        "well": "", "endless": "given up", "good": "",
    }  # fmt: skip
    for word, end in ends.items():
        said = ask(puppet, tmp_path, word)
        assert said == ONE if not end else isinstance(said, Unanswered) and end in said.sentence, word
    puppet.seconds = 0
    late = puppet.answer(tmp_path / "endless", tmp_path / "late", lambda step: None, lambda: False)
    assert isinstance(late, Unanswered) and "longer than the 0 seconds" in late.sentence
    (tmp_path / "model").unlink()
    lost = ask(puppet, tmp_path, "lost")
    assert isinstance(lost, Unanswered) and "can no longer be loaded" in lost.sentence


def test_a_model_that_does_not_load_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAIN", MAIN)
    with pytest.raises(UserError, match="no such model"):
        AnsweringProcess(WorkerSettings(tmp_path / "nowhere", 1, MEMORY, dicom=True), 60)


def test_a_second_model_answers_the_same_studies_after_the_first(
    made: Made, model: Model, tmp_path: Path
) -> None:
    thresholds = replace(model.card.thresholds, most_distance=0.0)
    shy = replace(model, card=replace(model.card, thresholds=thresholds))
    told: list[object] = []
    pipe = cast("Connection", SimpleNamespace(send=told.append))
    shutil.copytree(made.tested, tmp_path / "inbox")
    settings = WorkerSettings(made.model, 1, MEMORY, dicom=True)
    said = answer_folder(tmp_path / "inbox", tmp_path / "out", [model, shy], settings, pipe)
    first, second = (json.loads((tmp_path / f"out/{n}/prediction.json").read_text()) for n in (1, 2))
    assert said.studies == 2 and first["study"] == second["study"] and told
    assert first["tasks"] == document_of(answer_of(made, model))["tasks"]
    assert second["tasks"] == document_of(answer_of(made, shy))["tasks"] != first["tasks"]
    assert [path.parent.name for path in sorted(tmp_path.rglob("prediction.sr.dcm"))] == ["1"]


def answer_of(made: Made, model: Model) -> StudyAnswer:
    (answer,) = predict(made.tested, model, workers=1)
    return answer


OWNER = f"""
import sys, time
from pathlib import Path
from echojepa.answer import process
process.MAIN = {MAIN!r}
settings = process.WorkerSettings(Path(sys.argv[1]), 1, 1 << 30, dicom=False)
answering = process.AnsweringProcess(settings, 600)
print(answering._process.pid, flush=True)
tell = lambda step: print(step.doing, flush=True)
answering.answer(Path(sys.argv[2]), Path(sys.argv[3]), tell, lambda: False)
"""


def test_a_worker_ends_with_who_asked_it_even_in_the_midst_of_a_study(tmp_path: Path) -> None:
    (tmp_path / "model").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1").write_text("endless")
    folders = [str(tmp_path / name) for name in ("model", "in", "out")]
    owner = subprocess.Popen([sys.executable, "-c", OWNER, *folders], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    worker = int(owner.stdout.readline())
    assert owner.stdout.readline() == "starting\n"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    for _ in range(600):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        threading.Event().wait(0.1)
    pytest.fail("the worker works on for nobody")


def test_the_real_worker_answers_a_folder_with_a_bad_file_and_goes_on_after_one_it_cannot_write(
    made: Made, tmp_path: Path
) -> None:
    inbox = tmp_path / "received"
    shutil.copytree(made.tested, inbox)
    (inbox / "bad.dcm").write_bytes(b"DICM" * 100)
    (tmp_path / "file").write_text("")
    with AnsweringProcess(WorkerSettings(made.model, 1, 4 << 30, dicom=True), 300) as answering:
        told: list[Step] = []
        wrong = answering.answer(inbox, tmp_path / "file", told.append, lambda: False)
        assert isinstance(wrong, Unanswered) and "Error in" in wrong.sentence, "no folder can be made there"
        said = answering.answer(inbox, tmp_path / "out", told.append, lambda: False)
    assert isinstance(said, Answered) and said.studies == 1 and said.unused >= 1
    assert said.loops + said.unused == len(list(inbox.iterdir()))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"1"}
    document = json.loads((tmp_path / "out/1/prediction.json").read_text())
    assert len(document["tasks"]) == said.tasks and not (tmp_path / "out/1/films").exists()
    assert {step.doing for step in told} >= {"starting", "reading files", "writing the answer"}
