"""The studies that a listener stores. Everything is on disk, so no kind of stop loses anything:

    OUT/key                       makes the names below from UIDs, so no name contains an identifier
    OUT/studies/NUMBER-HASH/
        received/HASH.dcm         instances, each on the disk before it is acknowledged
        results/                  an answer to be sent, and in `answer.json` the instances that it used
        study.json                instances used by answers that arrived, and the answers' own instances
    OUT/results/study-NUMBER/     answers that stay here

A study waits for an answer while it holds an instance that is in no `study.json`.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from echojepa.config import ListenConfig
from echojepa.data.identity.deidentify import pseudonym
from echojepa.data.reading.dicom.attributes import identifier
from echojepa.data.reading.dicom.reader import header_of
from echojepa.errors import UserError
from echojepa.files.durable import flush, replace_folder, write_file
from echojepa.files.records import keep_record, read_record, write_record
from echojepa.processes.lock import held_alone

RECEIVED, RESULTS, RECORD, RESTS_ON, SUFFIX = "received", "results", "study.json", "answer.json", ".dcm"
REMEMBERED = 30 * 86400.0
"""Seconds for which a finished study is known again by its instances."""
SPARE = 256 << 20
"""Bytes of the disk that are left free, for answers and for the audit."""


class NoRoom(UserError):
    """An instance would pass a limit, or the disk's end."""


@dataclass(frozen=True)
class InstanceNames:
    """Instances by their names here, as a file holds them."""

    instances: tuple[str, ...] = ()


@dataclass
class HeldStudy:
    """One study: what is here of it, and what is known."""

    number: int
    folder: Path
    received: dict[str, int] = field(default_factory=dict)
    """Bytes of each instance that is here."""
    known: set[str] = field(default_factory=set)
    """Instances in an answer that arrived, and the answers themselves."""
    answered: bool = False
    """Whether an answer is on its way."""
    failed: bool = False
    """Whether answering went wrong, and nothing came since."""
    last: float = 0.0
    """When the last instance came."""
    attempts: int = 0
    """How often its answer was sent in vain."""
    next_at: float = float("-inf")
    """When it is sent again."""

    @property
    def inbox(self) -> Path:
        """Folder of its instances."""
        return self.folder / RECEIVED

    @property
    def results(self) -> Path:
        """Folder of the answer on its way."""
        return self.folder / RESULTS

    @property
    def new(self) -> bool:
        """Whether it holds an instance that no answer knows."""
        return not self.received.keys() <= self.known


