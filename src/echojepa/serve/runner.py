"""The queue: studies are answered one after the other, in the order in which they were started."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import deque

from echojepa.answer.process import AnsweringProcess
from echojepa.answer.worker import Answered, Step
from echojepa.serve.jobs import INPUT, STUDIES, JobState, JobStore
from echojepa.serve.refusals import Refusal

STARTING = Step(0, 0, "starting")


class Runner:
    """A bounded queue and the thread that works it off."""

    def __init__(self, store: JobStore, answerer: AnsweringProcess, most: int) -> None:
        self.store, self.answerer, self.most = store, answerer, most
        self._waiting: deque[str] = deque()
        self._running: str | None = None
        self._given_up = False
        self._step = STARTING
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="studies", daemon=True)
        self._thread.start()

    def add(self, job: str) -> None:
        """Put a study into the queue; Refusal where it is full."""
        with self._changed:
            state = self.store.get(job).state
            if state is not JobState.UPLOADING:
                raise Refusal(409, f"this study was already started; it is {state.value}")
            if len(self._waiting) >= self.most:
                raise Refusal(
                    429,
                    f"{len(self._waiting)} studies are waiting, which is the limit; start this one again "
                    "later",
                    {"Retry-After": "30"},
                )
            self._waiting.append(job)
            self.store.change(job, state=JobState.WAITING)
            self._changed.notify_all()

    def position(self, job: str) -> int | None:
        """How many studies come before one that waits; None where it does not wait."""
        with self._changed:
            if job not in self._waiting:
                return None
            return self._waiting.index(job) + (self._running is not None)

    def step(self, job: str) -> Step | None:
        """What is being done with a study that runs."""
        with self._changed:
            return self._step if job == self._running else None

    def give_up(self, job: str) -> None:
        """Take a study out of the queue, or end the work on it; returns once nothing works on it."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
            if self._running == job:
                self._given_up = True
                self._changed.wait_for(lambda: self._running != job)

    def stop(self) -> None:
        """End the work."""
        with self._changed:
            self._stopped = self._given_up = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._waiting)
                if self._stopped:
                    return
                job = self._running = self._waiting.popleft()
                self._given_up, self._step = False, STARTING
                self.store.change(job, state=JobState.RUNNING)
            self._answer(job)
            with self._changed:
                self._running = None
                self._changed.notify_all()

    def _tell(self, step: Step) -> None:
        self._step = step

    def _answer(self, job: str) -> None:
        """Have it answered, and delete what was uploaded."""
        folder = self.store.place(job)
        inbox, out = folder / INPUT, folder / STUDIES
        said = self.answerer.answer(inbox, out, self._tell, lambda: self._given_up)
        shutil.rmtree(inbox, ignore_errors=True)
        with contextlib.suppress(OSError):  # a full disk: what is in memory is right, and is what is shown
            if isinstance(said, Answered):
                self.store.change(job, state=JobState.DONE, studies=said.studies)
            else:
                shutil.rmtree(out, ignore_errors=True)
                self.store.change(job, state=JobState.FAILED, sentence=said.sentence)
