"""Uncertainty by resampling patients, not loops: loops of one patient are not independent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echojepa.evaluation.metrics import Metric, Values


def patient_resamples(patients: Values, resamples: int, seed: int) -> list[NDArray[np.int64]]:
    """Item indices of each bootstrap resample: patients drawn with replacement, each with all its items."""
    names, owner = np.unique(patients, return_inverse=True)
    items = [np.flatnonzero(owner == number) for number in range(len(names))]
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(names), size=(resamples, len(names)))
    return [np.concatenate([items[number] for number in draw]) for draw in draws]


def bootstrap_interval(
    truth: Values, prediction: Values, patients: Values, metric: Metric, *, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % percentile interval of a metric over patient resamples; resamples without a value are left out."""
    values = [
        metric(truth[chosen], prediction[chosen]) for chosen in patient_resamples(patients, resamples, seed)
    ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def paired_difference(
    truth: Values, one: Values, other: Values, patients: Values, metric: Metric, *, resamples: int, seed: int
) -> tuple[float, float, float]:
    """metric(one) - metric(other) on the same items, with its 95 % percentile interval (value, low, high)."""
    differences = [
        metric(truth[chosen], one[chosen]) - metric(truth[chosen], other[chosen])
        for chosen in patient_resamples(patients, resamples, seed)
    ]
    low, high = np.nanpercentile(differences, [2.5, 97.5])
    return metric(truth, one) - metric(truth, other), float(low), float(high)
