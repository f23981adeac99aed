"""From folders of files to a data set: every file comes in, or has a row that says why not.

Workers decode, find the sector, crop and encode; the parent alone writes, in batches, under the data set's
lock. Stopped at any moment and run again, it goes on with the files that are neither in the table nor in
`rejected.parquet`; two at once share the work of writing and lose nothing.
"""

from __future__ import annotations

import csv
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from echojepa.config import IngestConfig
from echojepa.data import convert as conversion
from echojepa.data.convert import Job, Refused, convert, lost, placed
from echojepa.data.deidentify import pseudonym
from echojepa.data.labels import read_labels
from echojepa.data.private import IngestError, keep_pictures, read_key, write_file_map
from echojepa.data.rejection import Rejected
from echojepa.data.rows import StoredLoop
from echojepa.data.splits import assign_split
from echojepa.data.store import LABEL_SCHEMA, LoopStore
from echojepa.data.workers import Died, Limits, run_in_order
from echojepa.vocabulary import Reason

COMMIT_EVERY = 64
"""Files between two commits: what a kill can cost at most."""
CPU_SECONDS, SECONDS_A_MEGABYTE, MEMORY = 10.0, 1.0, 3 << 29
"""What one file may use: processor seconds, more of them for a larger file, and 1.5 GiB."""
TABLES = (".csv", ".parquet", ".json")
"""Files of these kinds beside the videos are tables of labels and the like, not archives' files."""


@dataclass
class Came:
    """What one run brought in, counted as it comes."""

    loops: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def count(self, loop: StoredLoop) -> None:
        """Count a loop that was written."""
        self.loops += 1
        self.kinds[loop.kind] += 1
        self.views[loop.view or "not stated"] += 1
        self.splits[loop.split] += 1


@dataclass(frozen=True)
class IngestSummary:
    """What one run brought in, and what there is now."""

    came: Came
    already: int
    patients: int
    labels: int
    labels_without_study: int
    file_map: Path
    pictures: Path

    def came_in(self) -> list[tuple[str, int]]:
        """Rows for a table a person reads."""
        came = self.came
        rows = [
            ("new loops", came.loops),
            ("already there", self.already),
            ("patients in the data set", self.patients),
        ]
        for word, counts in (("kind", came.kinds), ("view", came.views), ("split", came.splits)):
            rows += [(f"{word} {name}", number) for name, number in sorted(counts.items())]
        return [*rows, ("labels", self.labels), ("labels of unknown studies", self.labels_without_study)]


def list_files(sources: tuple[Path, ...]) -> list[Path]:
    """Every file below the sources, resolved and sorted; hidden files and tables of labels are left out.

    A folder that cannot be listed is in the list itself, so that it gets its row and is not lost.
    """
    found: set[Path] = set()
    for source in sources:
        if not source.exists():
            raise IngestError(f"{source} does not exist; give folders or files to read")
        if source.is_file():
            found.add(source)
        closed: list[OSError] = []
        for folder, _, names in os.walk(source, onerror=closed.append):
            found.update(Path(folder, name) for name in names)
        found.update(Path(error.filename) for error in closed)
    real = {path.resolve() for path in found}  # one file under two names is one file
    kept = sorted(path for path in real if not path.name.startswith(".") and path.suffix not in TABLES)
    if not kept:
        raise IngestError(
            f"no files in {', '.join(map(str, sources))}; give the folder that holds the DICOM files"
        )
    return kept


def read_cleared(path: Path | None) -> set[str]:
    """Ids of held files that a person has cleared; IngestError for a table without `file_id`."""
    if path is None:
        return set()
    if not path.is_file():
        raise IngestError(f"the table of cleared files {path} does not exist")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "file_id" not in (reader.fieldnames or ()):
            raise IngestError(f"{path} lacks the column file_id; it has {reader.fieldnames}")
        return {row["file_id"].strip() for row in reader}


def file_limits(job: Job) -> Limits:
    """What converting a file may use."""
    size = job.path.stat().st_size if job.path.is_file() else 0
    return Limits(max(CPU_SECONDS, SECONDS_A_MEGABYTE * size / 1e6), MEMORY)


def convert_all(jobs: list[Job], workers: int) -> Iterator[StoredLoop | Refused]:
    """Convert files in order; one that ends its worker is refused like any other."""
    results = run_in_order(convert, jobs, workers or os.cpu_count() or 1, file_limits, conversion.__name__)
    for job, result in zip(jobs, results, strict=True):
        yield lost(job, result.over_time) if isinstance(result, Died) else result


