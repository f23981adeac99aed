"""Checks of a whole data set: leakage, duplicates, labels, splits, ids, and what did not come in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pyarrow as pa

from echojepa.data.store.loop_store import LoopStore, StoreError
from echojepa.data.store.scan import distinct, number_of, rows_that_repeat, rows_that_share
from echojepa.data.verify.loop_checks import PSEUDONYM, shown
from echojepa.data.verify.people_checks import PEOPLE_CHECKS
from echojepa.data.verify.set_check import Found, SetCheck, named, rows_of
from echojepa.files.tables import compute
from echojepa.tasks import TASKS, Task
from echojepa.vocabulary import Kind, Split

FEWEST_VALUES = 10
"""Labels that are whole numbers by chance: with fewer than this many nothing is said."""


def split_patients(store: LoopStore) -> Found:
    """Patients with loops in more than one split."""
    pairs = distinct(store.batches(["patient_id", "split"]))
    leaked = rows_that_share(pairs, "patient_id")["patient_id"]
    return Found("patients", number_of(pairs["patient_id"]), named("patient", leaked))


def pixels_across_splits(store: LoopStore) -> Found:
    """Loops whose pixels stand in another split as well."""
    alike = rows_that_repeat(store.batches, "pixel_sha256", ["pixel_sha256", "split", "loop_id"])
    pairs = rows_that_share(distinct(alike.select(["pixel_sha256", "split"])), "pixel_sha256")
    twins = alike.filter(compute.is_in(alike["pixel_sha256"], pairs["pixel_sha256"])).to_pylist()
    twins.sort(key=lambda row: str(row["pixel_sha256"]))
    faults = [f"loop {shown(row['loop_id'])} ({row['split']})" for row in twins]
    return Found("loops", store.table.count_rows(), faults)


def repeated_values(column: str, things: str) -> Callable[[LoopStore], Found]:
    """A check that no two rows share a value of a column."""

    def find(store: LoopStore) -> Found:
        alike = rows_that_repeat(store.batches, column, list(dict.fromkeys((column, "loop_id"))))
        twins = sorted(alike.to_pylist(), key=lambda row: str(row[column]))
        return Found(things, store.table.count_rows(), [f"loop {shown(row['loop_id'])}" for row in twins])

    return find


def came_in_and_not(store: LoopStore) -> Found:
    """Files that are both a loop and a rejected file."""
    rejected = store.rejected()["file_id"]
    pieces = store.batches(["file_id"])
    both = distinct(piece.filter(compute.is_in(piece["file_id"], rejected)) for piece in pieces)
    return Found("rejected files", len(rejected), named("file", both["file_id"]))


def ids_that_are_no_pseudonyms(store: LoopStore) -> Found:
    """Ids that are not 20 hexadecimal digits; they are never repeated."""
    labels, rejected = store.labels()["study_id"], store.rejected()["file_id"]
    names = ("loop_id", "file_id", "study_id", "patient_id")
    wrong = {f"{name} of loops": 0 for name in names}
    for piece in store.batches(names):
        for name in names:
            wrong[f"{name} of loops"] += no_pseudonyms(piece[name])
    wrong["study_id of labels"] = no_pseudonyms(labels)
    wrong["file_id of rejected files"] = no_pseudonyms(rejected)
    looked_at = len(names) * store.table.count_rows() + len(labels) + len(rejected)
    return Found("ids", looked_at, [f"a {name}" for name, count in wrong.items() for _ in range(count)])


def no_pseudonyms(ids: pa.Array | pa.ChunkedArray) -> int:
    """How many are not 20 hexadecimal digits."""
    good = compute.match_substring_regex(ids, rf"\A{PSEUDONYM.pattern}\z")
    return len(ids) - (compute.sum(good).as_py() or 0)


def labels_out_of_range(store: LoopStore) -> Found:
    """Labels that are not finite, or outside the range of a task that they are for."""
    ranges = {task.label: task.valid_range for task in TASKS.values() if task.valid_range}
    faults = []
    labels = store.labels()
    for row in rows_of(labels):
        low, high = ranges.get(row["label"], (-math.inf, math.inf))
        value = math.nan if row["value"] is None else row["value"]
        if not (math.isfinite(value) and low <= value <= high):
            faults.append(f"{row['label']} {value:g} of study {shown(row['study_id'])}")
    return Found("labels", len(labels), faults)


def units_in_conflict(store: LoopStore) -> Found:
    """Labels in another unit than their task's, or in several."""
    counts = Counter((row["label"], row["unit"]) for row in rows_of(store.labels()))
    expected = {task.label: task.unit for task in TASKS.values()}
    for (label, unit), _ in counts.most_common():
        expected.setdefault(label, unit)
    faults: list[str] = []
    for (label, unit), count in counts.items():
        if unit != expected[label]:
            faults += [f"{label} in '{unit}', not '{expected[label]}'"] * count
    return Found("labels", counts.total(), faults)


def labels_without_study(store: LoopStore) -> Found:
    """Labels of studies of which no loop came in."""
    labels, studies = store.labels()["study_id"], distinct(store.batches(["study_id"]))["study_id"]
    lost = Counter(labels.filter(compute.invert(compute.is_in(labels, studies))).to_pylist())
    faults = [f"study {shown(study)}" for study in sorted(lost, key=str) for _ in range(lost[study])]
    return Found("labels", len(labels), faults)


def whole_number_labels(store: LoopStore) -> Found:
    """Labels to regress whose every value is a whole number."""
    names = {task.label for task in TASKS.values() if task.kind == "regression"}
    values: dict[str, list[float]] = {}
    for row in rows_of(store.labels()):
        if row["label"] in names and row["value"] is not None:
            values.setdefault(row["label"], []).append(row["value"])
    cut = [
        f"all {len(of_label)} of {label}"
        for label, of_label in sorted(values.items())
        if len(of_label) >= FEWEST_VALUES and all(value.is_integer() for value in of_label)
    ]
    return Found("kinds of label", len(values), cut)


