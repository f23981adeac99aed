"""What an ingest would do: every header read, a sample of files converted whole, no data set written."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from echojepa.config import IngestConfig
from echojepa.data.identity.private import beside, write_left_out
from echojepa.data.ingest import convert as conversion
from echojepa.data.ingest.convert import Job, Refused
from echojepa.data.ingest.ingest import convert_all, file_limits, jobs_for, labels_of, listing_of
from echojepa.data.ingest.key import key_for
from echojepa.data.reading.boundary import one_file
from echojepa.data.reading.recording import open_recording
from echojepa.data.reading.rejection import Rejected
from echojepa.data.verify.people_checks import FEWEST_LOOPS
from echojepa.files.tables import write_csv
from echojepa.processes.workers import Died, run_in_order
from echojepa.progress import Progress
from echojepa.vocabulary import Reason

SAMPLE = 48
"""Files converted whole, evenly spread over those whose header is good."""


@dataclass(frozen=True)
class DryRun:
    """What an ingest of these files would bring in, and cost."""

    files: int
    kinds: dict[str, int]
    """Files whose header is good, by what they show."""
    refused: dict[str, int]
    """Files whose header says that they cannot come in, by reason."""
    sampled: int
    sample_refused: dict[str, int]
    """Sampled files that did not come in although their header is good, by reason."""
    disk_bytes: float
    """Estimated size of the data set."""
    left_out: dict[str, int]
    """What the data set's own tables name, or their folder holds, that would be passed over, by reason."""
    left_out_map: Path
    """Private table beside the key: why, and what."""
    seconds: float
    """Estimated time of the ingest on as many workers as asked for."""
    doubts: tuple[str, ...]
    """What `verify` would warn of afterwards, a sentence each."""
    table: Path
    """Private table beside the key: path, file id, verdict."""


@dataclass(frozen=True)
class Header:
    """What one file's header says."""

    verdict: str
    """The kind of a file, or the reason why it cannot come in."""
    patient: str = ""
    study: str = ""
    doubt: str = ""
    """What is odd of its times."""


def read_header(job: Job) -> Header:
    """The facts of a file, or the reason why it cannot come in."""
    try:
        with one_file():
            facts = open_recording(job.path, job.key, job.stated)
            return Header(facts.kind.value, facts.patient_id, facts.study_id, facts.time_warning)
    except Rejected as rejected:
        return Header(rejected.reason.value)


def doubts(headers: Sequence[Header], labels: pa.Table) -> tuple[str, ...]:
    """What `verify` would warn of after the ingest, as far as headers tell."""
    good = [header for header in headers if header.patient]
    found = []
    patients = Counter(header.patient for header in good)
    of_study: dict[str, set[str]] = {}
    for header in good:
        of_study.setdefault(header.study, set()).add(header.patient)
    if patients and (most := max(patients.values())) >= FEWEST_LOOPS and most > len(good) / 2:
        found.append(
            f"one patient has {most} of {len(good)} files; perhaps all were anonymised with one name"
        )
    if shared := sum(len(names) > 1 for names in of_study.values()):
        found.append(f"{shared} studies have several patients, who count as one person")
    if odd := sum(bool(header.doubt) for header in good):
        found.append(f"{odd} files have doubtful frame times")
    if lost := sum(study not in of_study for study in labels["study_id"].to_pylist()):
        found.append(f"{lost} labels belong to studies without any accepted file")
    return tuple(found)


def dry_run(config: IngestConfig, progress: Progress) -> DryRun:
    """Look at every file below the sources; calls progress(done, total). Nothing is written but the private
    table beside the key. IngestError as `ingest` for sources that are not there."""
    listing = listing_of(config)
    key = key_for(config.key, config.out)
    jobs = jobs_for(config, listing.videos, key)
    workers = config.workers or os.cpu_count() or 1
    labels = labels_of(config, listing, key)
    headers, began = [], time.perf_counter()
    for result in run_in_order(read_header, jobs, workers, file_limits, conversion.__name__):
        died = Reason.LIMITS if isinstance(result, Died) and result.over_time else Reason.CRASHED
        headers.append(Header(died.value) if isinstance(result, Died) else result)
        progress(len(headers), len(jobs) + SAMPLE)
    verdicts = [header.verdict for header in headers]
    header_seconds = time.perf_counter() - began
    reasons = {reason.value for reason in Reason}
    good = [job for job, verdict in zip(jobs, verdicts, strict=True) if verdict not in reasons]
    chosen = [good[i] for i in np.unique(np.linspace(0, len(good) - 1, min(SAMPLE, len(good))).astype(int))]
    began = time.perf_counter()
    results = []
    for result in convert_all(chosen, replace(config, ray=None)):
        results.append(result)
        progress(len(jobs) + len(results), len(jobs) + len(chosen))
    seconds = time.perf_counter() - began
    size = sum(len(frame) for result in results if not isinstance(result, Refused) for frame in result.frames)
    share = len(good) / max(1, len(chosen))
    table = beside(config.key, "dry-run")
    looked = zip(jobs, verdicts, strict=True)
    rows = ({"path": job.path, "file_id": job.file_id, "verdict": verdict} for job, verdict in looked)
    write_csv(table, rows, private=True)
    return DryRun(
        files=len(jobs),
        left_out=dict(listing.counted()),
        left_out_map=write_left_out(config.key, listing.left_out),
        kinds=dict(Counter(v for v in verdicts if v not in reasons)),
        refused=dict(Counter(v for v in verdicts if v in reasons)),
        sampled=len(chosen),
        sample_refused=dict(Counter(r.why.reason.value for r in results if isinstance(r, Refused))),
        disk_bytes=size * share,
        seconds=header_seconds + seconds * share,
        doubts=doubts(headers, labels),
        table=table,
    )
