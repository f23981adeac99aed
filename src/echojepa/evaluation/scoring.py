"""From predictions to rows: scores, subgroups, intervals of predictions, and what a perturbation changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from echojepa.errors import UserError
from echojepa.evaluation.cells import Predicted
from echojepa.evaluation.probes.predictions import Predictions
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.evaluation.results import ALL_SITES, EVERYBODY, ResultRow, RowFacts
from echojepa.evaluation.statistics.comparison import paired_difference
from echojepa.evaluation.statistics.conformal import Conformal, calibrate, coverage, expected_coverage
from echojepa.evaluation.statistics.intervals import Estimate, estimates
from echojepa.evaluation.statistics.metrics import METRICS, leading_metric, unit_of
from echojepa.evaluation.statistics.subgroups import AGE_EDGES, EF_EDGES, banded, subgroups
from echojepa.tasks import Task
from echojepa.vocabulary import Split

ALPHA = 0.1
"""Share of patients whose truth may lie outside of an interval."""
COVERAGE, WIDTH = "coverage of 90 % intervals", "width of 90 % intervals"
"""Metrics of prediction intervals."""
ENOUGH_FOR_BANDS = 100
"""Calibration patients from which on intervals are made by band of predicted LVEF; fewer make one band."""


@dataclass(frozen=True)
class Scored:
    """Test predictions under one condition of one cell and backbone, and what their rows say of it."""

    task: Task
    facts: RowFacts
    test: Predictions


def row_facts(one: Predicted, items: NDArray[np.str_]) -> RowFacts:
    """What rows of some items of predictions say."""
    asked, samples, condition = one.cell.cell, one.cell.samples, one.condition
    counted = one.cell.under(condition) & np.isin(samples.items, items)
    every = samples.select(samples.splits == Split.TEST).loops()
    mine = samples.select(one.cell.tested).loops()
    subset = f"a fixed subset: {len(mine)} of {len(every)} test loops" if len(mine) < len(every) else ""
    shown = condition.views or range(len(asked.task.slots))
    return RowFacts(
        **vars(one.backbone),
        task=asked.task.name,
        probe=asked.probe.name,
        trained_on=asked.trained_on or ALL_SITES,
        site=condition.site or ALL_SITES,
        label_fraction=asked.fraction,
        perturbation=condition.perturbation,
        severity=condition.severity,
        views=" + ".join(str(asked.task.slots[view][0]) for view in shown),
        seed=asked.seed,
        loops=len(samples.select(counted).loops()),
        converged=one.converged,
        note="; ".join(filter(None, [subset, one.note])),
    )


def cell_rows(
    predicted: Sequence[Predicted], cohort: Cohort, resamples: int, seed: int
) -> tuple[list[ResultRow], list[Scored]]:
    """Rows of a cell's conditions, the unperturbed of a site first; and what comparisons and means over seeds
    are made of."""
    rows: list[ResultRow] = []
    plain: dict[str, Scored] = {}
    for one in predicted:
        test, asked, condition = one.made.of_test(), one.cell.cell, one.condition
        facts = row_facts(one, test.items)
        if asked.calibrated:
            names = np.unique(one.cell.samples.patients[one.cell.calibrating])
            groups = groups_of(cohort, asked.task, one.made.items)["view"]
            rows += conformal_rows(one.made, names, groups, asked.task, facts, seed)
            continue
        scored = Scored(asked.task, facts, test)
        rows += score(scored, resamples, seed)
        if condition.plain:
            plain[condition.site] = scored
            rows += subgroup_rows(scored, cohort, resamples, seed)
        if condition.perturbation:
            rows.append(perturbation_row(scored, plain[condition.site].test, resamples, seed))
    return rows, list(plain.values())


def score(scored: Scored, resamples: int, seed: int) -> list[ResultRow]:
    """A row a metric. Test items alone are scored; UserError where others are among them."""
    test = scored.test
    if set(test.splits.tolist()) != {str(Split.TEST)}:
        raise UserError(f"rows must be of test patients only; got {sorted(set(test.splits.tolist()))}")
    metrics = {name: m for name, m in METRICS[scored.task.kind].items() if m.can_score(test.values)}
    found = estimates(test.truth, test.values, test.patients, metrics, resamples=resamples, seed=seed)
    return [scored.facts.row(name, unit_of(name, scored.task.unit), number) for name, number in found.items()]


def calibrated_on(
    made: Predictions, calibrating: NDArray[np.str_], groups: NDArray[np.str_], task: Task, seed: int
) -> Conformal:
    """90 % intervals of a probe from its predictions (n,) of `calibrating` patients, who chose nothing, by
    group (n,); by band of predicted LVEF, too, where they are many."""
    held = np.isin(made.patients, calibrating)
    own = made.select(held)
    edges = EF_EDGES if task.label == "lvef" and len(calibrating) >= ENOUGH_FOR_BANDS else ()
    return calibrate(
        own.truth, own.values, own.patients, groups[held],
        chose_head=made.patients[~held & (made.splits != Split.TEST)], alpha=ALPHA, edges=edges, seed=seed,
    )  # fmt: skip


def conformal_rows(
    made: Predictions,
    calibrating: NDArray[np.str_],
    groups: NDArray[np.str_],
    task: Task,
    facts: RowFacts,
    seed: int,
) -> list[ResultRow]:
    """Measured coverage and width of 90 % intervals on test patients; `calibrating` patients chose nothing.

    A row of all patients, then of each cell: group (n,) of the item (its view) and, where calibration
    patients are many, band of predicted LVEF.
    """
    tested = made.splits == Split.TEST
    test = made.select(tested)
    fitted = calibrated_on(made, calibrating, groups, task, seed)
    found = coverage(fitted, test.truth, test.values, test.patients, groups[tested], seed=seed)
    rows = []
    for number, cell in enumerate(found if len(fitted.half_widths) > 1 else found[:1]):
        group = cell.cell if number else EVERYBODY
        counted = fitted.patients.get(cell.cell, 0) if number else len(calibrating)
        note = f"{counted} calibration patients"
        if number or len(fitted.half_widths) == 1:
            low, high = (100 * share for share in expected_coverage(counted, ALPHA))
            note += f": {low:.0f} to {high:.0f} % is expected"
        whole, n = replace(facts, note=note), cell.patients
        share = Estimate(100 * cell.covered, 100 * cell.low, 100 * cell.high, n, n)
        rows.append(whole.row(COVERAGE, "%", share, group))
        rows.append(whole.row(WIDTH, task.unit, Estimate(cell.width, np.nan, np.nan, n, n), group))
    return rows


def groups_of(cohort: Cohort, task: Task, items: NDArray[np.str_]) -> dict[str, NDArray[np.str_]]:
    """Sex and age band of each item's patient, its site, and the view of a loop; a study has none."""
    name = "study_id" if task.level == "study" else "loop_id"
    wanted = set(items.tolist())
    loops = {one: loop for loop in cohort.loops.values() if (one := getattr(loop, name)) in wanted}
    mine = [loops[item] for item in items.tolist()]
    ages = np.array([np.nan if loop.age is None else loop.age for loop in mine])
    views = ["study" if task.level == "study" else loop.view for loop in mine]
    return {
        "sex": np.array([loop.sex or "unknown" for loop in mine]),
        "age": banded(ages, AGE_EDGES),
        "site": np.array([loop.site for loop in mine]),
        "view": np.array(views, dtype=str),
    }