def studies_without_view(store: LoopStore) -> Found:
    """Labelled studies that have no cine of a view that the label's task looks at."""
    loops, labels = distinct(store.batches(["study_id", "view", "kind"])), store.labels()
    looked_at, faults = 0, []
    for task in TASKS.values():
        labelled = labelled_studies(loops, labels, task)
        if task.views and len(labelled):
            seen = loops.filter((compute.field("kind") == Kind.CINE) & compute.field("view").isin(task.views))
            without = labelled.filter(compute.invert(compute.is_in(labelled, seen["study_id"]))).to_pylist()
            looked_at += len(labelled)
            wanted = " or ".join(task.views)
            faults += [f"study {shown(s)} ({task.name}: no {wanted})" for s in sorted(without, key=str)]
    return Found("labelled studies", looked_at, faults)


def labelled_studies(loops: pa.Table, labels: pa.Table, task: Task) -> pa.Array:
    """Studies of the loops that have a task's label."""
    studies = loops["study_id"].unique()
    labelled = labels.filter(compute.field("label") == task.label)["study_id"]
    return studies.filter(compute.is_in(studies, labelled))


def empty_splits(store: LoopStore) -> Found:
    """Splits without a patient, and without a labelled one for a task whose label is there at all."""
    loops, labels = distinct(store.batches(["study_id", "split", "view", "kind"])), store.labels()
    usable = {"any task": set(loops["split"].unique().to_pylist())}
    of_view = loops.filter((compute.field("kind") == Kind.CINE) & (compute.field("view") != ""))
    for task in TASKS.values():
        cines = of_view
        if task.label != "view":
            cines = cines.filter(compute.is_in(cines["study_id"], labelled_studies(loops, labels, task)))
        if len(cines):
            seen = cines if task.views is None else cines.filter(compute.field("view").isin(task.views))
            usable[task.name] = set(seen["split"].unique().to_pylist())
    faults = [
        f"{split}: no patient for {name}"
        for name, splits in usable.items()
        for split in Split
        if split not in splits
    ]
    return Found("splits of tasks", len(usable) * len(Split), faults)


def files_that_did_not_come_in(store: LoopStore) -> Found:
    """Rejected files, by reason."""
    counts = store.rejected()["reason"].value_counts().to_pylist()
    reasons = Counter({row["values"]: row["counts"] for row in counts})
    files = store.table.count_rows() + reasons.total()
    parts = [f"{count} ({count / files:.0%}) {reason}" for reason, count in reasons.most_common()]
    return Found("files", files, ["; ".join(parts)] * reasons.total())


def unreadable_facts(store: LoopStore) -> Found:
    """Whether `dataset.json` states a format that this package reads, and the seed of the splits."""
    faults = []
    try:
        LoopStore.open(store.root)
    except (StoreError, ValueError):
        faults.append("format_version")
    try:
        _ = store.split_seed
    except (OSError, ValueError, KeyError, TypeError):
        faults.append("split_seed")
    return Found("entries of dataset.json", 2, faults)


SET_CHECKS = (
    SetCheck(
        "dataset.json", "error", unreadable_facts,
        "the folder was changed after ingest, or another version made it; ingest into a new folder",
    ),
    SetCheck(
        "one patient in two splits", "error", split_patients,
        "every result would be too good; ingest into a new folder",
    ),
    *PEOPLE_CHECKS,
    SetCheck(
        "the same pixels in two splits", "error", pixels_across_splits,
        "every result would be too good: the same loop under two patients; leave one file out, ingest again",
    ),
    SetCheck(
        "ids that are no pseudonyms", "error", ids_that_are_no_pseudonyms,
        "it may contain identifiers; share nothing, ingest into a new folder",
    ),
    SetCheck(
        "the same pixels twice", "warning", repeated_values("pixel_sha256", "loops"),
        "a loop counts double; leave one of the files out and ingest again",
    ),
    SetCheck(
        "loop_id twice", "warning", repeated_values("loop_id", "loops"),
        "one DICOM instance came in twice; ingest into a new folder",
    ),
    SetCheck(
        "file_id twice", "warning", repeated_values("file_id", "loops"),
        "one file came in twice; ingest into a new folder",
    ),
    SetCheck(
        "came in and rejected", "warning", came_in_and_not,
        "these files make the counts wrong; ingest into a new folder",
    ),
    SetCheck(
        "label out of range", "error", labels_out_of_range,
        "typing errors or another unit; correct the table of labels and ingest it again",
    ),
    SetCheck(
        "label in another unit", "error", units_in_conflict,
        "values of two units would be mixed; correct the table of labels and ingest it again",
    ),
    SetCheck(
        "label of an unknown study", "warning", labels_without_study,
        "no loop of these studies came in; the list of rejected files may give the reason",
    ),
    SetCheck(
        "labels cut to whole numbers", "warning", whole_number_labels,
        "every value is whole, perhaps rounded on export; errors below one unit mean nothing",
    ),
    SetCheck(
        "labelled study without a view its task needs", "warning", studies_without_view,
        "these labels are not used",
    ),
    SetCheck(
        "split without patients", "warning", empty_splits,
        "probing needs labelled patients in each split; ingest more patients",
    ),
    SetCheck(
        "files that did not come in", "warning", files_that_did_not_come_in,
        "check whether a whole kind of study is missing; your private map links ids to files",
    ),
)  # fmt: skip
"""Claims about the data set as a whole, the gravest first."""
