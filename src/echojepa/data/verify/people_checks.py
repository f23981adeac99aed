"""Checks of who is who in a data set: one person in two splits, patients who share a study, everybody one."""

from __future__ import annotations

import pyarrow.compute as pc

from echojepa.data.identity.people import People
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.verify.loop_checks import shown
from echojepa.data.verify.set_check import Found, SetCheck, distinct, rows_that_share

FEWEST_LOOPS = 5
"""With fewer loops than this under one patient nothing is said of how many they hold."""


def split_studies(store: LoopStore) -> Found:
    """Studies that several patients share, with loops in more than one split; of one patient, the patient is
    the fault."""
    pairs = distinct(store.metadata(["study_id", "patient_id"]))
    shared = set(rows_that_share(pairs, "study_id")["study_id"].to_pylist())
    splits = distinct(store.metadata(["study_id", "split"]))
    leaked = sorted(shared & set(rows_that_share(splits, "study_id")["study_id"].to_pylist()), key=str)
    return Found("studies", len(set(pairs["study_id"].to_pylist())), [f"study {shown(s)}" for s in leaked])


def split_people(store: LoopStore) -> Found:
    """Patients that a shared study, or what else files say of them, makes one person, in several splits."""
    people = People()
    patients = distinct(store.metadata(["patient_id", "study_id", "split"])).to_pylist()
    for row in patients:
        people.tie((row["patient_id"], row["study_id"]))
    for link in store.links():
        people.tie(link)
    splits: dict[str, dict[str, set[str]]] = {}
    for row in patients:
        of_group = splits.setdefault(people.group(row["patient_id"]), {})
        of_group.setdefault(row["patient_id"], set()).add(row["split"])
    ids = sorted({row["patient_id"] for row in patients}, key=str)
    leaked = []
    for one in ids:
        group = splits[people.group(one)]
        if len(group) > 1 and len(set.union(*group.values())) > 1:
            leaked.append(one)
    return Found("patients", len(ids), [f"patient {shown(one)}" for one in leaked])


def patients_of_one_study(store: LoopStore) -> Found:
    """Patients that share a study with another."""
    pairs = distinct(store.metadata(["patient_id", "study_id"]))
    sharing = sorted(set(rows_that_share(pairs, "study_id")["patient_id"].to_pylist()), key=str)
    return Found(
        "patients", len(set(pairs["patient_id"].to_pylist())), [f"patient {shown(one)}" for one in sharing]
    )


def one_for_all(store: LoopStore) -> Found:
    """Patients who hold more than half of the loops."""
    table = store.metadata(["patient_id"])
    counts = table.group_by("patient_id").aggregate([([], "count_all")])
    large = counts.filter(
        (pc.field("count_all") > table.num_rows / 2) & (pc.field("count_all") >= FEWEST_LOOPS)
    ).to_pylist()
    return Found(
        "patients",
        counts.num_rows,
        [
            f"patient {shown(row['patient_id'])} has {row['count_all']} of {table.num_rows} loops"
            for row in large
        ],
    )


PEOPLE_CHECKS = (
    SetCheck(
        "one study in two splits", "error", split_studies,
        "every result would be too good; ingest into a new folder",
    ),
    SetCheck(
        "one person in two splits", "error", split_people,
        "these patients share a study, or a file names both: every result would be too good; ingest into a "
        "new folder",
    ),
    SetCheck(
        "patients that share a study", "warning", patients_of_one_study,
        "perhaps an id was corrected; they are kept in one split. Check whether they are one person",
    ),
    SetCheck(
        "one patient holds most of the set", "warning", one_for_all,
        "perhaps all files were anonymised with one name; then splits and intervals by patient mean "
        "nothing. Get the files with an id for each person",
    ),
)  # fmt: skip
"""Claims about people, the gravest first."""
