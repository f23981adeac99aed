"""What a cohort is written as: DICOM files, or rows of a data set. A study is made in a worker, taken here.

Public data sets' layouts stand in `public_sets`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from echojepa.data.identity.deidentify import coarse_age
from echojepa.data.identity.splits import assign_split
from echojepa.data.ingest.convert import Job, keep, looked_at
from echojepa.data.reading.cine import Recording, Region
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.data.reading.frames import FramesInMemory
from echojepa.data.sector.sector import Sector
from echojepa.data.store.loop_store import LABEL_SCHEMA, LoopStore
from echojepa.data.store.rows import StoredLoop
from echojepa.errors import UserError
from echojepa.files.tables import write_csv
from echojepa.phantom.cohort.loops import facts_of, record_loop, simulate_loop
from echojepa.phantom.cohort.presets import Order
from echojepa.phantom.cohort.sites import Protocol
from echojepa.phantom.cohort.study import Drawn, Study

Labels = Sequence[tuple[str, str, float, str]]
"""Study, label, value, unit."""
COMMIT_EVERY = 64
"""Loops between two commits to a data set: what a kill can cost at most, but for the study under way."""


class Writer(ABC):
    """Writes studies in one layout. `make` runs in a worker, the rest in the process that owns the folder."""

    protocol: ClassVar[Protocol | None] = None
    """What studies hold, where the layout says so."""
    side: ClassVar[int | None] = None
    """Side of its pictures, pixels, where the layout says so."""
    site: ClassVar[str | None] = None
    """Whose patients it holds, where the layout says so and the command does not."""

    def __init__(self, order: Order) -> None:
        self.order = order

    @staticmethod
    @abstractmethod
    def make(study: Study, order: Order) -> Any:
        """Write or return what is made of a study; what is there already is not made again."""

    def finished(self) -> set[str]:
        """Ids of studies that need not be made again."""
        return set()

    # Not abstract: where workers write the files themselves, nothing is left to do.
    def take(self, made: Any) -> None:  # noqa: B027
        """Keep what a worker returned, study by study in order."""

    def finish(self, labels: Labels) -> None:  # noqa: B027
        """Write what belongs to the cohort as a whole."""


def write_dicom(path: Path, study: Study, number: int, order: Order) -> None:
    """One loop as the scanner of its site stores it, unless the file is there."""
    if path.exists():
        return
    site, drawn = study.site, study.loops[number]
    layout = None if order.small_screen else site.layouts[study.ordinal % len(site.layouts)]
    syntax = "jpeg" if order.small_screen else site.syntaxes[drawn.number % len(site.syntaxes)]
    recorded = simulate_loop(study, number, layout)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_cine(
        path,
        recorded.loop,
        patient_name=f"PHANTOM^{study.ordinal:05d}",
        study_date="20260101",
        transfer_syntax=syntax,
    )


class ArchiveWriter(Writer):
    """DICOM files, one folder a patient and one a study in it, and `labels.csv` as a hospital exports it."""

    @staticmethod
    def make(study: Study, order: Order) -> None:
        """Write the files that are not there."""
        folder = order.out / f"P{study.ordinal:05d}" / f"S{study.step}"
        for number, name in enumerate(study.names()):
            write_dicom(folder / f"{name}.dcm", study, number, order)

    def finish(self, labels: Labels) -> None:
        """Write `labels.csv`."""
        rows = (
            {"study_uid": study, "label": label, "value": f"{value:.3f}", "unit": unit}
            for study, label, value, unit in labels
        )
        write_csv(self.order.out / "labels.csv", rows)


class StoreWriter(Writer):
    """A data set as `echojepa ingest` makes it: pictures without a screen, whole studies in each commit."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self.store = LoopStore.create(order.out, order.seed)
        if self.store.split_seed != order.seed:
            raise UserError(
                f"{order.out} holds a data set with seed {self.store.split_seed}; give that seed, or a "
                "new folder"
            )
        self.waiting: list[StoredLoop] = []

    @staticmethod
    def make(study: Study, order: Order) -> list[StoredLoop]:
        """The rows of a study."""
        split = assign_split(order.seed, study.ordinal)
        loops = (stored_loop(study, drawn) for drawn in study.loops)
        return [replace(loop, patient_ordinal=study.ordinal, split=split) for loop in loops]

    def finished(self) -> set[str]:
        """Studies of the data set: a commit holds whole ones."""
        return set(self.store.metadata(["study_id"])["study_id"].to_pylist())

    def take(self, made: list[StoredLoop]) -> None:
        """Commit rows in batches."""
        self.waiting += made
        if len(self.waiting) >= COMMIT_EVERY:
            self.commit()

    def commit(self) -> None:
        """Write what waits."""
        if self.waiting:
            with self.store.lock():
                self.store.append(self.waiting)
        self.waiting = []

    def finish(self, labels: Labels) -> None:
        """Commit the rest, and the labels."""
        self.commit()
        columns = zip(*labels, strict=True)
        table = pa.table(dict(zip(LABEL_SCHEMA.names, map(list, columns), strict=True)), schema=LABEL_SCHEMA)
        with self.store.lock():
            self.store.add_labels(table)


def stored_loop(study: Study, drawn: Drawn) -> StoredLoop:
    """A row by the ordinary path of ingest, from its sector on; place and split are still open."""
    made = record_loop(drawn)
    size = (drawn.scanner.mm_per_pixel, drawn.scanner.mm_per_pixel)
    height, width = made.sector.shape
    region = Region(0, 0, width - 1, height - 1, mm_per_pixel=size)
    facts = facts_of(study, drawn, len(made.pictures), region)
    facts["age"] = coarse_age(drawn.patient.age)
    recording = Recording(pixels=FramesInMemory(made.pictures), **facts)
    job = Job(Path(), recording.loop_id, b"", study.site.name, max(height, width), cleared=True)
    return keep(recording, looked_at(recording.pixels), Sector(made.sector), job)
