"""Backbones against each other on the same patients: differences, p-values, correction for many of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from echojepa.evaluation.statistics.formulas import Counts, Values
from echojepa.evaluation.statistics.intervals import CHUNK, Estimate, bootstrapped
from echojepa.evaluation.statistics.metrics import Metric


@dataclass(frozen=True)
class Comparison:
    """metric(one) - metric(other), with its 95 % interval and p-values."""

    one: str
    other: str
    difference: float
    low: float
    high: float
    p: float
    """Of this comparison alone, by paired permutation."""
    p_holm: float
    """Corrected for all comparisons of the family; the interval is not."""


def paired_difference(
    truth: Values, one: Values, other: Values, patients: Values, metric: Metric, *, resamples: int, seed: int
) -> Estimate:
    """metric(one) - metric(other) on the same items, with its 95 % interval."""

    def difference(counts: Counts) -> Values:
        return metric.over(truth, one, counts) - metric.over(truth, other, counts)

    whole = metric(truth, one) - metric(truth, other)
    return bootstrapped(whole, difference, patients, resamples=resamples, seed=seed)


def permutation_p(
    truth: Values,
    one: Values,
    other: Values,
    patients: Values,
    metric: Metric,
    *,
    permutations: int,
    seed: int,
) -> float:
    """Two-sided p-value of metric(one) = metric(other): each patient's predictions swapped with chance 1/2.

    The hypothesis is that, for each patient, it does not matter which backbone is which. Counts the observed
    order too, so that p is never 0: (1 + as extreme) / (1 + permutations), Phipson and Smyth, Stat Appl Genet
    Mol Biol 9:39 (2010). nan where the metric is not defined.
    """
    names, owner = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    truths, both = np.concatenate([truth, truth]), np.concatenate([one, other])
    observed = abs(metric(truth, one) - metric(truth, other))
    if np.isnan(observed):
        return float("nan")
    extreme, left = 0, permutations
    while left:
        rows = min(left, max(1, CHUNK // len(truths)))
        keep = rng.integers(2, size=(rows, len(names)))[:, owner].astype(np.float64)
        first, second = np.hstack([keep, 1 - keep]), np.hstack([1 - keep, keep])
        difference = np.abs(metric.over(truths, both, first) - metric.over(truths, both, second))
        extreme += int((~(difference < observed * (1 - 1e-9))).sum())
        left -= rows
    return (1 + extreme) / (1 + permutations)


def holm(p_values: Values) -> Values:
    """Family-wise corrected p-values by step-down: Holm, Scand J Stat 6:65 (1979); nan stays nan.

    The chance of any false claim among all is at most the level, whatever the comparisons share.
    """
    p = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    stepped = np.maximum.accumulate(p[order] * (len(order) - np.arange(len(order))))
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def compare(
    truth: Values,
    predictions: Mapping[str, Values],
    patients: Values,
    metric: Metric,
    *,
    resamples: int,
    permutations: int | None = None,
    seed: int,
) -> list[Comparison]:
    """Every pair of backbones on the same items; p-values corrected over the list.

    `predictions` maps names to (n, ...); as many permutations as resamples unless said otherwise. No p is
    below 1 / (permutations + 1), no corrected one below that times its family's size. Families over several
    tasks or metrics: collect the rows and use `corrected`.
    """
    rows = []
    for one, other in combinations(predictions, 2):
        data = truth, predictions[one], predictions[other], patients, metric
        found = paired_difference(*data, resamples=resamples, seed=seed)
        p = permutation_p(*data, permutations=permutations or resamples, seed=seed)
        rows.append(Comparison(one, other, found.value, found.low, found.high, p, p))
    return corrected(rows)


def corrected(rows: list[Comparison]) -> list[Comparison]:
    """The same rows as one family: `p_holm` over all of them."""
    adjusted = holm(np.array([row.p for row in rows]))
    return [replace(row, p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True)]


BETTER_THAN_CONSTANT = 0.2
"""Share by which a clean error must beat the constant's for a relative degradation to mean something."""


def relative_degradation(clean: float, perturbed: float, constant: float) -> float:
    """Added error in % of the clean error; nan unless the clean error beats the constant's by 20 %.

    A constant degrades by nothing: ranked by this figure, what never looked at the image would win.
    """
    if not clean <= (1 - BETTER_THAN_CONSTANT) * constant or clean == 0:
        return float("nan")
    return 100 * (perturbed - clean) / clean
