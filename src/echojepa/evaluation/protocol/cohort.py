"""The labelled cine loops of one data set or several, and which patients a share of the labels belongs to."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echojepa.data.splits import check_no_leakage
from echojepa.data.store import LoopStore
from echojepa.errors import ConfigError, UserError
from echojepa.randomness import derive_seed
from echojepa.tasks import Task
from echojepa.vocabulary import Kind

COLUMNS = ("loop_id", "study_id", "patient_id", "split", "site", "view", "kind", "sex", "age")


@dataclass(frozen=True)
class Loop:
    """A cine loop of a known view, by where it stands."""

    store: int
    """Number of its data set."""
    row: int
    """Row of that data set's table."""
    facts: dict[str, str]
    """Its ids, split, site, view."""
    sex: str | None
    age: float | None

    def __getitem__(self, name: str) -> str:
        return self.facts[name]


@dataclass(frozen=True)
class Cohort:
    """Cine loops of known view; a loop's number is its place among `loops`."""

    stores: tuple[LoopStore, ...]
    loops: tuple[Loop, ...]
    labels: dict[tuple[str, str], tuple[float, str]]
    """(study, label) to value and unit."""

    def sites(self) -> tuple[str, ...]:
        """Sites, the one with the most loops first."""
        counts = Counter(loop["site"] for loop in self.loops)
        return tuple(sorted(counts, key=lambda site: (-counts[site], site)))

    def value(self, loop: Loop, task: Task) -> float:
        """A loop's label; UserError for another unit than the task's, and for a value outside its range."""
        value, unit = self.labels[loop["study_id"], task.label]
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

    def has(self, loop: Loop, task: Task) -> bool:
        """Whether a loop has the task's label and is of a view that it reads."""
        views = tuple(view for view, _ in task.slots) or task.views
        known = task.label == "view" or (loop["study_id"], task.label) in self.labels
        return known and (views is None or loop["view"] in views)


def read_cohort(folders: Sequence[Path]) -> Cohort:
    """Cine loops and labels of data sets; LeakageError when a patient stands in two splits.

    A site's name that two data sets share gets its data set's name before it.
    """
    if len({str(folder) for folder in folders}) < len(folders):
        raise ConfigError("a data set is given twice; give each once")
    stores = tuple(LoopStore.open(folder) for folder in folders)
    tables = [store.metadata(COLUMNS).to_pylist() for store in stores]
    rows = [row for table in tables for row in table]
    check_no_leakage((row["patient_id"] for row in rows), (row["split"] for row in rows))
    owners: dict[str, set[int]] = defaultdict(set)
    for number, table in enumerate(tables):
        for row in table:
            owners[row["site"]].add(number)
    loops = []
    for number, table in enumerate(tables):
        for place, row in enumerate(table):
            if row["kind"] == Kind.CINE and row["view"]:
                site = (
                    row["site"] if len(owners[row["site"]]) == 1 else f"{folders[number].name}/{row['site']}"
                )
                facts = {name: row[name] for name in ("loop_id", "study_id", "patient_id", "split", "view")}
                loops.append(Loop(number, place, facts | {"site": site}, row["sex"], row["age"]))
    labels = {
        (row["study_id"], row["label"]): (row["value"], row["unit"])
        for store in stores
        for row in store.labels().to_pylist()
    }
    return Cohort(stores, tuple(loops), labels)


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


def patient_subset(cohort: Cohort, loops: Sequence[int], limit: int) -> list[int]:
    """Loops of whole patients in a fixed order until there are `limit`; all of them for a limit of 0."""
    if not limit or len(loops) <= limit:
        return list(loops)
    groups: dict[str, list[int]] = defaultdict(list)
    for number in loops:
        groups[cohort.loops[number]["patient_id"]].append(number)
    order = np.random.default_rng(derive_seed(0, "subset of test loops")).permutation(len(groups))
    names, chosen = sorted(groups), []
    for place in order:
        if len(chosen) >= limit:
            break
        chosen += groups[names[place]]
    return sorted(chosen)