class Studies:
    """All of them, for several threads."""

    def __init__(self, settings: ListenConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self.clock = settings, clock
        self.out = out = settings.out
        self._lock = threading.RLock()
        check_own(out)
        self._open = ExitStack()
        self._open.enter_context(held_alone(out / "lock", f"another listener uses {out}; stop it first"))
        self._key = key_of(out / "key")
        (out / "studies").mkdir(mode=0o700, exist_ok=True)
        (out / RESULTS).mkdir(mode=0o700, exist_ok=True)
        flush(out)
        flush(out.parent)
        self._studies: dict[str, HeldStudy] = {}
        for folder in (out / "studies").glob("[0-9]*-*"):
            number, _, name = folder.name.partition("-")
            self._studies[name] = found_again(folder, int(number), clock())
        self._forget()

    def close(self) -> None:
        """Let another process have the folder."""
        self._open.close()

    @property
    def waiting(self) -> list[HeldStudy]:
        """Those that are not finished, by number: there is an answer to send, or something is to be done with
        what was received."""
        with self._lock:
            every, keep = self._studies.values(), self.settings.keep
            found = [one for one in every if one.answered or one.new or (one.received and not keep)]
            return sorted(found, key=lambda study: study.number)

    def receive(self, study_uid: str, instance_uid: str, content: bytes) -> tuple[HeldStudy, bool]:
        """Put an instance on the disk, and only then return: its study, and whether it was not here already.

        NoRoom beyond the bounds, or where the disk is full; OSError for what else the disk says.
        """
        name = pseudonym(self._key, "instance", instance_uid)
        with self._lock:
            study_name = pseudonym(self._key, "study", study_uid)
            study = self._studies.get(study_name)
            if study and name in study.received:
                return study, False
            self._check_room(study, len(content))
            if study is None:
                number = 1 + max((other.number for other in self._studies.values()), default=0)
                study = HeldStudy(number, self.out / "studies" / f"{number}-{study_name}")
                study.inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
                flush(study.folder)
                flush(study.folder.parent)
                self._studies[study_name] = study
            path = study.inbox / (name + SUFFIX)
            write_file(path, lambda file: file.write_bytes(content), private=True)
            flush(study.inbox)
            study.received[name] = len(content)
            study.last, study.failed = self.clock(), False
            return study, True

    def _check_room(self, study: HeldStudy | None, size: int) -> None:
        """NoRoom where an instance of so many bytes would pass a bound."""
        held = [other.received.values() for other in self._studies.values()]
        if sum(map(len, held)) + 1 > self.settings.most_instances:
            raise NoRoom("too many instances are held")
        if sum(map(sum, held)) + size > self.settings.most_gib * 2**30:
            raise NoRoom("too many bytes are held")
        if (study is None or study not in self.waiting) and len(self.waiting) >= self.settings.most_studies:
            raise NoRoom("too many studies wait")
        if shutil.disk_usage(self.out).free < size + SPARE:
            raise NoRoom("the disk is full")

    def complete(self, quiet: float) -> tuple[HeldStudy, tuple[str, ...]] | None:
        """The study that has been quiet for longest, with the instances that it has now; None if none has
        been for that many seconds."""
        with self._lock:
            ready = [
                study
                for study in self.waiting
                if not (study.answered or study.failed) and self.clock() - study.last >= quiet
            ]
            study = min(ready, key=lambda one: (one.last, one.number), default=None)
            return study and (study, tuple(sorted(study.received)))

    def fail(self, study: HeldStudy, instances: Iterable[str]) -> None:
        """Put a study aside until an instance comes that was not among these, or the next start."""
        with self._lock:
            study.failed = study.received.keys() <= set(instances)

    def put_answer(self, study: HeldStudy, made: Path, instances: tuple[str, ...]) -> None:
        """Take a folder in as the answer that rests on these instances: whole, or not at all."""
        write_record(made / RESTS_ON, InstanceNames(instances))
        with self._lock:
            replace_folder(made, study.results)
            flush(study.folder)
            study.answered = True

    def settle(self, study: HeldStudy, *, leave: bool) -> int:
        """An answer arrived: note what it rests on, `leave` it in the folder of results or delete it, and
        delete the received files, if nothing came since; how many were deleted."""
        rests_on = read_record(InstanceNames, study.results / RESTS_ON).instances
        headers = [header_of(path) for path in study.results.rglob("*" + SUFFIX)]
        made = {pseudonym(self._key, "instance", identifier(h, "SOPInstanceUID")) for h in headers if h}
        with self._lock:
            known = study.known | made.union(rests_on)
            write_record(study.folder / RECORD, InstanceNames(tuple(sorted(known))))
            flush(study.folder)
            study.known = known
            place = self._free_place(study.number) if leave else study.folder / f".{RESULTS}"
            study.results.rename(place)
            study.answered = False
            (place / RESTS_ON).unlink()
            flush(place.parent)
            clear(study.folder)
            deleted = self.release(study)
            self._forget()
            return deleted

    def _free_place(self, number: int) -> Path:
        """Where a study's answer is left; a later one has a number of its own."""
        places = [self.out / RESULTS / f"study-{number}"]
        while places[-1].exists():
            places.append(self.out / RESULTS / f"study-{number}-{len(places) + 1}")
        return places[-1]

    def release(self, study: HeldStudy) -> int:
        """Delete the files of a study that holds nothing new, unless they are kept; how many there were."""
        with self._lock:
            names = [] if study.new or self.settings.keep else list(study.received)
            for name in names:
                (study.inbox / (name + SUFFIX)).unlink(missing_ok=True)
                del study.received[name]
            return len(names)

    def _forget(self) -> None:
        """Delete what is known of studies that were finished long ago, but the last: its number counts."""
        oldest = time.time() - REMEMBERED
        last = max((study.number for study in self._studies.values()), default=0)
        for name, study in list(self._studies.items()):
            record = study.folder / RECORD
            idle = not (study.received or study.answered or study.number == last)
            if idle and record.exists() and record.stat().st_mtime < oldest:
                shutil.rmtree(study.folder)
                del self._studies[name]


def check_own(out: Path) -> None:
    """Make the folder, open to its owner alone; UserError for one that holds something else."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(out.iterdir()) and not (out / "listen.json").exists():
        raise UserError(f"{out} has other content; give a new folder, or one made by `listen`")
    keep_record(out / "listen.json", {"format": 1}, "listener")


def key_of(path: Path) -> bytes:
    """The folder's random key, made if it is missing."""
    if not path.exists():
        write_file(path, lambda file: file.write_bytes(secrets.token_bytes(32)), private=True)
        flush(path.parent)
    return path.read_bytes()


def clear(folder: Path) -> None:
    """Delete what a stop left half done below a study's folder; its name begins with a dot."""
    for path in [*folder.glob(".*"), *(folder / RECEIVED).glob(".*")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def found_again(folder: Path, number: int, now: float) -> HeldStudy:
    """A study as it is on the disk."""
    clear(folder)
    (folder / RECEIVED).mkdir(mode=0o700, exist_ok=True)
    record = folder / RECORD
    known = read_record(InstanceNames, record).instances if record.exists() else ()
    received = {path.stem: path.stat().st_size for path in (folder / RECEIVED).glob("*" + SUFFIX)}
    answered = (folder / RESULTS / RESTS_ON).exists()
    return HeldStudy(number, folder, received, set(known), answered, last=now)
