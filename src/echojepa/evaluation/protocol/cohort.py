"""The labelled cine loops of one data set or several, and which patients a share of the labels belongs to."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echojepa.data.identity.splits import check_no_leakage
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.scan import distinct, rows_that_share
from echojepa.errors import ConfigError, UserError
from echojepa.evaluation.protocol.loops import CohortLoop, CohortLoops, read_loops
from echojepa.randomness import derive_seed
from echojepa.tasks import Task
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER


@dataclass(frozen=True)
class Cohort:
    """Cine loops of known view."""

    stores: tuple[LoopStore, ...]
    loops: CohortLoops
    """By (number of the data set, row of its table), in this order."""
    labels: dict[tuple[str, str], tuple[float, str]]
    """(study, label) to value and unit."""

    @functools.cached_property
    def fingerprints(self) -> list[str]:
        """Of each data set."""
        return [store.fingerprint() for store in self.stores]

    def sites(self) -> tuple[str, ...]:
        """Sites, the one with the most loops first."""
        counts = self.loops.sites()
        return tuple(sorted(counts, key=lambda site: (-counts[site], site)))

    def at(self, sites: Collection[str]) -> Cohort:
        """The loops of some sites alone."""
        return replace(self, loops=self.loops.where(self.loops.are("site", sites)))

    def value(self, study_id: str, task: Task) -> float:
        """A study's label; UserError for another unit than the task's, and for a value outside its range."""
        value, unit = self.labels[study_id, task.label]
        if task.unit and unit and unit != task.unit:
            raise UserError(
                f"labels '{task.label}' are in {unit}, task {task.name} is in {task.unit}; convert the "
                "table of labels and ingest it again"
            )
        low, high = task.valid_range or (-math.inf, math.inf)
        if not low <= value <= high:
            raise UserError(
                f"a label '{task.label}' of {value} lies outside {low} to {high} {task.unit}; correct the "
                "table of labels and ingest it again"
            )
        return value

    def have(self, task: Task) -> NDArray[np.bool_]:
        """Which loops (n,) have the task's label and are of a view that it reads."""
        known = np.ones(len(self.loops), dtype=bool)
        if task.label != "view":
            known = self.loops.are("study_id", self.labelled(task))
        return known if task.views is None else known & self.loops.are("view", task.views)

    def labelled(self, task: Task) -> list[str]:
        """The studies that have the task's label."""
        return [study for study, label in self.labels if label == task.label]


def read_cohort(folders: Sequence[Path]) -> Cohort:
    """Cine loops and labels of data sets; LeakageError when a patient stands in two splits.

    A site's name that two data sets share gets its data set's name before it.
    """
    if len({str(folder) for folder in folders}) < len(folders):
        raise ConfigError("a data set is given twice; give each once")
    stores = tuple(LoopStore.open(folder) for folder in folders)
    check_splits(stores)
    sites = [distinct(store.batches(["site"]))["site"].to_pylist() for store in stores]
    owners = Counter(site for of_one in sites for site in of_one)
    renamed = [
        {site: f"{folder.name}/{site}" for site in of_one if owners[site] > 1}
        for folder, of_one in zip(folders, sites, strict=True)
    ]
    loops = read_loops(stores, renamed)
    labels = {
        (row["study_id"], row["label"]): (row["value"], row["unit"])
        for store in stores
        for row in store.labels().to_pylist()
    }
    return Cohort(stores, loops, labels)


def check_splits(stores: Sequence[LoopStore]) -> None:
    """LeakageError when a patient stands in two splits, of one data set or of several."""
    pairs = distinct(piece for store in stores for piece in store.batches(["patient_id", "split"]))
    split = rows_that_share(pairs, "patient_id")
    check_no_leakage(split["patient_id"].to_pylist(), split["split"].to_pylist())


def share_of_patients(
    patients: NDArray[np.str_], strata: NDArray[np.str_], fraction: float, seed: int, fewest: int = 2
) -> set[str]:
    """Patients whose labels make a share of all, strata in proportion; a larger share holds a smaller one.

    `patients` and `strata` have an entry an item; a patient belongs to the rarest of its items' strata. At
    least `fewest` patients, and all of them for a fraction of 1. A function of the seed and of who there is.
    """
    counts: Counter[str] = Counter(strata.tolist())
    own: dict[str, str] = {}
    for patient, stratum in zip(patients.tolist(), strata.tolist(), strict=True):
        before = own.get(patient, stratum)
        own[patient] = min(before, stratum, key=lambda name: (counts[name], name))
    groups: dict[str, list[str]] = defaultdict(list)
    for patient in sorted(own):
        groups[own[patient]].append(patient)
    ranked = []
    rng = np.random.default_rng(derive_seed(seed, "label fraction"))
    for stratum in sorted(groups):
        order = rng.permutation(len(groups[stratum]))
        shift = rng.random()
        ranked += [
            ((place + shift) / len(order), stratum, groups[stratum][member])
            for place, member in enumerate(order)
        ]
    wanted = max(fewest, math.ceil(fraction * len(own) - 1e-9))
    return {patient for _, _, patient in sorted(ranked)[:wanted]}


def whole_patients(loops: Iterable[CohortLoop], limit: int) -> set[str]:
    """Patients in a fixed order until they have `limit` of the loops; all of them for a limit of 0."""
    counts = Counter(loop.patient_id for loop in loops)
    if not limit or counts.total() <= limit:
        return set(counts)
    order = np.random.default_rng(derive_seed(0, "subset of test loops")).permutation(len(counts))
    known = sorted(counts)
    names = [known[place] for place in order]
    taken = np.cumsum([counts[name] for name in names])
    return set(names[: int(np.searchsorted(taken, limit)) + 1])


def synthetic_share(store: LoopStore) -> str:
    """Whether the loops that have a view are "all", "some" or "none" of them synthetic."""
    facts = distinct(store.batches(["view", "manufacturer"])).to_pylist()
    synthetic = {row["manufacturer"] == SYNTHETIC_MANUFACTURER for row in facts if row["view"]}
    return "all" if synthetic == {True} else "some" if True in synthetic else "none"
