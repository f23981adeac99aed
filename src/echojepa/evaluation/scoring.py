"""Beside a plan's plain numbers: intervals of predictions, subgroups, backbones against each other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.errors import UserError
from echojepa.evaluation.probes.predictions import ItemPredictions
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.evaluation.results import EVERYBODY, Row, Scored
from echojepa.evaluation.statistics.comparison import Comparison, compare, corrected, paired_difference
from echojepa.evaluation.statistics.conformal import calibrate, coverage, expected_coverage
from echojepa.evaluation.statistics.formulas import Values
from echojepa.evaluation.statistics.intervals import over_seeds
from echojepa.evaluation.statistics.metrics import leading_metric, unit_of
from echojepa.evaluation.statistics.subgroups import AGE_EDGES, EF_EDGES, banded, subgroups
from echojepa.tasks import Task
from echojepa.vocabulary import Split

ALPHA = 0.1
"""Share of patients whose truth may lie outside of an interval."""
COVERAGE, WIDTH = "coverage of 90 % intervals", "width of 90 % intervals"
"""Metrics of prediction intervals."""
ENOUGH_FOR_BANDS = 100
"""Calibration patients from which on intervals are made by band of predicted LVEF; fewer make one band."""


def views_of(cohort: Cohort, task: Task, items: NDArray[np.str_]) -> NDArray[np.str_]:
    """What prediction intervals are made apart for: the view of each loop; a study has no view."""
    if task.level == "study":
        return np.full(len(items), "study")
    views = {loop["loop_id"]: loop["view"] for loop in cohort.loops}
    return np.array([views[item] for item in items.tolist()], dtype=str)


def conformal_rows(
    made: ItemPredictions,
    calibrating: NDArray[np.str_],
    groups: NDArray[np.str_],
    task: Task,
    facts: Row,
    seed: int,
) -> list[Row]:
    """Measured coverage and width of 90 % intervals on test patients; `calibrating` patients chose nothing.

    A row of all patients, then of each cell: group (n,) of the item (its view) and, where calibration
    patients are many, band of predicted LVEF.
    """
    calibrates = np.isin(made.patients, calibrating)
    chose = made.patients[(made.splits != Split.TEST) & ~calibrates]
    edges = EF_EDGES if task.label == "lvef" and len(calibrating) >= ENOUGH_FOR_BANDS else ()
    fitted = calibrate(
        made.truth[calibrates], made.prediction[calibrates], made.patients[calibrates], groups[calibrates],
        chose_head=chose, alpha=ALPHA, edges=edges, seed=seed,
    )  # fmt: skip
    test = made.splits == Split.TEST
    found = coverage(
        fitted, made.truth[test], made.prediction[test], made.patients[test], groups[test], seed=seed
    )
    rows = []
    for number, cell in enumerate(found if len(fitted.half_widths) > 1 else found[:1]):
        group = cell.cell if number else EVERYBODY
        whole = facts | {"split": str(Split.TEST), "group": group, "patients": cell.patients}
        counted = fitted.patients.get(cell.cell, 0) if number else len(calibrating)
        note = f"{counted} calibration patients"
        if number or len(fitted.half_widths) == 1:
            low, high = (100 * share for share in expected_coverage(counted, ALPHA))
            note += f": {low:.0f} to {high:.0f} % to be expected"
        whole |= {"items": cell.patients, "note": note}
        share = {"value": 100 * cell.covered, "lo": 100 * cell.low, "hi": 100 * cell.high}
        rows.append(whole | {"metric": COVERAGE, "unit": "%"} | share)
        width = {"value": cell.width, "lo": np.nan, "hi": np.nan}
        rows.append(whole | {"metric": WIDTH, "unit": task.unit} | width)
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
    metric = leading_metric(task.kind)
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


COMPARED = (
    "task", "probe", "trained_on", "site", "label_fraction", "perturbation", "severity", "views", "seed",
)  # fmt: skip
"""Columns that are the same for backbones that are compared."""


def grouped(plain: Sequence[Scored], names: Sequence[str]) -> dict[tuple[Any, ...], list[Scored]]:
    """Predictions by these columns, in the order in which they came."""
    found: dict[tuple[Any, ...], list[Scored]] = defaultdict(list)
    for one in plain:
        found[tuple(one.facts[name] for name in names)].append(one)
    return found


def shared_items(several: Sequence[Scored]) -> tuple[Values, list[Values], Values]:
    """Truth, each one's predictions and patients of the items that all of them predicted."""
    ids = [set(one.test.items.tolist()) for one in several]
    both = np.array(sorted(set.intersection(*ids)))
    rows = [np.searchsorted(one.test.items, both) for one in several]
    values = [one.test.prediction[mine] for one, mine in zip(several, rows, strict=True)]
    first = several[0].test
    truth, patients = first.truth[rows[0]], first.patients[rows[0]]
    for one, mine in zip(several, rows, strict=True):
        pairs = ((one.test.truth[mine], truth), (one.test.patients[mine], patients))
        if not all(np.array_equal(theirs, ours) for theirs, ours in pairs):
            raise UserError(
                "items of one id have other labels or patients in another backbone's predictions; delete the "
                "folder `probes` of the results and run again"
            )
    return truth, values, patients


