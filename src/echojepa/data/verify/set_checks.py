"""Checks of a whole data set: leakage, duplicates, labels, splits, ids, and what did not come in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pyarrow.compute as pc

from echojepa.data.store.loop_store import LoopStore, StoreError
from echojepa.data.verify.loop_checks import PSEUDONYM, shown
from echojepa.data.verify.people_checks import PEOPLE_CHECKS
from echojepa.data.verify.set_check import Found, SetCheck, distinct, rows_that_share
from echojepa.tasks import TASKS, Task
from echojepa.vocabulary import Kind, Split

FEWEST_VALUES = 10
"""Labels that are whole numbers by chance: with fewer than this many nothing is said."""


def split_patients(store: LoopStore) -> Found:
    """Patients with loops in more than one split."""
    pairs = distinct(store.metadata(["patient_id", "split"]))
    leaked = sorted(set(rows_that_share(pairs, "patient_id")["patient_id"].to_pylist()), key=str)
    return Found(
        "patients", len(set(pairs["patient_id"].to_pylist())), [f"patient {shown(p)}" for p in leaked]
    )


def pixels_across_splits(store: LoopStore) -> Found:
    """Loops whose pixels stand in another split as well."""
    table = store.metadata(["pixel_sha256", "split", "loop_id"])
    pairs = rows_that_share(distinct(table.select(["pixel_sha256", "split"])), "pixel_sha256")
    twins = table.filter(pc.field("pixel_sha256").isin(pairs["pixel_sha256"].combine_chunks())).to_pylist()
    twins.sort(key=lambda row: str(row["pixel_sha256"]))
    return Found("loops", table.num_rows, [f"loop {shown(row['loop_id'])} ({row['split']})" for row in twins])


def repeated_values(column: str, things: str) -> Callable[[LoopStore], Found]:
    """A check that no two rows share a value of a column."""

    def find(store: LoopStore) -> Found:
        table = store.metadata(list(dict.fromkeys((column, "loop_id"))))
        twins = sorted(rows_that_share(table, column).to_pylist(), key=lambda row: str(row[column]))
        return Found(things, table.num_rows, [f"loop {shown(row['loop_id'])}" for row in twins])

    return find


def came_in_and_not(store: LoopStore) -> Found:
    """Files that are both a loop and a rejected file."""
    rejected = store.rejected()["file_id"].to_pylist()
    both = sorted(set(rejected) & set(store.metadata(["file_id"])["file_id"].to_pylist()), key=str)
    return Found("rejected files", len(rejected), [f"file {shown(file_id)}" for file_id in both])


def ids_that_are_no_pseudonyms(store: LoopStore) -> Found:
    """Ids that are not 20 hexadecimal digits; they are never repeated."""
    ids = store.metadata(["loop_id", "file_id", "study_id", "patient_id"])
    columns = {f"{name} of loops": ids[name] for name in ids.column_names}
    columns |= {
        "study_id of labels": store.labels()["study_id"],
        "file_id of rejected files": store.rejected()["file_id"],
    }
    faults: list[str] = []
    for name, values in columns.items():
        faults += [f"a {name}" for value in values.to_pylist() if not PSEUDONYM.fullmatch(value or "")]
    return Found("ids", sum(map(len, columns.values())), faults)


def labels_out_of_range(store: LoopStore) -> Found:
    """Labels that are not finite, or outside the range of a task that they are for."""
    ranges = {task.label: task.valid_range for task in TASKS.values() if task.valid_range}
    faults = []
    rows = store.labels().to_pylist()
    for row in rows:
        low, high = ranges.get(row["label"], (-math.inf, math.inf))
        value = math.nan if row["value"] is None else row["value"]
        if not (math.isfinite(value) and low <= value <= high):
            faults.append(f"{row['label']} {value:g} of study {shown(row['study_id'])}")
    return Found("labels", len(rows), faults)


def units_in_conflict(store: LoopStore) -> Found:
    """Labels in another unit than their task's, or in several."""
    counts = Counter((row["label"], row["unit"]) for row in store.labels().to_pylist())
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
    rows = store.labels().to_pylist()
    studies = set(store.metadata(["study_id"])["study_id"].to_pylist())
    unknown = sorted({row["study_id"] for row in rows} - studies, key=str)
    lost = Counter(row["study_id"] for row in rows)
    return Found(
        "labels", len(rows), [f"study {shown(study)}" for study in unknown for _ in range(lost[study])]
    )


def whole_number_labels(store: LoopStore) -> Found:
    """Labels to regress whose every value is a whole number."""
    names = {task.label for task in TASKS.values() if task.kind == "regression"}
    values: dict[str, list[float]] = {}
    for row in store.labels().to_pylist():
        if row["label"] in names and row["value"] is not None:
            values.setdefault(row["label"], []).append(row["value"])
    cut = [
        f"all {len(of_label)} of {label}"
        for label, of_label in sorted(values.items())
        if len(of_label) >= FEWEST_VALUES and all(value.is_integer() for value in of_label)
    ]
    return Found("kinds of label", len(values), cut)


def labelled_studies(store: LoopStore, task: Task) -> set[str]:
    """Studies of the data set that have a task's label."""
    studies = set(store.metadata(["study_id"])["study_id"].to_pylist())
    return studies & {row["study_id"] for row in store.labels().to_pylist() if row["label"] == task.label}


def studies_without_view(store: LoopStore) -> Found:
    """Labelled studies that have no cine of a view that the label's task looks at."""
    loops = distinct(store.metadata(["study_id", "view", "kind"])).to_pylist()
    looked_at, faults = 0, []
    for task in TASKS.values():
        labelled = labelled_studies(store, task)
        if task.views and labelled:
            seen = {r["study_id"] for r in loops if r["kind"] == Kind.CINE and r["view"] in task.views}
            looked_at += len(labelled)
            wanted = " or ".join(task.views)
            faults += [
                f"study {shown(s)} ({task.name}: no {wanted})" for s in sorted(labelled - seen, key=str)
            ]
    return Found("labelled studies", looked_at, faults)


def empty_splits(store: LoopStore) -> Found:
    """Splits without a patient, and without a labelled one for a task whose label is there at all."""
    loops = distinct(store.metadata(["study_id", "split", "view", "kind"])).to_pylist()
    usable = {"any task": {row["split"] for row in loops}}
    for task in TASKS.values():
        cines = [row for row in loops if row["kind"] == Kind.CINE and row["view"]]
        if task.label != "view":
            labelled = labelled_studies(store, task)
            cines = [row for row in cines if row["study_id"] in labelled]
        if cines:
            usable[task.name] = {r["split"] for r in cines if task.views is None or r["view"] in task.views}
    faults = [
        f"{split}: no patient for {name}"
        for name, splits in usable.items()
        for split in Split
        if split not in splits
    ]
    return Found("splits of tasks", len(usable) * len(Split), faults)


def files_that_did_not_come_in(store: LoopStore) -> Found:
    """Rejected files, by reason."""
    reasons = Counter(store.rejected()["reason"].to_pylist())
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
