"""From folders of files to a data set: every file comes in, or has a row that says why not.

Workers decode, find the sector, crop and encode; the parent alone writes, in batches, under the data set's
lock. Stopped at any moment and run again, it goes on with the files that are neither in the table nor in
`rejected.parquet`; two at once share the work of writing and lose nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from echojepa.config import IngestConfig
from echojepa.data.identity.deidentify import pseudonym
from echojepa.data.identity.private import (
    IngestError,
    Tried,
    beside,
    read_file_map,
    stamp_of,
    write_file_map,
    write_left_out,
)
from echojepa.data.importers.archive import list_archive
from echojepa.data.importers.known import ARCHIVE, read_listing
from echojepa.data.importers.listing import Listing, Stated
from echojepa.data.ingest import convert as conversion
from echojepa.data.ingest.convert import ConvertedLoop, Job, KeyAtHand, Refused, convert, lost
from echojepa.data.ingest.key import key_for, remember_key
from echojepa.data.ingest.labels import read_labels
from echojepa.data.ingest.registrar import Came, Registrar
from echojepa.data.store.loop_store import LABEL_SCHEMA, LoopStore
from echojepa.data.store.scan import distinct, number_of
from echojepa.files.durable import disk_full
from echojepa.files.tables import compute, read_whole_rows
from echojepa.processes.cluster import run_on_cluster
from echojepa.processes.workers import Died, Limits, run_in_order
from echojepa.progress import Progress
from echojepa.vocabulary import Reason

PASSING = (Reason.UNREADABLE, Reason.LIMITS, Reason.CRASHED, Reason.PROGRAM)
"""Reasons that may no longer apply at the next run, even if the file has not changed."""
UNFINISHED = (Reason.TRUNCATED, Reason.NOT_DICOM, Reason.NO_PIXELS)
"""Reasons of a half-copied file: it is tried again if its earlier size and time are unknown."""
COMMIT_EVERY = 64
"""Files between two commits: the most that a kill can cost."""
CPU_SECONDS, SECONDS_A_MEGABYTE, MEMORY = 10.0, 1.0, 3 << 29
"""Limits of one file: CPU seconds, more for a larger file, and 1.5 GiB."""


@dataclass(frozen=True)
class IngestSummary:
    """What one run brought in, and what there is now."""

    came: Came
    already: int
    patients: int
    labels: int
    labels_without_study: int
    left_out: dict[str, int]
    """Left-out entries of the data set's own tables and folder, by reason."""
    file_map: Path
    left_out_map: Path
    pictures: Path

    def came_in(self) -> list[tuple[str, int]]:
        """Rows for a table a person reads."""
        came = self.came
        rows = [
            ("new loops", came.loops),
            ("already there", self.already),
            ("patients in the data set", self.patients),
        ]
        if came.moved:
            rows.append(("not in their official split: the patient was already in another one", came.moved))
        if came.joined:
            rows.append(("patients moved to another split: a file shows they are one person", came.joined))
        for word, counts in (("kind", came.kinds), ("view", came.views), ("split", came.splits)):
            rows += [(f"{word} {name}", number) for name, number in sorted(counts.items())]
        return [*rows, ("labels", self.labels), ("labels of unknown studies", self.labels_without_study)]


def read_cleared(path: Path | None) -> set[str]:
    """Ids of held files that a person has cleared; TableError for a table without `file_id`."""
    if path is None:
        return set()
    return {row["file_id"] for _, row in read_whole_rows(path, ("file_id",))}


def file_limits(job: Job) -> Limits:
    """What converting a file may use: its own pages, mapped and copied once, do not count."""
    size = stamp_of(job.path)[0]
    return Limits(max(CPU_SECONDS, SECONDS_A_MEGABYTE * size / 1e6), MEMORY + 2 * size)


def convert_all(jobs: list[Job], config: IngestConfig) -> Iterator[ConvertedLoop | Refused]:
    """Convert files in order, here or on a cluster; one that ends its worker is refused like any other.

    The key does not go to a cluster: its nodes read it from its file.
    """
    if not config.ray:
        yield from convert_here(jobs, config.workers)
        return
    convert_there, sent = KeyAtHand(config.key.resolve()), [replace(job, key=b"") for job in jobs]
    yield from told(jobs, run_on_cluster(convert_there, sent, config.ray, file_limits, conversion.__name__))


def convert_here(jobs: Sequence[Job], workers: int = 0) -> Iterator[ConvertedLoop | Refused]:
    """Convert files in order on processes of this machine, as many as there are cores for 0."""
    workers = workers or os.cpu_count() or 1
    yield from told(jobs, run_in_order(convert, jobs, workers, file_limits, conversion.__name__))


def told(
    jobs: Sequence[Job], results: Iterable[ConvertedLoop | Refused | Died]
) -> Iterator[ConvertedLoop | Refused]:
    """Results of jobs, that of one that ended its worker as a refusal."""
    for job, result in zip(jobs, results, strict=True):
        yield lost(job, result.over_time) if isinstance(result, Died) else result


