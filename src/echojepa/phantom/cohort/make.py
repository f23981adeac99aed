"""A cohort of synthetic patients, made on all cores and written study by study.

One patient's data is a function of (seed, patient number) alone, whatever the number of workers; a cohort
that was stopped goes on where it stood.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from echojepa.config import SimulateConfig
from echojepa.errors import UserError
from echojepa.files.durable import disk_full
from echojepa.files.records import keep_record
from echojepa.files.tables import write_parquet
from echojepa.phantom.cohort.counterfactual import counterfactual, factor_of
from echojepa.phantom.cohort.presets import ARCHIVE, STORE, Order, order_of
from echojepa.phantom.cohort.public_sets import PUBLIC_WRITERS
from echojepa.phantom.cohort.sidecar import truth_table
from echojepa.phantom.cohort.study import Study, draw_study, study_uid
from echojepa.phantom.cohort.writers import ArchiveWriter, Labels, StoreWriter, Writer
from echojepa.processes.workers import Died, Limits, run_in_order
from echojepa.progress import Progress

WRITERS: dict[str, type[Writer]] = {ARCHIVE: ArchiveWriter, STORE: StoreWriter, **PUBLIC_WRITERS}
LIMITS = Limits(cpu_seconds=3600.0, memory=8 << 30)
"""What one study may use; far beyond what it needs."""
FREE = ("out", "patients", "workers")
"""Settings that may change when a cohort goes on."""


@dataclass(frozen=True)
class StudyJob:
    """One study."""

    order: Order
    ordinal: int
    step: int | None
    finished: bool
    """Whether only its truth is wanted."""


def study_of(order: Order, ordinal: int, step: int | None = None) -> Study:
    """A patient's study; at a step of the order's factor, where it has one."""
    study = draw_study(order, ordinal)
    return study if step is None else counterfactual(study, order, step)


def make(job: StudyJob) -> tuple[pa.Table, Any]:
    """Make one study in a worker: its truth, and what its writer made, None for a study that was finished."""
    study = study_of(job.order, job.ordinal, job.step)
    rows = None if job.finished else WRITERS[job.order.written_as].make(study, job.order)
    return truth_table(study), rows


@dataclass(frozen=True)
class Written:
    """What a cohort holds."""

    patients: int
    loops: int
    written_as: str


def write_cohort(config: SimulateConfig, progress: Progress) -> Written:
    """Write every study, and `truth.parquet` with a row a loop.

    Raises UserError when the disk is full, for an unknown name, or where the folder holds another cohort.
    """
    order = order_of(config)
    factor = factor_of(order)
    if order.written_as not in WRITERS:
        raise UserError(f"unknown layout '{order.written_as}'; known: {', '.join(WRITERS)}")
    kind = WRITERS[order.written_as]
    site = config.site or kind.site or order.site
    order = replace(order, site=site, protocol=kind.protocol or order.protocol, side=kind.side or order.side)
    order.out.mkdir(parents=True, exist_ok=True)
    try:
        writer = kind(order)
        keep_record(order.out / "config.json", config, "cohort", FREE)
        done = writer.finished()
        steps = range(len(factor.steps)) if factor else (None,)
        jobs = [
            StudyJob(order, ordinal, step, study_uid(order.seed, ordinal, order.factor, step or 0) in done)
            for ordinal in range(order.patients)
            for step in steps
        ]
        truth = run(jobs, writer, config.workers or os.cpu_count() or 1, progress)
        writer.finish(labels_of(truth, order))
        write_parquet(order.out / "truth.parquet", truth)
    except OSError as error:
        if full := disk_full(error, config.out):
            raise UserError(full) from error
        raise
    return Written(order.patients, truth.num_rows, order.written_as)


def run(jobs: list[StudyJob], writer: Writer, workers: int, progress: Progress) -> pa.Table:
    """Make studies in order; returns their truth."""
    truths = []
    for number, made in enumerate(run_in_order(make, jobs, workers, lambda _: LIMITS, __name__), start=1):
        if isinstance(made, Died):
            raise UserError("the process that made a study ended; run the same command again to resume")
        truth, rows = made
        truths.append(truth)
        if rows is not None:
            writer.take(rows)
        progress(number, len(jobs))
    return pa.concat_tables(truths, promote_options="permissive")


def labels_of(truth: pa.Table, order: Order) -> Labels:
    """Labels of every study. RVSP is the patient's own, whether or not a loop shows the jet."""
    found: dict[tuple[str, str], tuple[float, str]] = {}
    units = {"lvef": "%", "edv": "mL", "esv": "mL", "rvsp": "mmHg"}
    for row in truth.select(["study_id", "factor_value", *units]).to_pylist():
        for label, unit in units.items():
            if row[label] is not None:
                found[row["study_id"], label] = (row[label], unit)
        if order.factor is not None:
            found[row["study_id"], f"varied {order.factor}"] = (row["factor_value"], "")
    return [(study, label, value, unit) for (study, label), (value, unit) in found.items()]
