"""Formulas of metrics over resamples: (truth, prediction, counts) or confusion matrices -> a value each.

A resample is a row of counts: how often each item was drawn. A formula over counts (R, n) gives values (R,),
each the plain formula of the items repeated that often; one row of ones is the formula of all items. Written
so, a thousand resamples are a few matrix products, where a thousand calls of scikit-learn take minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Values = NDArray[Any]
Counts = NDArray[np.float64]


def ratio(above: Values, below: Values) -> Values:
    """above / below, nan where below is 0."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below != 0)


class Moments(NamedTuple):
    """Means, and variances and covariance with divisor n, of truth t and prediction p: (R,) each.

    A variance that is only rounding is 0, so that ratios of it come out as nan.
    """

    n: Values
    mean_t: Values
    mean_p: Values
    var_t: Values
    var_p: Values
    cov: Values


def mean(values: Values, counts: Counts) -> Values:
    """Mean (R,) of values (n,) over each resample; nan for one without items."""
    return ratio(counts @ values.astype(np.float64), counts.sum(1))


def moments(truth: Values, prediction: Values, counts: Counts) -> Moments:
    """First and second moments of each resample; values are centred first, against cancellation."""
    shift_t, shift_p = np.median(truth), np.median(prediction)
    t, p = truth - shift_t, prediction - shift_p
    mean_t, mean_p = mean(t, counts), mean(p, counts)

    def spread(a: Values, b: Values, mean_a: Values, mean_b: Values) -> Values:
        covariance = mean(a * b, counts) - mean_a * mean_b
        return np.where(np.abs(covariance) > 1e-12 * np.abs(a * b).max(), covariance, 0.0)

    var_t, var_p = spread(t, t, mean_t, mean_t), spread(p, p, mean_p, mean_p)
    cov = spread(t, p, mean_t, mean_p)
    return Moments(counts.sum(1), mean_t + shift_t, mean_p + shift_p, var_t, var_p, cov)


def r2(truth: Values, prediction: Values, counts: Counts) -> Values:
    """1 - squared error over the truth's variance within the resample."""
    return 1 - ratio(mean((truth - prediction) ** 2, counts), moments(truth, prediction, counts).var_t)


def pearson(truth: Values, prediction: Values, counts: Counts) -> Values:
    """Linear correlation."""
    m = moments(truth, prediction, counts)
    return ratio(m.cov, np.sqrt(m.var_t * m.var_p))


def icc(truth: Values, prediction: Values, counts: Counts) -> Values:
    """ICC(2,1): two-way random effects, absolute agreement, single measurement.

    Shrout and Fleiss, Psychol Bull 86:420 (1979), with truth and prediction as the two raters; their mean
    squares reduce to variances (divisor n - 1), the covariance and the difference d of the means:
    2 cov / (var_t + var_p + d^2 - (var_t + var_p - 2 cov) / n).
    """
    m = moments(truth, prediction, counts)
    sample = ratio(m.n, m.n - 1)
    both, cov = (m.var_t + m.var_p) * sample, m.cov * sample
    return ratio(2 * cov, both + (m.mean_p - m.mean_t) ** 2 - (both - 2 * cov) / m.n)


def limit_of_agreement(sign: int) -> Callable[[Values, Values, Counts], Values]:
    """Bias + sign x 1.96 standard deviations of the difference: Bland and Altman, Lancet 327:307 (1986)."""

    def limit(truth: Values, prediction: Values, counts: Counts) -> Values:
        error, n = prediction - truth, counts.sum(1)
        centre = mean(error, counts)
        square = np.maximum(mean((error - error.mean()) ** 2, counts) - (centre - error.mean()) ** 2, 0)
        return centre + sign * 1.96 * np.sqrt(square * ratio(n, n - 1))

    return limit


def within(points: float) -> Callable[[Values, Values, Counts], Values]:
    """Share of items that are at most `points` off, %; a hair is allowed for binary fractions."""
    return lambda t, p, counts: 100 * mean(np.abs(p - t) <= points * (1 + 1e-9), counts)


def calibration_slope(truth: Values, prediction: Values, counts: Counts) -> Values:
    """Slope of the least-squares line of truth on prediction."""
    m = moments(truth, prediction, counts)
    return ratio(m.cov, m.var_p)


def calibration_intercept(truth: Values, prediction: Values, counts: Counts) -> Values:
    """The same line's value at a prediction of 0."""
    m = moments(truth, prediction, counts)
    return m.mean_t - ratio(m.cov, m.var_p) * m.mean_p


