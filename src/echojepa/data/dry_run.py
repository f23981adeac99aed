"""What an ingest would do: every header read, a sample of files converted whole, no data set written."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echojepa.config import IngestConfig
from echojepa.data import convert as conversion
from echojepa.data.boundary import one_file
from echojepa.data.convert import Job, Refused
from echojepa.data.ingest import convert_all, file_limits, jobs_for, listing_of
from echojepa.data.key import key_for
from echojepa.data.private import beside, write_left_out, write_private_table
from echojepa.data.recording import open_recording
from echojepa.data.rejection import Rejected
from echojepa.data.workers import Died, run_in_order
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
    table: Path
    """Private table beside the key: path, file id, verdict."""


def read_header(job: Job) -> str:
    """The kind of a file, or the reason why it cannot come in."""
    try:
        with one_file():
            return open_recording(job.path, job.key, job.stated).kind.value
    except Rejected as rejected:
        return rejected.reason.value


def dry_run(config: IngestConfig, progress: Callable[[int, int], None]) -> DryRun:
    """Look at every file below the sources; calls progress(done, total). Nothing is written but the private
    table beside the key. IngestError as `ingest` for sources that are not there."""
    listing = listing_of(config)
    key = key_for(config.key, config.out)
    jobs = jobs_for(config, listing.videos, key)
    workers = config.workers or os.cpu_count() or 1
    verdicts, began = [], time.perf_counter()
    for result in run_in_order(read_header, jobs, workers, file_limits, conversion.__name__):
        died = Reason.LIMITS if isinstance(result, Died) and result.over_time else Reason.CRASHED
        verdicts.append(died.value if isinstance(result, Died) else result)
        progress(len(verdicts), len(jobs) + SAMPLE)
    header_seconds = time.perf_counter() - began
    reasons = {reason.value for reason in Reason}
    good = [job for job, verdict in zip(jobs, verdicts, strict=True) if verdict not in reasons]
    chosen = [good[i] for i in np.unique(np.linspace(0, len(good) - 1, min(SAMPLE, len(good))).astype(int))]
    began = time.perf_counter()
    results = []
    for result in convert_all(chosen, replace(config, ray=None)):
        results.append(result)
        progress(len(jobs) + len(results), len(jobs) + len(chosen))
    seconds, size = time.perf_counter() - began, 0
    for result in results:
        size += 0 if isinstance(result, Refused) else sum(map(len, result.frames))
    share = len(good) / max(1, len(chosen))
    table = beside(config.key, "dry-run")
    rows = [(job.path, job.file_id, verdict) for job, verdict in zip(jobs, verdicts, strict=True)]
    write_private_table(table, [("path", "file_id", "verdict"), *rows])
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
        table=table,
    )