class Registrar:
    """Gives patients their ordinal and split, refuses duplicates, and commits in batches."""

    def __init__(self, store: LoopStore, pictures: Path) -> None:
        self.store, self.pictures, self.split_seed = store, pictures, store.split_seed
        self.rows = 0
        self.ordinals: dict[str, int] = {}
        self.files: set[str] = set()
        self.seen: set[str] = set()
        self.waiting: list[StoredLoop | Refused] = []
        self.came = Came()
        self.learn()

    def learn(self) -> None:
        """Take note of rows that were committed since the last look, by this process or another."""
        self.store.refresh()
        columns = ["patient_id", "patient_ordinal", "file_id", "loop_id", "pixel_sha256"]
        new = self.store.metadata(columns, since=self.rows).to_pydict()
        self.rows += len(new["file_id"])
        self.ordinals |= dict(zip(new["patient_id"], new["patient_ordinal"], strict=True))
        self.files |= set(new["file_id"])
        self.seen |= {*new["loop_id"], *new["pixel_sha256"]}

    def take(self, result: StoredLoop | Refused) -> None:
        """Accept a converted file."""
        self.waiting.append(result)

    def commit(self) -> None:
        """Write what has been taken."""
        with self.store.lock():
            self.learn()
            loops, refused = self.sort_out()
            keep_pictures(self.pictures, {r.file_id: r.picture for r in refused if r.picture})
            if loops:
                self.store.append(loops)
            self.store.replace_rejected(
                [
                    {"file_id": r.file_id, "reason": r.why.reason.value, "detail": r.why.detail}
                    for r in refused
                ],
                came_in={loop.file_id for loop in loops},
            )
        for loop in loops:
            self.came.count(loop)
        self.came.rejected.update(r.why.reason.value for r in refused)
        self.waiting = []

    def sort_out(self) -> tuple[list[StoredLoop], list[Refused]]:
        """What was taken and is not there yet: loops with their place, and refusals, duplicates with them."""
        loops: list[StoredLoop] = []
        refused = []
        for result in self.waiting:
            if result.file_id in self.files:
                continue
            if isinstance(result, Refused):
                refused.append(result)
            elif {result.loop_id, result.pixel_sha256} & self.seen:
                why = Rejected(Reason.DUPLICATE, "these pixels came in before")
                refused.append(Refused(result.file_id, why))
            else:
                self.seen |= {result.loop_id, result.pixel_sha256}
                ordinal = self.ordinals.setdefault(result.patient_id, len(self.ordinals))
                loops.append(placed(result, ordinal, assign_split(self.split_seed, ordinal)))
        return loops, refused


def jobs_for(config: IngestConfig, files: list[Path], ids: list[str], key: bytes) -> list[Job]:
    """A job for every file."""
    cleared = read_cleared(config.cleared)
    return [
        Job(path, file_id, key, config.site, config.max_side, file_id in cleared)
        for path, file_id in zip(files, ids, strict=True)
    ]


def still_to_do(store: LoopStore, jobs: list[Job]) -> list[Job]:
    """Jobs of files that are neither in the table nor refused, and of held ones that have been cleared.

    A refusal of a file that is in the table, left by a kill between the two, is dropped.
    """
    with store.lock():
        inside = set(store.metadata(["file_id"])["file_id"].to_pylist())
        store.replace_rejected([], came_in=inside)
    refused = {row["file_id"]: row["reason"] for row in store.rejected().to_pylist()}
    held = Reason.HELD_TEXT.value
    return [
        job
        for job in jobs
        if job.file_id not in inside
        and (job.file_id not in refused or (job.cleared and refused[job.file_id] == held))
    ]


def ingest(config: IngestConfig, progress: Callable[[int, int], None]) -> IngestSummary:
    """Ingest every file below the sources; calls progress(done, total).

    Raises IngestError when there is nothing to ingest, nothing came in, the disk is full, or `strict`
    is set and a file was rejected; what was committed stays.
    """
    files = list_files(config.sources)
    key = read_key(config.key, config.out)
    labels = read_labels(config.labels, key) if config.labels else LABEL_SCHEMA.empty_table()
    try:
        store = LoopStore.create(config.out, config.seed)
        ids = [pseudonym(key, "file", str(path)) for path in files]
        file_map = write_file_map(config.key, files, ids)
        jobs = still_to_do(store, jobs_for(config, files, ids, key))
        registrar = Registrar(store, config.key.with_name(f"{config.key.name}.review"))
        for number, result in enumerate(convert_all(jobs, config.workers), start=1):
            registrar.take(result)
            if number % COMMIT_EVERY == 0 or number == len(jobs):
                registrar.commit()
            progress(len(files) - len(jobs) + number, len(files))
        with store.lock():
            store.add_labels(labels)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise IngestError(
                f"the disk of {config.out} is full; make room and run again: what came in so far is safe"
            ) from error
        raise
    return summarise(config, registrar, len(files) - len(jobs), labels, file_map)


def summarise(
    config: IngestConfig, registrar: Registrar, already: int, labels: pa.Table, file_map: Path
) -> IngestSummary:
    """Count what came in; IngestError when nothing did, or something did not and `strict` is set."""
    table = registrar.store.metadata(["study_id", "patient_id"]).to_pydict()
    studies = set(table["study_id"])
    rejected = dict(registrar.came.rejected)
    if not studies:
        raise IngestError(
            f"nothing came in; reasons by number of files: {rejected}. See {file_map} for which"
        )
    if config.strict and rejected:
        raise IngestError(
            f"rejected files by reason: {rejected}; the others came in. See {file_map} for which"
        )
    joined = sum(study in studies for study in labels["study_id"].to_pylist())
    return IngestSummary(
        came=registrar.came,
        already=already,
        patients=len(set(table["patient_id"])),
        labels=joined,
        labels_without_study=labels.num_rows - joined,
        file_map=file_map,
        pictures=registrar.pictures,
    )
