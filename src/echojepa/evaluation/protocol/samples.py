"""Samples: what a task asks of a cohort. A sample is a clip, or a study of several views."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.data.clips.studies import ViewSlot, choose_slots
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.scan import wanted_rows
from echojepa.errors import UserError
from echojepa.evaluation.protocol.cohort import Cohort, share_of_patients
from echojepa.evaluation.protocol.loops import place_numbers
from echojepa.evaluation.protocol.plans import EVERYWHERE
from echojepa.files.tables import compute
from echojepa.tasks import Task
from echojepa.vocabulary import Kind, Split

Chosen = NDArray[np.bool_] | NDArray[np.int64]
"""Which samples: a mask (n,), or their numbers."""
Address = tuple[int, int, int]
"""Where a clip is found: number of the data set, row of its table, which of the row's evenly spaced clips."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Which samples: ids, split, site and truth, an entry each; subclasses add what is known of them."""

    items: NDArray[np.str_]
    """What predictions are averaged to: study ids or loop ids."""
    patients: NDArray[np.str_]
    splits: NDArray[np.str_]
    sites: NDArray[np.str_]
    truth: NDArray[np.float64]
    """Values, rounded to float32 as probes learn them, or numbers of classes."""
    classes: tuple[str, ...]
    """Class names; empty for regression."""

    def select(self, chosen: Chosen) -> Self:
        """Some of the samples, in the order of `chosen`."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{n: v[chosen] for n, v in columns.items() if isinstance(v, np.ndarray)})

    def within(self, *splits: Split) -> NDArray[np.int64]:
        """Numbers of the samples of some splits."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def columns(self) -> dict[str, Any]:
        """What every kind of samples has, to make another kind of it."""
        return {field.name: getattr(self, field.name) for field in fields(Samples)}


@dataclass(frozen=True, kw_only=True)
class ClipSamples(Samples):
    """Samples and the clips that they are made of."""

    clips: NDArray[np.int64]
    """(n, S, 3): the address of every slot's clip; -1 where absent."""
    children: str = ""
    """The paediatric site, which "all sites" does not mean; empty for none."""

    def at(self, site: str) -> NDArray[np.bool_]:
        """Which samples (n,) are of a site; for EVERYWHERE, of any but the children's."""
        return np.asarray(self.sites != self.children if site == EVERYWHERE else self.sites == site)

    def addresses(self) -> set[Address]:
        """Every clip once."""
        return {(store, row, n) for store, row, n in self.clips.reshape(-1, 3).tolist() if store >= 0}

    def loops(self) -> set[tuple[int, int]]:
        """Data set and row of every loop once."""
        return {(store, row) for store, row, _ in self.addresses()}

    def digest(self) -> str:
        """Checksum of samples and their labels."""
        digest = hashlib.sha256(self.clips.tobytes())
        digest.update(self.truth.tobytes())
        digest.update("\n".join([*self.items, *self.splits]).encode())
        return digest.hexdigest()


def task_samples(cohort: Cohort, task: Task, clips_per_loop: int, children: str = "") -> ClipSamples:
    """The samples of a task; `children` names the paediatric site.

    UserError where a split has no labelled patient, and as `Cohort.value`.
    """
    clips = study_clips(cohort, task) if task.slots else loop_clips(cohort, task, clips_per_loop)
    owners = cohort.loops.numbers(place_numbers(clips[..., :2]).max(axis=1))
    truth, classes = truth_of(cohort, task, owners)
    level = "study_id" if task.level == "study" else "loop_id"
    items, patients, splits, sites = (
        cohort.loops.texts(name, owners) for name in (level, "patient_id", "split", "site")
    )
    for split in Split:
        if not (splits == split).any():
            raise UserError(
                f"task {task.name}: there are no labelled loops of {split} patients; ingest more "
                "patients, or their labels"
            )
    return ClipSamples(items=items, patients=patients, splits=splits, sites=sites, truth=truth,
                       classes=classes, clips=clips, children=children)  # fmt: skip


