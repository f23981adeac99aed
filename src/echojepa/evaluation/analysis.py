"""Beside a plan's plain numbers: intervals of predictions, subgroups, backbones against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.evaluation.cohort import Cohort
from echojepa.evaluation.comparison import Comparison, compare, corrected
from echojepa.evaluation.conformal import calibrate, coverage
from echojepa.evaluation.formulas import Values
from echojepa.evaluation.metrics import METRICS, unit_of
from echojepa.evaluation.predictions import ItemPredictions
from echojepa.evaluation.results import EVERYBODY
from echojepa.evaluation.subgroups import AGE_EDGES, EF_EDGES, banded, subgroups
from echojepa.tasks import Task
from echojepa.vocabulary import Split

ALPHA = 0.1
"""Share of patients whose truth may lie outside of an interval."""
ENOUGH_FOR_BANDS = 100
"""Calibration patients from which on intervals are made by band of predicted LVEF; fewer make one band."""
Row = dict[str, Any]


def conformal_rows(
    made: ItemPredictions, calibrating: NDArray[np.str_], task: Task, facts: Row, seed: int
) -> list[Row]:
    """Measured coverage and width of 90 % intervals on test patients; `calibrating` patients chose nothing.

    Rows of all patients, then by band of predicted LVEF where calibration patients are many.
    """
    calibrates = np.isin(made.patients, calibrating)
    chose = made.patients[(made.splits != Split.TEST) & ~calibrates]
    edges = EF_EDGES if task.label == "lvef" and len(calibrating) >= ENOUGH_FOR_BANDS else ()
    groups = np.full(len(made.items), task.name)
    fitted = calibrate(
        made.truth[calibrates], made.prediction[calibrates], made.patients[calibrates], groups[calibrates],
        chose_head=chose, alpha=ALPHA, edges=edges, seed=seed,
    )  # fmt: skip
    test = made.splits == Split.TEST
    found = coverage(
        fitted, made.truth[test], made.prediction[test], made.patients[test], groups[test], seed=seed
    )
    rows = []
    for number, cell in enumerate(found if edges else found[:1]):
        group = cell.cell if number else EVERYBODY
        whole = facts | {"split": str(Split.TEST), "group": group, "patients": cell.patients}
        whole |= {"items": cell.patients, "note": f"{len(calibrating)} calibration patients"}
        share = {"value": 100 * cell.covered, "lo": 100 * cell.low, "hi": 100 * cell.high}
        rows.append(whole | {"metric": "coverage of 90 % intervals", "unit": "%"} | share)
        width = {"value": cell.width, "lo": np.nan, "hi": np.nan}
        rows.append(whole | {"metric": "width of 90 % intervals", "unit": task.unit} | width)
    return rows


def groups_of(cohort: Cohort, task: Task, items: NDArray[np.str_]) -> dict[str, NDArray[np.str_]]:
    """Sex and age band of each item's patient, its site, and the view of a loop."""
    name = "study_id" if task.level == "study" else "loop_id"
    loops = {loop[name]: loop for loop in cohort.loops}
    mine = [loops[item] for item in items.tolist()]
    ages = np.array([np.nan if loop.age is None else loop.age for loop in mine])
    found = {
        "sex": np.array([loop.sex or "unknown" for loop in mine]),
        "age": banded(ages, AGE_EDGES),
        "site": np.array([loop["site"] for loop in mine]),
    }
    return found if task.level == "study" else found | {"view": np.array([loop["view"] for loop in mine])}


def subgroup_rows(
    made: ItemPredictions, cohort: Cohort, task: Task, facts: Row, resamples: int, seed: int
) -> list[Row]:
    """The leading metric of each subgroup that has enough test patients, and its distance from the others."""
    metric = next(iter(METRICS[task.kind].values()))
    rows = []
    for what, groups in groups_of(cohort, task, made.items).items():
        if len(set(groups.tolist())) < 2:
            continue
        for one in subgroups(
            made.truth, made.prediction, made.patients, groups, metric, resamples=resamples, seed=seed
        ):
            if one.note.startswith("too few"):
                continue
            whole = facts | {"split": str(Split.TEST), "group": f"{what} {one.group}"}
            whole |= {"unit": unit_of(metric.name, task.unit), "patients": one.patients, "items": one.items}
            rows.append(whole | {"metric": metric.name, "value": one.value, "lo": one.low, "hi": one.high})
            if not np.isnan(one.gap):
                gap = {"value": one.gap, "lo": one.gap_low, "hi": one.gap_high}
                rows.append(whole | {"metric": f"{metric.name}, minus all others'"} | gap)
    return rows


@dataclass(frozen=True)
class Contest:
    """Predictions of several backbones for the same cell and condition."""

    task: Task
    facts: Row
    """Columns that tell which contest it is."""
    predictions: Mapping[str, ItemPredictions]


def shared_items(contest: Contest) -> tuple[Values, dict[str, Values], Values]:
    """Truth, each backbone's predictions and patients of the items that all of them predicted."""
    ids = [set(made.items.tolist()) for made in contest.predictions.values()]
    both = np.array(sorted(set.intersection(*ids)))
    first = next(iter(contest.predictions.values()))
    rows = {name: np.searchsorted(made.items, both) for name, made in contest.predictions.items()}
    mine = next(iter(rows.values()))
    values = {name: made.prediction[rows[name]] for name, made in contest.predictions.items()}
    return first.truth[mine], values, first.patients[mine]


def comparisons(contests: Sequence[Contest], resamples: int, seed: int) -> pa.Table:
    """Every pair of backbones in every contest, on shared items; one Holm correction over all of them."""
    found: list[tuple[Row, Comparison]] = []
    for contest in contests:
        if len(contest.predictions) < 2:
            continue
        metric = next(iter(METRICS[contest.task.kind].values()))
        truth, values, patients = shared_items(contest)
        unit = unit_of(metric.name, contest.task.unit)
        counted = {"metric": metric.name, "unit": unit, "patients": len(set(patients.tolist()))}
        for one in compare(truth, values, patients, metric, resamples=resamples, seed=seed):
            found.append((contest.facts | counted, replace(one, p_holm=one.p)))
    family = corrected([one for _, one in found])
    return pa.Table.from_pylist([facts | asdict(one) for (facts, _), one in zip(found, family, strict=True)])


class Contests:
    """Collects predictions of the same cell and condition as backbones come by."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, ItemPredictions]] = defaultdict(dict)
        self.about: dict[str, tuple[Task, Row]] = {}

    def add(self, key: str, task: Task, facts: Row, backbone: str, test: ItemPredictions) -> None:
        """One backbone's test predictions."""
        self.about[key] = (task, facts)
        self.found[key][backbone] = test

    def all(self) -> list[Contest]:
        """Every contest."""
        return [Contest(*self.about[key], made) for key, made in self.found.items()]
