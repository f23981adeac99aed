"""Prediction intervals that hold the truth for a stated share of patients: split-conformal, by group.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), Mondrian form: the interval of a
prediction is its value plus and minus a quantile of the absolute errors of calibration patients of the same
cell, a cell being a band of the *predicted* value and a group (the view). Coverage in a cell is at least
1 - alpha on average over calibration sets, if calibration and test patients are exchangeable: not across
sites. One item a patient is taken from each cell, because items of a patient are not exchangeable with
those of others. A cell with fewer than ceil(1 / alpha) - 1 calibration patients has infinite intervals: cells
merged after counting would lose the guarantee; ask for fewer bands instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binomtest

from echojepa.data.identity.splits import LeakageError
from echojepa.errors import UserError
from echojepa.evaluation.statistics.formulas import Values
from echojepa.evaluation.statistics.subgroups import banded
from echojepa.randomness import derive_seed


@dataclass(frozen=True)
class Coverage:
    """How often intervals held the truth in a cell, one item a patient."""

    cell: str
    patients: int
    covered: float
    """Share, 0 to 1, with its 95 % interval after Wilson."""
    low: float
    high: float
    width: float
    """Median width in the task's unit; inf where most intervals are infinite."""


@dataclass(frozen=True)
class Conformal:
    """Half-widths of intervals by cell, as calibrated."""

    alpha: float
    """Share of patients whose truth may lie outside."""
    edges: tuple[float, ...]
    """Edges of the bands of the predicted value; none makes one band."""
    half_widths: dict[str, float]
    patients: dict[str, int]
    """Calibration patients of each cell."""

    def intervals(self, prediction: Values, groups: Values) -> tuple[Values, Values]:
        """Lower and upper ends (n,) for predictions (n,); infinite in a cell of too few patients."""
        cells = cells_of(prediction, groups, self.edges)
        half = np.array([self.half_widths.get(cell, math.inf) for cell in cells])
        return prediction - half, prediction + half


def calibrates(patients: Values, seed: int) -> NDArray[np.bool_]:
    """Which items (n,) of validation patients calibrate; those of the others choose the head.

    A coin of each patient's own, so that adding patients moves none.
    """
    names, owner = np.unique(patients, return_inverse=True)
    coins = [derive_seed(seed, f"calibrates {name}") % 2 == 1 for name in names.tolist()]
    return np.array(coins, dtype=bool)[owner]


def cells_of(prediction: Values, groups: Values, edges: Sequence[float]) -> NDArray[np.str_]:
    """Name (n,) of the cell of each prediction: its group and its band."""
    bands = banded(prediction, edges) if len(edges) else np.full(len(prediction), "all")
    return np.array([f"{group}, predicted {band}" for group, band in zip(groups, bands, strict=True)])


def one_a_patient(patients: Values, cells: Values, seed: int) -> NDArray[np.int64]:
    """Items, drawn at random, of which each patient has one in each of its cells."""
    order = np.random.default_rng(derive_seed(seed, "one item a patient")).permutation(len(patients))
    pairs = np.stack([np.unique(ids, return_inverse=True)[1] for ids in (patients, cells)], axis=1)
    return order[np.unique(pairs[order], axis=0, return_index=True)[1]]


def rank_of(count: int, alpha: float) -> int:
    """Which of so many scores, from the smallest, an interval reaches to: ceil((n + 1)(1 - alpha))."""
    return math.ceil((count + 1) * (1 - alpha) - 1e-9)


def half_width(scores: Values, alpha: float) -> float:
    """The score of `rank_of`; infinite where there is none."""
    rank = rank_of(len(scores), alpha)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def expected_coverage(patients: int, alpha: float) -> tuple[float, float]:
    """Where the true coverage of intervals from so many calibration patients lies in 95 % of draws of them.

    1 - alpha holds on average over draws; of one draw the coverage has a Beta(k, n + 1 - k) distribution, k
    the `rank_of` n (Vovk, Machine Learning 92:349, 2013). (1, 1) where intervals are infinite.
    """
    rank = rank_of(patients, alpha)
    if rank > patients:
        return 1.0, 1.0
    low, high = beta(rank, patients + 1 - rank).ppf([0.025, 0.975])
    return float(low), float(high)


def calibrate(
    truth: Values,
    prediction: Values,
    patients: Values,
    groups: Values,
    *,
    chose_head: Values,
    alpha: float,
    edges: Sequence[float],
    seed: int,
) -> Conformal:
    """Half-widths from calibration items (n,).

    `chose_head`: the patients that trained or chose the predictor; LeakageError where one calibrates too, for
    its errors are smaller than a stranger's. Raises UserError for alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise UserError(f"alpha, the share of truths outside, must lie between 0 and 1; got {alpha}")
    check_apart(patients, chose_head, "calibrate intervals and chose or trained their predictor")
    cells = cells_of(prediction, groups, edges)
    chosen = one_a_patient(patients, cells, seed)
    errors = np.abs(truth - prediction)[chosen]
    by_cell = {str(cell): errors[cells[chosen] == cell] for cell in np.unique(cells)}
    return Conformal(
        alpha,
        tuple(edges),
        {cell: half_width(scores, alpha) for cell, scores in by_cell.items()},
        {cell: len(scores) for cell, scores in by_cell.items()},
    )


def check_apart(one: Values, other: Values, what: str) -> None:
    """Raise LeakageError where patients are in both."""
    both = np.intersect1d(one, other)
    if len(both):
        raise LeakageError(f"{len(both)} patients {what}, e.g. {both[:3].tolist()}; keep them apart")


def coverage(
    conformal: Conformal, truth: Values, prediction: Values, patients: Values, groups: Values, *, seed: int
) -> list[Coverage]:
    """Measured coverage and width on test items: first of all patients together, then of each cell."""
    low, high = conformal.intervals(prediction, groups)
    inside, widths = (low <= truth) & (truth <= high), high - low
    cells = cells_of(prediction, groups, conformal.edges)
    everyone = np.full(len(cells), "all")
    rows = []
    for names, chosen in ((n, one_a_patient(patients, n, seed)) for n in (everyone, cells)):
        for name in np.unique(names).tolist():
            mine = chosen[names[chosen] == name]
            hits, n = int(inside[mine].sum()), len(mine)
            ends = binomtest(hits, n).proportion_ci(0.95, method="wilson")
            rows.append(Coverage(name, n, hits / n, ends.low, ends.high, float(np.median(widths[mine]))))
    return rows