FAMILY = ("task", "probe")
"""Columns that comparisons share which are corrected together."""
FINEST = 40
"""Permutations a comparison of a family: its smallest corrected p is 1/40, however large the family."""


def comparisons(plain: Sequence[Scored], resamples: int, seed: int) -> pa.Table:
    """Every pair of backbones in every cell of the first seed, on shared items.

    One Holm correction over all pairs of one task and probe: all sites, label fractions and views.
    """
    rows: list[Row] = []
    first = [min(several, key=lambda one: one.facts["seed"])
             for several in grouped(plain, ("backbone", *COMPARED[:-1])).values()]  # fmt: skip
    for family in grouped(first, FAMILY).values():
        cells = {key: cell for key, cell in grouped(family, COMPARED).items() if len(cell) > 1}
        permutations = max(resamples, FINEST * sum(math.comb(len(cell), 2) for cell in cells.values()))
        found: list[tuple[Row, Comparison]] = []
        for key, several in cells.items():
            metric = leading_metric(several[0].task.kind)
            truth, values, patients = shared_items(several)
            by_name = {one.facts["backbone"]: value for one, value in zip(several, values, strict=True)}
            facts = dict(zip(COMPARED, key, strict=True)) | {
                "metric": metric.name, "unit": unit_of(metric.name, several[0].task.unit),
                "patients": len(set(patients.tolist())),
            }  # fmt: skip
            made = compare(
                truth, by_name, patients, metric, resamples=resamples, permutations=permutations, seed=seed
            )
            found += [(facts, one) for one in made]
        together = corrected([one for _, one in found])
        rows += [facts | asdict(one) for (facts, _), one in zip(found, together, strict=True)]
    return pa.Table.from_pylist(rows)


def seed_rows(plain: Sequence[Scored], resamples: int, seed: int) -> list[Row]:
    """The leading metric's mean over training seeds, where there are several: rows without a seed."""
    rows = []
    for several in grouped(plain, ("backbone", *COMPARED[:-1])).values():
        if len(several) < 2:
            continue
        task, facts = several[0].task, several[0].facts
        metric = leading_metric(task.kind)
        truth, values, patients = shared_items(several)
        made = over_seeds(truth, np.stack(values), patients, metric, resamples=resamples, seed=seed)
        number = {"metric": metric.name, "unit": unit_of(metric.name, task.unit)}
        number |= {"value": made.value, "lo": made.low, "hi": made.high}
        settled = all(one.facts["settled"] for one in several)
        whole = facts | {"settled": settled, "seed": None, "split": str(Split.TEST), "group": EVERYBODY}
        note = ", ".join(filter(None, [f"mean of {len(several)} seeds", facts["note"]]))
        rows.append(whole | number | {"patients": made.patients, "items": made.items, "note": note})
    return rows


def damage_rows(damaged: Scored, undamaged: ItemPredictions, resamples: int, seed: int) -> list[Row]:
    """What damage alone changed: the leading metric minus that of the same items undamaged, paired."""
    metric = leading_metric(damaged.task.kind)
    test = damaged.test
    if not np.array_equal(test.items, undamaged.items):
        raise ValueError("damaged and undamaged predictions are of other items")
    value, low, high = paired_difference(
        test.truth, test.prediction, undamaged.prediction, test.patients, metric,
        resamples=resamples, seed=seed,
    )  # fmt: skip
    number = {"metric": f"{metric.name}, minus undamaged", "unit": unit_of(metric.name, damaged.task.unit)}
    whole = damaged.facts | {"split": str(Split.TEST), "group": EVERYBODY, "items": len(test.items)}
    patients = len(set(test.patients.tolist()))
    return [whole | number | {"value": value, "lo": low, "hi": high, "patients": patients}]
