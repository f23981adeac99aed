"""Checks of who is who in a data set: one person in two splits, patients who share a study, everybody one."""

from __future__ import annotations

import pyarrow as pa

from echojepa.data.identity.people import People
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.scan import COUNT, counted, distinct, number_of, rows_that_share
from echojepa.data.verify.loop_checks import shown
from echojepa.data.verify.set_check import Found, SetCheck, named
from echojepa.files.tables import compute

FEWEST_LOOPS = 5
"""With fewer loops than this under one patient nothing is said of how many they hold."""


def split_studies(store: LoopStore) -> Found:
    """Studies that several patients share, with loops in more than one split; of one patient, the patient is
    the fault."""
    pairs = distinct(store.batches(["study_id", "patient_id"]))
    splits = distinct(store.batches(["study_id", "split"]))
    shared = rows_that_share(pairs, "study_id")["study_id"]
    leaked = rows_that_share(splits.filter(compute.is_in(splits["study_id"], shared)), "study_id")["study_id"]
    return Found("studies", number_of(pairs["study_id"]), named("study", leaked))


def split_people(store: LoopStore) -> Found:
    """Patients that a shared study, or what else files say of them, makes one person, in several splits."""
    rows, links = distinct(store.batches(["patient_id", "study_id", "split"])), store.links()
    people = People()
    for link in links:
        people.tie(link)
    patients = possibly_tied(rows, pa.array({one for link in links for one in link}, pa.string()))
    for row in patients.to_pylist():
        people.tie((row["patient_id"], row["study_id"]))
    splits: dict[str, dict[str, set[str]]] = {}
    mine = rows.filter(compute.is_in(rows["patient_id"], patients["patient_id"])).select(
        ["patient_id", "split"]
    )
    for row in distinct(mine).to_pylist():
        of_group = splits.setdefault(people.group(row["patient_id"]), {})
        of_group.setdefault(row["patient_id"], set()).add(row["split"])
    groups = [group for group in splits.values() if len(group) > 1 and len(set.union(*group.values())) > 1]
    leaked = sorted((one for group in groups for one in group), key=str)
    return Found("patients", number_of(rows["patient_id"]), [f"patient {shown(one)}" for one in leaked])


def possibly_tied(rows: pa.Table, linked: pa.Array) -> pa.Table:
    """Patients and their studies that may tie them to others: the study has several, or one is linked."""
    pairs = distinct(rows.select(["patient_id", "study_id"]))
    shared = rows_that_share(pairs, "study_id")["study_id"]
    of_study = compute.or_(compute.is_in(pairs["study_id"], shared), compute.is_in(pairs["study_id"], linked))
    return pairs.filter(compute.or_(of_study, compute.is_in(pairs["patient_id"], linked)))


def patients_of_one_study(store: LoopStore) -> Found:
    """Patients that share a study with another."""
    pairs = distinct(store.batches(["patient_id", "study_id"]))
    sharing = rows_that_share(pairs, "study_id")["patient_id"]
    return Found("patients", number_of(pairs["patient_id"]), named("patient", sharing))


def one_for_all(store: LoopStore) -> Found:
    """Patients who hold more than half of the loops."""
    counts, total = counted(store.batches(["patient_id"])), store.table.count_rows()
    large = counts.filter((compute.field(COUNT) > total / 2) & (compute.field(COUNT) >= FEWEST_LOOPS))
    faults = [
        f"patient {shown(row['patient_id'])} has {row[COUNT]} of {total} loops" for row in large.to_pylist()
    ]
    return Found("patients", counts.num_rows, faults)


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