def loop_clips(cohort: Cohort, task: Task, clips_per_loop: int) -> NDArray[np.int64]:
    """One sample a clip of every loop with the task's label: addresses (n, 1, 3)."""
    places = cohort.loops.places(cohort.have(task)).repeat(clips_per_loop, axis=0)
    numbers = np.tile(np.arange(clips_per_loop), len(places) // clips_per_loop)
    return np.concatenate([places, numbers[:, None]], axis=1)[:, None]


def study_clips(cohort: Cohort, task: Task) -> NDArray[np.int64]:
    """One sample a labelled study, slots filled by `data.studies`: addresses (n, S, 3)."""
    slots = [ViewSlot(view, colour) for view, colour in task.slots]
    number = np.tile(np.arange(task.clips), len(slots))
    found = []
    for store, source in enumerate(cohort.stores):
        rows, facts = rows_of_studies(source, cohort.labelled(task))
        chosen = choose_slots(facts, slots, task.clips)
        for places in chosen.reshape(-1, len(number)):
            there = np.stack([np.full_like(places, store), rows[places]], axis=1)
            known = cohort.loops.numbers(place_numbers(there)) >= 0
            if known.any():
                sample = np.concatenate([there, number[:, None]], axis=1)
                found.append(np.where(known[:, None], sample, -1))
    return np.array(found, dtype=np.int64).reshape(-1, len(number), 3)


def rows_of_studies(store: LoopStore, studies: Sequence[str]) -> tuple[NDArray[np.int64], pa.Table]:
    """Of some studies the rows of cines (n,) and then -1, and what `choose_slots` needs to know of each."""
    asked = pa.array(studies, pa.string())

    def wanted(piece: pa.RecordBatch) -> pa.Array:
        cine = compute.equal(piece["kind"], Kind.CINE.value)
        return compute.and_(compute.is_in(piece["study_id"], asked), cine)

    found = [*wanted_rows(store.batches(["study_id", "view", "colour", "kind"]), wanted)]
    rows, pieces = [rows for rows, _ in found], [pa.table(piece) for _, piece in found]
    return np.append(np.concatenate(rows), -1), pa.concat_tables(pieces)


def truth_of(
    cohort: Cohort, task: Task, owners: NDArray[np.int64]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The label of each owner, a loop by its number, or the number of its class; the classes' names in order.

    UserError for a binary task without exactly two classes.
    """
    if task.label == "view":
        classes, numbers = np.unique(cohort.loops.texts("view", owners), return_inverse=True)
        return numbers.astype(float), tuple(classes.tolist())
    studies, first, place = np.unique(
        cohort.loops.texts("study_id", owners), return_index=True, return_inverse=True
    )
    known = np.zeros(len(studies), dtype=np.float32)
    for number in np.argsort(first).tolist():  # the first that is wrong is told
        known[number] = cohort.value(str(studies[number]), task)
    values = known[place].astype(np.float64)
    if not task.classes:
        return values, ()
    levels, numbers = np.unique(values, return_inverse=True)
    if task.kind == "binary" and len(levels) != 2:
        raise UserError(f"task {task.name} is binary; its label has the values {levels[:5].tolist()}")
    return numbers.astype(float), tuple(f"{level:g}" for level in levels)


def training_samples(
    samples: ClipSamples, task: Task, site: str, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Which samples train and choose a probe: of a site's patients, or all, a share of train and of val each.

    Regression is stratified by fifths of the label, classes by class. Test samples never are among them.
    """
    strata = samples.truth.astype(str)
    if not task.classes:
        edges = np.quantile(samples.truth, [0.2, 0.4, 0.6, 0.8])
        strata = np.digitize(samples.truth, edges).astype(str)
    chosen = np.zeros(len(samples.truth), dtype=bool)
    for split in (Split.TRAIN, Split.VAL):
        mine: NDArray[np.bool_] = np.asarray((samples.splits == split) & samples.at(site))
        if not mine.any():
            where = f"site '{site}'" if site else "the data, without the paediatric site,"
            raise UserError(f"task {task.name}: {where} has no labelled {split} patients; ingest more")
        names = share_of_patients(samples.patients[mine], strata[mine], fraction, seed)
        chosen |= mine & np.isin(samples.patients, sorted(names))
    return chosen