def confusion(truth: Values, prediction: Values, counts: Counts) -> Values:
    """Confusion matrices (R, K, K) of resamples: rows are true classes, columns predicted ones."""
    guess = prediction.argmax(1) if prediction.ndim == 2 else prediction.astype(np.int64)
    true = truth.astype(np.int64)
    classes = prediction.shape[1] if prediction.ndim == 2 else int(max(true.max(), guess.max())) + 1
    items = np.arange(len(true))
    cell = csr_array((np.ones(len(true)), (true * classes + guess, items)), shape=(classes**2, len(true)))
    return (cell @ counts.T).T.reshape(-1, classes, classes)


def accuracy(matrix: Values) -> Values:
    """Share of items on the diagonal, %."""
    return 100 * ratio(np.trace(matrix, axis1=1, axis2=2), matrix.sum((1, 2)))


def mean_where(values: Values, present: Values) -> Values:
    """Mean (R,) over the classes that are present; nan where none is."""
    return ratio(np.where(present, values, 0).sum(1), present.sum(1).astype(np.float64))


def balanced_accuracy(matrix: Values) -> Values:
    """Mean over the classes present in the truth of the share found, %."""
    found, of = np.diagonal(matrix, axis1=1, axis2=2), matrix.sum(2)
    return 100 * mean_where(ratio(found, of), of > 0)


def macro_f1(matrix: Values) -> Values:
    """Mean over the classes present in the truth of F1, %."""
    found, true, guessed = np.diagonal(matrix, axis1=1, axis2=2), matrix.sum(2), matrix.sum(1)
    return 100 * mean_where(ratio(2 * found, true + guessed), true > 0)


def kappa(distance: Callable[[Values], Values]) -> Callable[[Values], Values]:
    """Agreement beyond chance with a cost of confusing classes i and j: Cohen, Psychol Bull 70:213 (1968)."""

    def agreement(matrix: Values) -> Values:
        grade = np.arange(matrix.shape[1])
        cost = distance(np.abs(grade[:, None] - grade).astype(np.float64))
        by_chance = matrix.sum(2)[:, :, None] * matrix.sum(1)[:, None, :]
        return 1 - ratio((cost * matrix).sum((1, 2)) * matrix.sum((1, 2)), (cost * by_chance).sum((1, 2)))

    return agreement


def ordinal_mae(matrix: Values) -> Values:
    """Mean distance of the predicted class from the true one, in classes."""
    grade = np.arange(matrix.shape[1])
    return ratio((np.abs(grade[:, None] - grade) * matrix).sum((1, 2)), matrix.sum((1, 2)))


def by_score(positive: Values, score: Values, drawn: Counts) -> tuple[Values, Values]:
    """Positives and negatives (S, R) in S steps of falling score, from counts `drawn` (n, R).

    A step holds one score that positives have, or all items between two such scores: no area depends on how
    those are ordered, and there are few steps where positives are few.
    """
    order = np.argsort(-score, kind="stable")
    hit, tie = positive[order], np.cumsum(np.diff(score[order], prepend=np.nan) != 0)
    step = np.flatnonzero(np.diff(np.where(np.isin(tie, tie[hit]), tie, 0), prepend=-1) != 0)
    rung = np.searchsorted(step, np.arange(len(order)), side="right") - 1
    cell = csr_array((np.ones(len(order)), (2 * rung + hit, order)), shape=(2 * len(step), len(order)))
    misses, hits = (cell @ drawn).reshape(len(step), 2, -1).swapaxes(0, 1)
    return hits, misses


def roc_area(positive: Values, score: Values, drawn: Counts) -> Values:
    """Chance that a positive item scores above a negative one, ties counting half (Mann-Whitney)."""
    hits, misses = by_score(positive, score, drawn)
    pairs = (misses * (hits.cumsum(0) - hits / 2)).sum(0)
    return ratio(pairs, hits.sum(0) * misses.sum(0))


def average_precision(positive: Values, score: Values, drawn: Counts) -> Values:
    """Precision at each threshold, weighted by the recall that it adds (no interpolation)."""
    hits, misses = by_score(positive, score, drawn)
    seen = hits.cumsum(0)
    precision = ratio(seen, seen + misses.cumsum(0))
    area = ratio(np.where(hits > 0, hits * precision, 0).sum(0), hits.sum(0))
    return np.where(misses.sum(0) > 0, area, np.nan)


def one_vs_rest(
    area: Callable[[Values, Values, Counts], Values],
) -> Callable[[Values, Values, Counts], Values]:
    """Two classes: the area of class 1. More: the mean over those a resample has, each against the rest."""

    def areas(truth: Values, prediction: Values, counts: Counts) -> Values:
        drawn = np.ascontiguousarray(counts.T)
        classes = [1] if prediction.shape[1] == 2 else np.unique(truth).astype(int).tolist()
        each = np.stack([area(truth == k, prediction[:, k], drawn) for k in classes], axis=1)
        return mean_where(each, np.isfinite(each))

    return areas
