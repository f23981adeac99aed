"""Studies that were sent in, a folder each, found by a random id: uploaded, waiting, running, done.

    OUT/serve.json                 this folder is the server's own
    OUT/jobs/ID/job.json           the record
                input/1, 2, ...    what was uploaded, by number, for names can name a patient; gone once read
                studies/1/         prediction.json, .csv, .html, films; SR and key image

Everything in a folder goes with it. What was not finished when a server stopped is lost, and says so.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from echojepa.errors import ConfigError, UserError
from echojepa.files.records import read_record, write_record
from echojepa.serve.refusals import GONE, Refusal

MARK, RECORD, INPUT, STUDIES = "serve.json", "job.json", "input", "studies"


class JobState(StrEnum):
    """Where a study stands: the closed list."""

    UPLOADING = "uploading"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


ENDED = (JobState.DONE, JobState.FAILED, JobState.LOST)


@dataclass(frozen=True)
class JobRecord:
    """`job.json`."""

    id: str
    number: int
    """For people: the first that was sent in is 1."""
    state: JobState
    created: float
    """Seconds since 1970."""
    touched: float
    """When anything last happened to it."""
    files: int
    size: int
    """Bytes of its files."""
    studies: int
    """Studies that were answered."""
    sentence: str
    """Why it failed, or was lost."""


class JobStore:
    """All studies of a server; safe for threads."""

    def __init__(
        self, out: Path, most: int, seconds: float | None, now: Callable[[], float] = time.time
    ) -> None:
        """At most `most` studies are stored; unused ones are deleted after `seconds`, or kept if None."""
        self.folder, self.most, self.seconds, self.now = out / "jobs", most, seconds, now
        self._lock = threading.RLock()
        claim(out)
        self._records = {record.id: record for record in self._left_there()}
        self._next = max((record.number for record in self._records.values()), default=0) + 1

    def _left_there(self) -> list[JobRecord]:
        """Studies of an earlier server: kept results, and word of those that were lost."""
        found = []
        for folder in self.folder.iterdir():
            try:
                record = read_record(JobRecord, folder / RECORD)
            except ConfigError:  # cut off before it was written
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if record.state not in ENDED:
                shutil.rmtree(folder)
                record = replace(
                    record,
                    state=JobState.LOST,
                    sentence="the server stopped before it was finished; upload it again",
                )
                self._write(record)
            if record.state is JobState.DONE and self.seconds is not None:
                shutil.rmtree(folder)
            else:
                found.append(record)
        return found

    def place(self, job: str) -> Path:
        """The folder of a study that is there."""
        return self.folder / self.get(job).id

    def get(self, job: str) -> JobRecord:
        """A record; Refusal where there is none."""
        with self._lock:
            if job not in self._records:
                raise Refusal(404, GONE)
            return self._records[job]

    def all(self) -> list[JobRecord]:
        """Every record, the newest first."""
        with self._lock:
            return sorted(self._records.values(), key=lambda record: -record.number)

    def create(self) -> JobRecord:
        """A new study without files; Refusal where too many are held."""
        with self._lock:
            if len(self._records) >= self.most:
                raise Refusal(
                    429,
                    f"the server holds {len(self._records)} studies and accepts no more; delete one, or wait",
                    {"Retry-After": "60"},
                )
            now = self.now()
            record = JobRecord(secrets.token_hex(12), self._next, JobState.UPLOADING, now, now, 0, 0, 0, "")
            self._next += 1
            self._records[record.id] = record
        (self.folder / record.id / INPUT).mkdir(parents=True)
        self._write(record)
        return record

    def change(self, job: str, **changed: Any) -> JobRecord:
        """Note what became of a study."""
        with self._lock:
            record = replace(self.get(job), touched=self.now(), **changed)
            self._records[job] = record
            if "state" in changed:
                self._write(record)
            return record

    def _write(self, record: JobRecord) -> None:
        (self.folder / record.id).mkdir(parents=True, exist_ok=True)
        write_record(self.folder / record.id / RECORD, record)

    def delete(self, job: str) -> None:
        """Delete a study and all that was made of it."""
        with self._lock:
            folder = self.place(job)
            del self._records[job]
        shutil.rmtree(folder, ignore_errors=True)

    def expired(self) -> list[str]:
        """Studies whose time is over; never one that waits or runs."""
        if self.seconds is None:
            return []
        return [
            record.id
            for record in self.all()
            if record.state not in (JobState.WAITING, JobState.RUNNING)
            and self.now() - record.touched > self.seconds
        ]

    def close(self) -> None:
        """Delete all, unless results are kept."""
        if self.seconds is not None:
            for record in self.all():
                self.delete(record.id)


def claim(out: Path) -> None:
    """Make a folder the server's own; UserError for one that holds something else, for files are deleted."""
    if out.exists() and not (out / MARK).is_file() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out} is not empty and not the folder of a server; give a new --out")
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)
    write_record(out / MARK, {"format": "echojepa serve", "format_version": 1})
    (out / "jobs").mkdir(exist_ok=True)
