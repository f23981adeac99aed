"""What a listener holds: complete after a quiet time, answered in order, nothing lost to a stop."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pydicom
import pytest
from puppet_worker import MAIN

from echojepa.answer import process
from echojepa.answer.process import AnsweringProcess
from echojepa.answer.worker import WorkerSettings
from echojepa.errors import UserError
from echojepa.listen import studies as studies_module
from echojepa.listen.sending import NotSent
from echojepa.listen.service import Listener
from echojepa.listen.studies import RECORD, NoRoom

from .conftest import QUIET, Canned, Clock, steps

Make = Callable[..., Listener]


def held(listener: Listener) -> list[Path]:
    """All instances on the disk."""
    return sorted(listener.settings.out.glob("studies/*/received/*.dcm"))


def test_a_study_is_complete_when_nothing_came_for_the_quiet_time_and_is_answered_once(
    listener: Make, clock: Clock, canned: Canned
) -> None:
    one = listener()
    one.studies.receive("1.1", "1.1.1", b"a")
    clock.now += QUIET - 1
    one.studies.receive("1.1", "1.1.2", b"b")
    clock.now += QUIET - 1
    assert not one.answer_next(), "an instance came a moment ago"
    clock.now += 1
    assert one.answer_next() and not one.answer_next()
    assert [len(names) for names in canned.asked] == [2]
    assert one.send_next() and not one.send_next() and not held(one)
    assert (one.settings.out / "results/study-1/prediction.sr.dcm").exists()
    assert steps(one.settings.out) == ["complete", "answered", "left here"]


def test_an_instance_and_every_folder_that_leads_to_it_are_on_the_disk_when_it_counts(
    listener: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill loses nothing that was merely written; a power cut does."""
    one, flushed, real = listener(), [], os.fsync

    def fsync(file: int) -> None:
        flushed.append(os.fstat(file).st_ino)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    one.studies.receive("1", "1.1", b"a")
    (instance,) = held(one)
    inbox = instance.parent
    expected = [path.stat().st_ino for path in (inbox.parent, inbox.parent.parent, instance, inbox)]
    assert flushed == expected, "the file before the folder that lists it"


def test_studies_are_answered_in_the_order_in_which_they_were_complete(
    listener: Make, clock: Clock, canned: Canned
) -> None:
    one = listener()
    for moment, (study, instance) in enumerate([("1", "1.1"), ("2", "2.1"), ("1", "1.2")]):
        clock.now += moment
        one.studies.receive(study, instance, b"x")
    clock.now += QUIET
    while one.answer_next():
        pass
    assert [len(names) for names in canned.asked] == [1, 2]


def test_the_same_instance_counts_once_and_files_are_kept_when_asked(listener: Make, clock: Clock) -> None:
    one = listener(keep=True)
    fresh = [one.studies.receive("1", "1.1", content)[1] for content in (b"a", b"b")]
    assert fresh == [True, False] and [path.read_bytes() for path in held(one)] == [b"a"]
    clock.now += QUIET
    one.answer_next()
    one.send_next()
    assert len(held(one)) == 1 and not one.studies.waiting


@pytest.mark.parametrize(
    ("bound", "why"),
    [({"most_instances": 1}, "instances"), ({"most_gib": 1e-9}, "bytes"), ({"most_studies": 1}, "studies")],
)
def test_nothing_is_taken_beyond_a_bound_and_all_before_it_stays(
    listener: Make, bound: dict[str, float], why: str
) -> None:
    one = listener(**bound)
    one.studies.receive("1", "1.1", b"a")
    with pytest.raises(NoRoom, match=why):
        one.studies.receive("2", "2.1", b"b")
    assert [path.read_bytes() for path in held(one)] == [b"a"]
    assert [study.number for study in one.studies.waiting] == [1]


