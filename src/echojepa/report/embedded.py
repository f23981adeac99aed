"""Features of test loops and of their studies, and what their dots can be coloured by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.data.store.loop_store import LoopStore
from echojepa.explain.maps import Islands, islands
from echojepa.files.tables import read_parquet
from echojepa.tasks import LVEF

VIEW = "view"
UNKNOWN = "not stated"
LEAST_STUDIES = 5
"""Fewer make no map."""
Names = NDArray[np.str_]


@dataclass(frozen=True)
class Embedded:
    """Features of loops or studies by one backbone."""

    items: Names
    """Ids (n,)."""
    patients: Names
    vectors: NDArray[np.float32]
    """(n, D), mean-pooled."""
    facts: list[dict[str, Any]]
    """What the data set knows of each loop and its study; nothing of loops that are not its own."""
    classes: dict[str, Names]
    """What each is, in words, by what dots can be coloured by."""

    def of_stated(self, fact: str) -> Islands | None:
        """How far those of a class lie together, of items whose class is stated."""
        stated = self.classes[fact] != UNKNOWN
        return islands(self.vectors[stated], self.classes[fact][stated], self.patients[stated])


def read_embedded(results: Path, store: LoopStore) -> dict[str, Embedded]:
    """Those of test loops, by backbone."""
    columns = ("backbone", "embedding", "view", "patient_id", "loop_id")
    files = sorted((results / "embeddings").glob("*.parquet"))
    tables = [read_parquet(file, columns).to_pydict() for file in files]
    known = read_facts(store, {loop for table in tables for loop in table["loop_id"]})
    found = {}
    for table in tables:
        views, patients, loops = (np.array(table[name], str) for name in ("view", "patient_id", "loop_id"))
        vectors = np.array(table["embedding"], dtype=np.float32)
        facts = [known.get(loop, {}) for loop in table["loop_id"]]
        classes = {VIEW: views} | classes_of(facts)
        found[table["backbone"][0]] = Embedded(loops, patients, vectors, facts, classes)
    return found


def by_study(every: Mapping[str, Embedded]) -> dict[str, Embedded]:
    """Of studies with their mean features, by backbone; none where they are few, or each has one loop."""
    found = {}
    for name, one in every.items():
        owners = np.array([fact.get("study_id", "") for fact in one.facts])
        known = owners != ""
        studies, first, place = np.unique(owners[known], return_index=True, return_inverse=True)
        if not LEAST_STUDIES <= len(studies) < known.sum():
            continue
        total = np.zeros((len(studies), one.vectors.shape[1]))
        np.add.at(total, place, one.vectors[known])
        vectors = (total / np.bincount(place)[:, None]).astype(np.float32)
        chosen = np.flatnonzero(known)[first]
        facts = [one.facts[number] for number in chosen]
        found[name] = Embedded(studies, one.patients[chosen], vectors, facts, classes_of(facts))
    return found


def read_facts(store: LoopStore, loops: Collection[str]) -> dict[str, dict[str, Any]]:
    """What the data set knows of those of some loops that it holds, by their ids; `row` is a loop's place."""
    columns = ["loop_id", "study_id", "site", "manufacturer", "age"]
    labels = store.labels().to_pylist()
    lvef = {row["study_id"]: row["value"] for row in labels if row["label"] == LVEF.label}
    return {
        fact["loop_id"]: fact | {"row": row, "lvef": lvef.get(fact["study_id"])}
        for row, fact in enumerate(store.metadata(columns).to_pylist())
        if fact["loop_id"] in loops
    }


def classes_of(facts: Sequence[Mapping[str, Any]]) -> dict[str, Names]:
    """In words, by fact: LVEF and age in thirds, site, and maker of the scanner; of facts that differ."""
    classes = {
        "LVEF": thirds([fact.get("lvef") for fact in facts], "%"),
        "age": thirds([fact.get("age") for fact in facts], "years"),
        "site": np.array([fact.get("site") or UNKNOWN for fact in facts], str),
        "scanner": np.array([fact.get("manufacturer") or UNKNOWN for fact in facts], str),
    }
    return {name: words for name, words in classes.items() if len(set(words.tolist()) - {UNKNOWN}) > 1}


def thirds(values: Sequence[float | None], unit: str) -> Names:
    """Which third of the stated values each lies in, in words."""
    numbers = np.array([np.nan if value is None else value for value in values], float)
    if np.isnan(numbers).all():
        return np.full(len(numbers), UNKNOWN)
    low, high = np.nanquantile(numbers, [1 / 3, 2 / 3])
    names = [
        f"1st third (to {low:.0f} {unit})",
        f"2nd third ({low:.0f} to {high:.0f} {unit})",
        f"3rd third (above {high:.0f} {unit})",
        UNKNOWN,
    ]
    place = np.where(np.isnan(numbers), 3, (numbers > low).astype(int) + (numbers > high))
    return np.array(names)[place]


def islands_of(every: Mapping[str, Embedded]) -> dict[str, dict[str, Islands]]:
    """How far items of a class lie together, by fact and backbone; of facts with two classes."""
    found: dict[str, dict[str, Islands]] = {}
    for name, one in every.items():
        for fact in one.classes:
            if (known := one.of_stated(fact)) is not None:
                found.setdefault(fact, {})[name] = known
    return found