def listing_of(config: IngestConfig) -> Listing:
    """The files to read: all below the sources, or those that a data set's own tables name."""
    if config.layout == ARCHIVE:
        return list_archive(config.sources)
    return read_listing(config)


def jobs_for(config: IngestConfig, videos: dict[Path, Stated], key: bytes) -> list[Job]:
    """A job for every file."""
    cleared = read_cleared(config.cleared)
    ids = {path: pseudonym(key, "file", str(path)) for path in videos}
    return [
        Job(path, ids[path], key, config.site, config.max_side, ids[path] in cleared, stated, config.lossless)
        for path, stated in videos.items()
    ]


def labels_of(config: IngestConfig, listing: Listing, key: bytes) -> pa.Table:
    """Labels by pseudonym: those of the data set's own tables, then those of `labels`, which win."""
    own = [
        {"study_id": pseudonym(key, "study", study), "label": label, "value": value, "unit": unit}
        for (study, label), (value, unit) in listing.labels.items()
    ]
    table = pa.Table.from_pylist(own, schema=LABEL_SCHEMA)
    return pa.concat_tables([table, read_labels(config.labels, key)]) if config.labels else table


def still_to_do(store: LoopStore, jobs: list[Job], key: Path) -> list[Job]:
    """Jobs of new files, of held files that have been cleared, and of refused files to try again: those that
    changed since, or whose reason may no longer apply.

    If a kill left a refusal of a file that is in the table, the refusal is dropped.
    """
    with store.lock():
        ours = pa.array([job.file_id for job in jobs], pa.string())
        asked = pa.chunked_array([ours, *store.rejected()["file_id"].chunks])
        inside = set[str]()
        for piece in store.batches(["file_id"]):
            inside.update(piece["file_id"].filter(compute.is_in(piece["file_id"], asked)).to_pylist())
        store.replace_rejected([], came_in=inside)
    rejected = store.rejected()
    mine = rejected.filter(compute.is_in(rejected["file_id"], ours)).to_pylist()
    refused = {row["file_id"]: row["reason"] for row in mine}
    tried = dict(read_file_map(key, refused.keys()))
    return [job for job in jobs if job.file_id not in inside and is_open(job, refused, tried)]


def is_open(job: Job, refused: dict[str, str], tried: dict[str, Tried]) -> bool:
    """Whether a file that is not in the table is to be tried, for the first time or again."""
    reason = refused.get(job.file_id)
    if reason is None or reason in PASSING or (job.cleared and reason == Reason.HELD_TEXT):
        return True
    known = tried.get(job.file_id)
    if known is None or known.stamp is None:
        return reason in UNFINISHED
    return known.stamp != stamp_of(job.path)


def ingest(config: IngestConfig, progress: Progress) -> IngestSummary:
    """Ingest every file below the sources, or that their tables name; calls progress(done, total).

    Raises IngestError when there is nothing to ingest, nothing came in, the disk is full, or `strict`
    is set and a file was rejected; what was committed stays.
    """
    listing = listing_of(config)
    files = list(listing.videos)
    key = key_for(config.key, config.out)
    labels = labels_of(config, listing, key)
    try:
        store = LoopStore.create(config.out, config.seed)
        remember_key(store, key, config.key)
        jobs = jobs_for(config, listing.videos, key)
        every = {job.file_id: job.path for job in jobs}
        jobs = still_to_do(store, jobs, config.key)
        write_file_map(config.key, every, {job.file_id for job in jobs})
        registrar = Registrar(store, config.key.with_name(f"{config.key.name}.review"))
        for number, result in enumerate(convert_all(jobs, config), start=1):
            registrar.take(result)
            if number % COMMIT_EVERY == 0 or number == len(jobs):
                registrar.commit()
            progress(len(files) - len(jobs) + number, len(files))
        with store.lock():
            store.add_labels(labels)
    except OSError as error:
        if full := disk_full(error, config.out):
            raise IngestError(full) from error
        raise
    return summarise(config, registrar, len(files) - len(jobs), labels, listing)


def summarise(
    config: IngestConfig, registrar: Registrar, already: int, labels: pa.Table, listing: Listing
) -> IngestSummary:
    """Count what came in; IngestError when nothing did, or something did not and `strict` is set."""
    table = distinct(registrar.store.batches(["study_id", "patient_id"]))
    came, file_map = registrar.came, beside(config.key, "files")
    rejected = dict(came.rejected)
    if not len(table):
        raise IngestError(
            f"nothing came in; reasons by number of files: {rejected}. {file_map} lists the files"
        )
    if config.strict and rejected:
        ours = f"; errors of this program: {dict(came.faults)}" if came.faults else ""
        raise IngestError(
            f"rejected files by reason: {rejected}{ours}; the others were accepted. {file_map} lists the "
            "files"
        )
    joined = compute.sum(compute.is_in(labels["study_id"], table["study_id"])).as_py() or 0
    return IngestSummary(
        came=registrar.came,
        already=already,
        patients=number_of(table["patient_id"]),
        labels=joined,
        labels_without_study=labels.num_rows - joined,
        left_out=dict(listing.counted()),
        file_map=file_map,
        left_out_map=write_left_out(config.key, listing.left_out),
        pictures=registrar.pictures,
    )
