"""The labelled cine loops of one data set or several, and which patients a share of the labels belongs to."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.data.identity.splits import check_no_leakage
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import ConfigError, UserError
from echojepa.randomness import derive_seed
from echojepa.tasks import Task
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, Kind

COLUMNS = ("loop_id", "study_id", "patient_id", "split", "site", "view", "sex", "age")


@dataclass(frozen=True)
class CohortLoop:
    """A cine loop of a known view: its ids, and whose it is."""

    loop_id: str
    study_id: str
    patient_id: str
    split: str
    site: str
    view: str
    sex: str | None
    age: float | None


@dataclass(frozen=True)
class Cohort:
    """Cine loops of known view."""

    stores: tuple[LoopStore, ...]
    loops: dict[tuple[int, int], CohortLoop]
    """By (number of the data set, row of its table), in this order."""
    labels: dict[tuple[str, str], tuple[float, str]]
    """(study, label) to value and unit."""

    @functools.cached_property
    def fingerprints(self) -> list[str]:
        """Of each data set."""
        return [store.fingerprint() for store in self.stores]

    def sites(self) -> tuple[str, ...]:
        """Sites, the one with the most loops first."""
        counts = Counter(loop.site for loop in self.loops.values())
        return tuple(sorted(counts, key=lambda site: (-counts[site], site)))

    def value(self, loop: CohortLoop, task: Task) -> float:
        """A loop's label; UserError for another unit than the task's, and for a value outside its range."""
        value, unit = self.labels[loop.study_id, task.label]
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

    def has(self, loop: CohortLoop, task: Task) -> bool:
        """Whether a loop has the task's label and is of a view that it reads."""
        known = task.label == "view" or (loop.study_id, task.label) in self.labels
        return known and (task.views is None or loop.view in task.views)


def read_cohort(folders: Sequence[Path]) -> Cohort:
    """Cine loops and labels of data sets; LeakageError when a patient stands in two splits.

    A site's name that two data sets share gets its data set's name before it.
    """
    if len({str(folder) for folder in folders}) < len(folders):
        raise ConfigError("a data set is given twice; give each once")
    stores = tuple(LoopStore.open(folder) for folder in folders)
    tables = [store.metadata([*COLUMNS, "kind"]).to_pylist() for store in stores]
    rows = [row for table in tables for row in table]
    check_no_leakage((row["patient_id"] for row in rows), (row["split"] for row in rows))
    owners: dict[str, set[int]] = defaultdict(set)
    for number, table in enumerate(tables):
        for row in table:
            owners[row["site"]].add(number)
    loops: dict[tuple[int, int], CohortLoop] = {}
    for number, table in enumerate(tables):
        for place, row in enumerate(table):
            if row["kind"] == Kind.CINE and row["view"]:
                shared = len(owners[row["site"]]) > 1
                site = f"{folders[number].name}/{row['site']}" if shared else row["site"]
                columns: dict[str, Any] = {name: row[name] for name in COLUMNS} | {"site": site}
                loops[number, place] = CohortLoop(**columns)
    labels = {
        (row["study_id"], row["label"]): (row["value"], row["unit"])
        for store in stores
        for row in store.labels().to_pylist()
    }
    return Cohort(stores, loops, labels)


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
    names, chosen, taken = sorted(counts), set[str](), 0
    for place in order:
        if taken >= limit:
            break
        chosen.add(names[place])
        taken += counts[names[place]]
    return chosen


def synthetic_share(store: LoopStore) -> str:
    """Whether the loops that have a view are "all", "some" or "none" of them synthetic."""
    rows = store.metadata(["view", "manufacturer"]).to_pylist()
    synthetic = {row["manufacturer"] == SYNTHETIC_MANUFACTURER for row in rows if row["view"]}
    return "all" if synthetic == {True} else "some" if True in synthetic else "none"