def test_a_full_disk_takes_nothing_and_loses_nothing(listener: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = listener()
    one.studies.receive("1", "1.1", b"a")
    usage = shutil.disk_usage(one.settings.out)
    with monkeypatch.context() as patch:
        patch.setattr(studies_module.shutil, "disk_usage", lambda _: usage._replace(free=10))
        with pytest.raises(NoRoom, match="disk"):
            one.studies.receive("1", "1.2", b"b")

    def full(path: Path, fill: object, *, private: bool) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(studies_module, "write_file", full)
    with pytest.raises(OSError, match="no space"):
        one.studies.receive("1", "1.2", b"b")
    assert len(held(one)) == 1 and len(held(listener())) == 1


def test_a_study_that_fails_ends_with_a_line_blocks_no_other_and_is_tried_again_when_more_comes(
    listener: Make, clock: Clock, canned: Canned
) -> None:
    one = listener()
    one.studies.receive("1", "1.1", b"a")
    canned.fails = True
    clock.now += QUIET
    assert one.answer_next() and not one.answer_next() and len(held(one)) == 1
    canned.fails = False
    one.studies.receive("2", "2.1", b"a")
    clock.now += QUIET
    assert one.answer_next() and not one.answer_next()
    one.studies.receive("1", "1.2", b"a")
    clock.now += QUIET
    assert one.answer_next()
    assert steps(one.settings.out) == ["complete", "failed", *["complete", "answered"] * 2]


def test_a_study_that_passes_a_bound_has_its_line_in_the_audit_and_the_others_go_on(
    listener: Make, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the process that answers for real: out of time, out of memory, and dead."""
    monkeypatch.setattr(process, "MAIN", MAIN)
    (tmp_path / "model").touch()
    settings = WorkerSettings(tmp_path / "model", 1, 1 << 30, dicom=False)
    with AnsweringProcess(settings, 60) as answering:
        one = listener(answerer=answering)
        for word in ("endless", "fine", "hungry", "deadly", "well"):
            one.studies.receive(word, word, word.encode())
            clock.now += QUIET
            answering.seconds = 0 if word == "endless" else 60
            assert one.answer_next() and not one.answer_next()
    lines = [json.loads(line) for line in (one.settings.out / "audit.jsonl").read_text().splitlines()]
    ends = [(line["study"], line.get("why", "")) for line in lines if line["step"] in ("answered", "failed")]
    assert ends == [
        (1, "it took longer than the 0 seconds that a study may take"),
        (2, ""),
        (3, "it needs more than the 1074 MB that a study may take"),
        (4, process.ENDED),
        (5, ""),
    ]
    assert len(held(one)) == 5, "what failed stays"
    assert not list(one.settings.out.rglob(".answer"))


def test_what_is_not_sent_stays_and_is_sent_again_after_longer_and_longer(
    listener: Make, clock: Clock
) -> None:
    tries: list[float] = []

    def send(files: Sequence[Path]) -> None:
        tries.append(clock.now)
        assert [path.name for path in files] == ["prediction.key.dcm", "prediction.sr.dcm"]
        if len(tries) < 5:
            raise NotSent("no association")

    one = listener(send)
    one.studies.receive("1", "1.1", b"a")
    clock.now += QUIET
    one.answer_next()
    while len(tries) < 5:
        before = len(tries)
        one.send_next()
        assert len(held(one)) == (0 if len(tries) == 5 else 1)
        clock.now += 0 if len(tries) > before else 1
    assert [b - a for a, b in pairwise(tries)] == [2, 4, 8, 16]
    assert not list(one.settings.out.glob("results/*")) and not list(one.settings.out.rglob("prediction*"))


def test_later_instances_get_another_answer_and_those_that_were_answered_none(
    listener: Make, clock: Clock, canned: Canned
) -> None:
    one = listener()

    def settled(*instances: str) -> None:
        for instance in instances:
            one.studies.receive("1", instance, b"a")
        clock.now += QUIET
        while one.answer_next() or one.send_next():
            pass

    settled("1.1", "1.2")
    settled("1.1")
    assert len(canned.asked) == 1 and not held(one), "it is known"
    settled("1.1", "1.3")
    assert [len(names) for names in canned.asked] == [2, 2], "the new one, and the one that came again"
    assert {path.name for path in one.settings.out.glob("results/*")} == {"study-1", "study-1-2"}


def test_an_instance_that_comes_while_its_study_is_answered_has_all_answered_again(
    listener: Make, clock: Clock, canned: Canned
) -> None:
    one = listener()
    one.studies.receive("1", "1.1", b"a")
    canned.meanwhile = lambda: one.studies.receive("1", "1.2", b"b")
    clock.now += QUIET
    one.answer_next()
    one.send_next()
    assert len(held(one)) == 2, "nothing is deleted before all are in an answer"
    clock.now += QUIET
    canned.meanwhile = lambda: None
    assert one.answer_next() and one.send_next() and not held(one)
    assert len(canned.asked[-1]) == 2


def test_an_answer_that_comes_back_with_its_study_asks_for_none(
    listener: Make, clock: Clock, canned: Canned, written: Path
) -> None:
    """An archive that forwards what it gets would go in circles."""
    one = listener(lambda files: None)
    own = [pydicom.dcmread(path).SOPInstanceUID for path in sorted(written.glob("*.dcm"))]
    one.studies.receive("1", "1.1", b"a")
    clock.now += QUIET
    one.answer_next()
    one.studies.receive("1", own[0], b"the key image")
    one.send_next()
    one.studies.receive("1", own[1], b"the report")
    clock.now += QUIET
    assert one.answer_next() and not one.answer_next() and not held(one)
    assert len(canned.asked) == 1


def test_a_restart_goes_on_at_every_step(listener: Make, clock: Clock, canned: Canned) -> None:
    sent: list[Sequence[Path]] = []
    one = listener(sent.append)
    one.studies.receive("1", "1.1", b"a")
    inbox = held(one)[0].parent
    (inbox / ".half.tmp").write_bytes(b"cut")
    (inbox.parent / ".answer").mkdir()
    two = listener(sent.append)
    assert [path.name for path in inbox.parent.iterdir()] == ["received"] and len(held(two)) == 1
    assert not two.answer_next(), "the quiet time begins anew"
    clock.now += QUIET
    two.answer_next()
    three = listener(sent.append)
    assert not three.answer_next() and len(canned.asked) == 1, "it is answered already"
    record = inbox.parent / RECORD
    study = three.studies.waiting[0]
    record.write_text(json.dumps({"instances": [path.stem for path in held(three)]}))  # stopped in settle
    four = listener(sent.append)
    assert study.number == 1 and four.send_next() and not four.send_next() and len(sent) == 1
    assert not held(four) and not four.studies.waiting
    shutil.copy(record, inbox / f"{json.loads(record.read_text())['instances'][0]}.dcm")  # not yet deleted
    five = listener(sent.append)
    clock.now += QUIET
    assert five.answer_next() and not held(five) and len(canned.asked) == 1


def test_what_was_finished_long_ago_is_forgotten_and_its_number_is_not_given_again(
    listener: Make, clock: Clock
) -> None:
    one = listener()
    for study in ("1", "2"):
        one.studies.receive(study, study, b"a")
    clock.now += QUIET
    while one.answer_next() or one.send_next():
        pass
    old = time.time() - studies_module.REMEMBERED - 10
    for record in one.settings.out.glob(f"studies/*/{RECORD}"):
        os.utime(record, (old, old))
    two = listener()
    assert [path.name.split("-")[0] for path in two.settings.out.glob("studies/*")] == ["2"]
    assert two.studies.receive("3", "3", b"a")[0].number == 3


def test_a_folder_serves_one_listener_and_holds_nothing_else(listener: Make, tmp_path: Path) -> None:
    one = listener()
    assert one.settings.out.stat().st_mode & 0o077 == 0
    with pytest.raises(UserError, match="another listener"):
        Listener(one.settings, one.answerer, None, lambda line: None)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(UserError, match="other content"):
        listener(out=tmp_path)


def test_an_audit_line_that_cannot_be_written_is_counted_in_the_next(listener: Make) -> None:
    one = listener()
    path = one.settings.out / "audit.jsonl"
    path.mkdir()
    one.audit("echo")
    path.rmdir()
    one.audit("echo")
    assert json.loads(path.read_text())["lines_missing"] == 1
