"""All that the server can do, for the API and the pages alike."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echojepa.answer.process import AnsweringProcess
from echojepa.answer.worker import Ready, Step
from echojepa.answer.writing.films import attention_file, film_file
from echojepa.answer.writing.output import CSV, HTML, JSON
from echojepa.answer.writing.structured_report import KEY_IMAGE, REPORT
from echojepa.config import ServeConfig
from echojepa.files.records import read_plain
from echojepa.serve.jobs import ENDED, STUDIES, JobState, JobStore
from echojepa.serve.refusals import Refusal
from echojepa.serve.reviews import Verdict, write_review
from echojepa.serve.runner import Runner
from echojepa.serve.uploads import PIECE, UploadedFile, Uploads

DOWNLOADS = {
    JSON: "application/json",
    CSV: "text/csv; charset=utf-8",
    HTML: "text/html; charset=utf-8",
    REPORT: "application/dicom",
    KEY_IMAGE: "application/dicom",
}
"""Files of an answer, and what they are."""


@dataclass(frozen=True)
class ServedLimits:
    """What a study may be, and what the server holds."""

    bytes: int
    """Of a study, and of what its zips hold."""
    files: int
    piece: int
    """Bytes of an uploaded piece at most."""
    seconds: int
    """That a study may take."""
    memory: int
    """Bytes that a study may take."""
    queue: int
    """Studies that may wait."""
    studies: int
    """Studies that are held at a time."""
    minutes: int | None
    """After which a study is deleted; null where it is kept."""

    @classmethod
    def of(cls, config: ServeConfig) -> ServedLimits:
        """Those of the settings."""
        return cls(
            bytes=config.megabytes * 1_000_000,
            files=config.files,
            piece=PIECE,
            seconds=config.seconds,
            memory=config.memory * 1_000_000,
            queue=config.queue,
            studies=config.studies,
            minutes=None if config.keep else config.minutes,
        )


@dataclass(frozen=True)
class JobOut:
    """The state of a study."""

    id: str
    number: int
    state: JobState
    sentence: str
    """Why the study failed or was lost."""
    files: list[UploadedFile]
    """During the upload: how much of each file is stored."""
    before: int | None
    """While it waits: number of studies ahead."""
    step: Step | None
    """While it runs: the current step."""
    studies: int
    """Number of answered studies: /api/jobs/{id}/studies/1 and so on."""


class Service:
    """Studies from their upload to their answer; safe for threads."""

    def __init__(
        self, store: JobStore, limits: ServedLimits, answerer: AnsweringProcess, model: Ready
    ) -> None:
        self.store, self.limits, self.model = store, limits, model
        self.uploads = Uploads(store, limits.files, limits.bytes)
        self.runner = Runner(store, answerer, limits.queue)
        self._reviewing = threading.Lock()

    def view(self, job: str) -> JobOut:
        """A study as it stands; Refusal where there is none."""
        one, runner = self.store.get(job), self.runner
        files, before, step = self.uploads.files(job), runner.position(job), runner.step(job)
        return JobOut(one.id, one.number, one.state, one.sentence, files, before, step, one.studies)

    def start(self, job: str) -> JobOut:
        """Put a whole study into the queue."""
        self.uploads.check_whole(job)
        self.runner.add(job)
        self.uploads.forget(job)
        return self.view(job)

    def delete(self, job: str) -> None:
        """Delete a study, whatever is being done with it."""
        self.store.get(job)
        self.runner.give_up(job)
        self.uploads.forget(job)
        self.store.delete(job)

    def delete_expired(self) -> None:
        """Delete what has had its time."""
        for job in self.store.expired():
            self.delete(job)

    def study(self, job: str, number: int) -> Path:
        """The folder of an answer; Refusal where there is none, or not yet."""
        record = self.store.get(job)
        if record.state is not JobState.DONE:
            why = record.sentence if record.state in ENDED else "ask again when it is done"
            raise Refusal(409, f"this study is {record.state.value}: {why}")
        if not 1 <= number <= record.studies:
            raise Refusal(404, f"there is no study {number}; {record.studies} studies were answered")
        return self.store.place(job) / STUDIES / str(number)

    def download(self, job: str, number: int, name: str) -> Path:
        """A file of an answer."""
        path = self.study(job, number) / name
        if name not in DOWNLOADS or not path.is_file():
            raise Refusal(404, f"this answer has the files {', '.join(self.downloads(job, number))}")
        return path

    def downloads(self, job: str, number: int) -> list[str]:
        """Names of an answer's files."""
        folder = self.study(job, number)
        return [name for name in DOWNLOADS if (folder / name).is_file()]

    def document(self, job: str, number: int) -> dict[str, Any]:
        """What `prediction.json` holds."""
        return read_plain(self.study(job, number) / JSON)

    def beside(self, job: str, number: int, document: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Number and document of the other model's answer for the study of a document; None where one model
        answered. Answers by the second model come after all those by the first."""
        half, odd = divmod(self.store.get(job).studies, 2)
        if odd:
            return None
        other = number + half if number <= half else number - half
        theirs = self.document(job, other)
        return (other, theirs) if theirs["study"]["number"] == document["study"]["number"] else None

    def film(self, job: str, number: int, loop: int, *, attention: bool = False) -> Path:
        """The file with a loop's film, as it is or with attention laid over it."""
        path = (attention_file if attention else film_file)(self.study(job, number), loop)
        if not path.is_file():
            raise Refusal(404, f"this study has no {'attention over ' if attention else ''}loop {loop}")
        return path

    def review(
        self, job: str, number: int, task: str, verdict: Verdict | None, reason: str
    ) -> dict[str, Any]:
        """Accept or reject an answer, or take that back; the document."""
        folder = self.study(job, number)
        with self._reviewing:
            return write_review(folder, task, verdict, reason)

    def close(self) -> None:
        """End the work, and delete what is not kept."""
        self.runner.stop()
        self.store.close()
