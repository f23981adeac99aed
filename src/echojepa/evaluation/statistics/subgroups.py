"""A metric by subgroup of patients or loops, each with its interval and its distance from all others.

Groups are words, one an item: sex, site, view as they stand; numbers (age, LVEF, a image's quality) after
`banded`. A group of fewer than `MINIMUM_PATIENTS` patients gets no number: its interval would be a guess, and
its number could be a person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from echojepa.errors import UserError
from echojepa.evaluation.statistics.formulas import Values
from echojepa.evaluation.statistics.intervals import Estimate, patient_counts, percentile_interval
from echojepa.evaluation.statistics.metrics import Metric

MINIMUM_PATIENTS = 20
AGE_EDGES = (18.0, 40.0, 60.0, 75.0)
"""Years; below 18 are children."""
EF_EDGES = (30.0, 40.0, 50.0)
"""%; 40 and 50 are where guidelines of heart failure part reduced, mildly reduced and preserved LVEF:
McDonagh et al., Eur Heart J 42:3599 (2021)."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Subgroup:
    """A metric in one group, and how much it differs from that of all items outside it."""

    group: str
    own: Estimate
    """The metric inside the group."""
    gap: Estimate | None
    """That minus the metric of all others; None where those are too few."""


def banded(values: Values, edges: Sequence[float]) -> NDArray[np.str_]:
    """Bands of numbers, e.g. '< 30', '30 to < 40', '>= 40'; a lower edge belongs to its band, nan is unknown.

    Raises UserError where edges do not rise.
    """
    if not len(edges) or (np.diff(edges) <= 0).any():
        raise UserError(f"edges of bands must be rising numbers, at least one; got {list(edges)}")
    middle = [f"{low:g} to < {high:g}" for low, high in pairwise(edges)]
    names = np.array([f"< {edges[0]:g}", *middle, f">= {edges[-1]:g}", UNKNOWN])
    numbers = np.asarray(values, dtype=np.float64)
    return names[np.where(np.isnan(numbers), len(names) - 1, np.digitize(numbers, edges))]


def subgroups(
    truth: Values,
    prediction: Values,
    patients: Values,
    groups: Values,
    metric: Metric,
    *,
    resamples: int,
    seed: int,
) -> list[Subgroup]:
    """A row a group (n,) of enough patients, in the order of their names; one set of patient resamples serves
    all of them.

    A gap needs enough patients on both sides. Intervals are not corrected for the number of groups.
    """
    names = np.unique(groups).tolist()
    inside = {name: np.asarray(groups) == name for name in names}
    spread: dict[str, list[Values]] = {name: [] for name in names}
    for counts in patient_counts(patients, resamples, seed):
        for name, mine in inside.items():
            sides = [metric.over(truth, prediction, counts * side) for side in (mine, ~mine)]
            spread[name].append(np.stack(sides))
    rows = []
    for name, mine in inside.items():
        own, others = np.concatenate(spread[name], axis=1)
        known, beside = len(np.unique(patients[mine])), len(np.unique(patients[~mine]))
        if known < MINIMUM_PATIENTS:
            continue
        count, value, gap = int(mine.sum()), metric(truth[mine], prediction[mine]), None
        if beside >= MINIMUM_PATIENTS:
            ends = percentile_interval(own - others, min(known, beside))
            gap = Estimate(value - metric(truth[~mine], prediction[~mine]), *ends, known, count)
        rows.append(Subgroup(name, Estimate(value, *percentile_interval(own, known), known, count), gap))
    return rows
