"""Numbers over several cells: backbones against each other, and means over training seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa

from echojepa.errors import UserError
from echojepa.evaluation.results import ResultRow
from echojepa.evaluation.scoring import Scored
from echojepa.evaluation.statistics.comparison import Comparison, compare, corrected
from echojepa.evaluation.statistics.formulas import Values
from echojepa.evaluation.statistics.intervals import over_seeds
from echojepa.evaluation.statistics.metrics import leading_metric, unit_of

COMPARISONS = "comparisons.parquet"
COMPARED = (
    "task", "probe", "trained_on", "site", "label_fraction", "perturbation", "severity", "views", "seed",
)  # fmt: skip
"""Columns that are the same for backbones that are compared."""
FAMILY = ("task", "probe")
"""Columns that comparisons share which are corrected together."""
FINEST = 40
"""Permutations a comparison of a family: its smallest corrected p is 1/40, however large the family."""


def grouped(plain: Sequence[Scored], names: Sequence[str]) -> dict[tuple[Any, ...], list[Scored]]:
    """Predictions by these columns, in the order in which they came."""
    found: dict[tuple[Any, ...], list[Scored]] = defaultdict(list)
    for one in plain:
        found[tuple(getattr(one.facts, name) for name in names)].append(one)
    return found


def shared_items(several: Sequence[Scored]) -> tuple[Values, list[Values], Values]:
    """Truth, each one's predictions and patients of the items that all of them predicted."""
    ids = [set(one.test.items.tolist()) for one in several]
    both = np.array(sorted(set.intersection(*ids)))
    shared = [one.test.select(np.searchsorted(one.test.items, both)) for one in several]
    first = shared[0]
    for one in shared:
        if not (np.array_equal(one.truth, first.truth) and np.array_equal(one.patients, first.patients)):
            raise UserError(
                "labels or patients of the same items differ between backbones' predictions; delete the "
                "folder `probes` of the results and run again"
            )
    return first.truth, [one.values for one in shared], first.patients


def comparisons(plain: Sequence[Scored], resamples: int, seed: int) -> pa.Table:
    """Every pair of backbones in every cell of the first seed, on shared items.

    One Holm correction over all pairs of one task and probe: all sites, label fractions and views.
    """
    rows: list[dict[str, Any]] = []
    first = [min(several, key=lambda one: one.facts.seed or 0)
             for several in grouped(plain, ("backbone", *COMPARED[:-1])).values()]  # fmt: skip
    for family in grouped(first, FAMILY).values():
        cells = {key: cell for key, cell in grouped(family, COMPARED).items() if len(cell) > 1}
        permutations = max(resamples, FINEST * sum(math.comb(len(cell), 2) for cell in cells.values()))
        found: list[tuple[dict[str, Any], Comparison]] = []
        for key, several in cells.items():
            metric = leading_metric(several[0].task.kind)
            truth, values, patients = shared_items(several)
            by_name = {one.facts.backbone: value for one, value in zip(several, values, strict=True)}
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


def seed_rows(plain: Sequence[Scored], resamples: int, seed: int) -> list[ResultRow]:
    """The leading metric's mean over training seeds, where there are several: rows without a seed."""
    rows = []
    for several in grouped(plain, ("backbone", *COMPARED[:-1])).values():
        if len(several) < 2:
            continue
        task, facts = several[0].task, several[0].facts
        metric = leading_metric(task.kind)
        truth, values, patients = shared_items(several)
        made = over_seeds(truth, np.stack(values), patients, metric, resamples=resamples, seed=seed)
        note = ", ".join(filter(None, [f"mean of {len(several)} seeds", facts.note]))
        converged = all(one.facts.converged for one in several)
        whole = replace(facts, seed=None, converged=converged, note=note)
        rows.append(whole.row(metric.name, unit_of(metric.name, task.unit), made))
    return rows
