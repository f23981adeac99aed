"""The listener: pynetdicom's threads receive, one answers, one sends. The disk alone hands studies on."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from echojepa.answer.process import AnsweringProcess
from echojepa.answer.worker import Answered
from echojepa.config import ListenConfig
from echojepa.errors import UserError
from echojepa.listen.audit import Audit
from echojepa.listen.receiving import no_library_talks, receiving
from echojepa.listen.sending import NotSent
from echojepa.listen.studies import SUFFIX, HeldStudy, Studies

FIRST_WAIT, LONGEST_WAIT = 2.0, 600.0
"""Seconds until an answer is sent again, doubled with each attempt up to the longest."""
TICK = 0.2
"""Seconds between two looks at what there is to do."""


class Listener:
    """Entered, it listens at `port`, answers and sends; left, it stops, and what it holds stays on the disk.

    `send(files)` has them in the archive, NotSent where it has not; without it, answers stay in the folder
    `results`. `clock` gives seconds.
    """

    def __init__(
        self,
        settings: ListenConfig,
        answerer: AnsweringProcess,
        send: Callable[[Sequence[Path]], None] | None,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.answerer, self.send, self.clock = settings, answerer, send, clock
        self.studies = Studies(settings, clock)
        self.audit = Audit(settings.out / "audit.jsonl", tell)
        self.port = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open = ExitStack()

    def __enter__(self) -> Listener:
        with ExitStack() as opening:
            opening.callback(self.studies.close)
            opening.enter_context(no_library_talks())
            self.port = opening.enter_context(receiving(self.settings, self.studies, self.audit))
            self._open = opening.pop_all()
        self._threads = [
            threading.Thread(target=self._repeat, args=(step,)) for step in (self.answer_next, self.send_next)
        ]
        for thread in self._threads:
            thread.start()
        self.audit("started", studies=len(self.studies.waiting))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._open.close()
        self.audit("stopped", studies=len(self.studies.waiting))

    def wait(self) -> None:
        """Until it is interrupted; UserError where one of its threads ended, which none should."""
        while all(thread.is_alive() for thread in self._threads):
            time.sleep(1)
        raise UserError("a part of the listener ended; its data are safe on the disk. Start it again")

    def _repeat(self, step: Callable[[], bool]) -> None:
        while not self._stop.is_set():
            if not step():
                self._stop.wait(TICK)

    def answer_next(self) -> bool:
        """Answer for the study that has been complete for longest; whether there was one."""
        found = self.studies.complete(self.settings.quiet)
        if found is None:
            return False
        study, instances = found
        made = study.folder / ".answer"
        try:
            if study.known.issuperset(instances):
                self.audit("nothing new", study=study.number, deleted=self.studies.release(study))
                return True
            self.audit("complete", study=study.number, instances=len(instances))
            said = self.answerer.answer(study.inbox, made, lambda step: None, self._stop.is_set)
            if isinstance(said, Answered):
                self.studies.put_answer(study, made / "1", instances)
                self.audit("answered", study=study.number, **asdict(said))
            else:
                self.put_aside(study, instances, said.sentence)
        except OSError as error:
            self.put_aside(study, instances, type(error).__name__)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return True

    def put_aside(self, study: HeldStudy, instances: Sequence[str], why: str) -> None:
        """Note that a study has no answer."""
        self.studies.fail(study, instances)
        self.audit("failed", study=study.number, why=why)

    def send_next(self) -> bool:
        """Have the next answer arrive; whether there was one whose time has come."""
        due = [one for one in self.studies.waiting if one.answered and one.next_at <= self.clock()]
        if not due:
            return False
        study = min(due, key=lambda one: (one.next_at, one.number))
        files = sorted(study.results.rglob("*" + SUFFIX))
        try:
            if self.send and files:
                self.send(files)
            deleted = self.studies.settle(study, leave=self.send is None or self.settings.keep)
        except (NotSent, OSError) as error:
            study.attempts += 1
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(study.attempts - 1, 16))
            study.next_at = self.clock() + wait
            why = str(error) if isinstance(error, NotSent) else type(error).__name__
            self.audit("not sent", study=study.number, attempt=study.attempts, seconds_to_next=wait, why=why)
            return True
        study.attempts, study.next_at = 0, float("-inf")
        step = "sent" if self.send else "left here"
        self.audit(step, study=study.number, objects=len(files), deleted=deleted)
        return True