def subgroup_rows(scored: Scored, cohort: Cohort, resamples: int, seed: int) -> list[ResultRow]:
    """The leading metric of each subgroup that has enough test patients, and its distance from the others."""
    test, task = scored.test, scored.task
    metric = leading_metric(task.kind)
    unit = unit_of(metric.name, task.unit)
    rows = []
    for what, groups in groups_of(cohort, task, test.items).items():
        if len(set(groups.tolist())) < 2:
            continue
        for one in subgroups(
            test.truth, test.values, test.patients, groups, metric, resamples=resamples, seed=seed
        ):
            name = f"{what} {one.group}"
            rows.append(scored.facts.row(metric.name, unit, one.own, name))
            if one.gap is not None and not np.isnan(one.gap.value):
                rows.append(scored.facts.row(f"{metric.name}, minus all others'", unit, one.gap, name))
    return rows


def perturbation_row(perturbed: Scored, plain: Predictions, resamples: int, seed: int) -> ResultRow:
    """The change by the perturbation alone: the leading metric minus that of the same unperturbed items."""
    metric = leading_metric(perturbed.task.kind)
    test = perturbed.test
    if not np.array_equal(test.items, plain.items):
        raise ValueError("perturbed and unperturbed predictions have different items")
    number = paired_difference(
        test.truth, test.values, plain.values, test.patients, metric, resamples=resamples, seed=seed
    )
    unit = unit_of(metric.name, perturbed.task.unit)
    return perturbed.facts.row(f"{metric.name}, minus unperturbed", unit, number)
