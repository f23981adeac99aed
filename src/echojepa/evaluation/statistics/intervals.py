"""Uncertainty by resampling patients, not loops: loops of one patient are not independent.

Intervals are 95 % percentile intervals, widened where patients are few. A resample in which a metric is not
defined (AUROC without a positive patient) is left out; where that is more than one resample in twenty, the
interval is nan, because what is left no longer stands for the patients one could have met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import t as student

from echojepa.evaluation.statistics.formulas import Counts, Values, mean
from echojepa.evaluation.statistics.metrics import Metric

UNDEFINED_ALLOWED = 0.05
"""Share of resamples that may be without a value before the interval is nan."""
CHUNK = 2_000_000
"""Counts held at once (16 MB), however many resamples of however many items."""


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, and who stands behind it."""

    value: float
    low: float
    high: float
    patients: int
    items: int


def in_brackets(low: float, high: float, digits: int, *, signed: bool = False) -> str:
    """An interval as text behind its number, " [low, high]"; nothing where there is none (nan)."""
    form = f"{'+' if signed else ''}.{digits}f"
    return "" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]"


def patient_counts(patients: Values, resamples: int, seed: int) -> Iterator[Counts]:
    """How often each item is in each resample, (some, n) at a time: patients drawn with replacement.

    A patient comes with all items or with none; `resamples` rows in all.
    """
    names, owner = np.unique(patients, return_inverse=True)
    draws = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)), dtype=np.int32)
    for part in np.array_split(draws, max(1, -(-resamples * len(owner) // CHUNK))):
        cells = part + len(names) * np.arange(len(part))[:, None]
        times = np.bincount(cells.ravel(), minlength=len(part) * len(names)).reshape(len(part), len(names))
        yield times[:, owner].astype(np.float64)


def percentile_interval(values: Values, patients: int) -> tuple[float, float]:
    """95 % interval from values (R,) of resamples of so many patients; nan where too many have no value.

    The percentiles are those at which a normal value has Student's interval of a mean, 0.0159 and 0.9841 for
    20 patients: the plain ones are too near for few (Hesterberg, Am Stat 69:371 (2015), expanded).
    A single patient has no interval.
    """
    if patients < 2 or np.isnan(values).mean() > UNDEFINED_ALLOWED:
        return math.nan, math.nan
    tail = ndtr(-stdtrit(patients - 1, 0.975) * np.sqrt(patients / (patients - 1)))
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def bootstrapped(
    value: float,
    measure: Callable[[Counts], Values],
    patients: Values,
    *,
    resamples: int,
    seed: int,
) -> Estimate:
    """A value of all items with the interval of what `measure` gives of resamples (R, n), (R,)."""
    known = len(np.unique(patients))
    spread = [measure(counts) for counts in patient_counts(patients, resamples, seed)]
    return Estimate(value, *percentile_interval(np.concatenate(spread), known), known, len(patients))


def estimates(
    truth: Values,
    prediction: Values,
    patients: Values,
    metrics: Mapping[str, Metric],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Each metric of the items with its interval; all metrics share the same resamples.

    Items lie along the first axis of every array. A single patient has no interval (nan).
    """
    known = len(np.unique(patients))
    spread: dict[str, list[Values]] = {name: [] for name in metrics}
    for counts in patient_counts(patients, resamples, seed):
        for name, metric in metrics.items():
            spread[name].append(metric.over(truth, prediction, counts))
    found = {}
    for name, metric in metrics.items():
        ends = percentile_interval(np.concatenate(spread[name]), known)
        found[name] = Estimate(metric(truth, prediction), *ends, known, len(truth))
    return found


def over_seeds(
    truth: Values, predictions: Values, patients: Values, metric: Metric, *, resamples: int, seed: int
) -> Estimate:
    """The mean of a metric over training seeds, uncertain by the test patients and by the seeds.

    `predictions` (S, n, ...) of S >= 2 seeds on the same items. The mean's variance is taken as that of its
    bootstrap over patients (the same patients for all seeds) plus the variance between seeds over S; the
    interval is Student's, with degrees of freedom after Satterthwaite, Biometrics Bull 2:110 (1946). What
    seeds and patients share is counted in both, which errs on the wide side. nan where more than one resample
    in twenty has no value.
    """
    each = np.array([metric(truth, prediction) for prediction in predictions])
    draws = patient_counts(patients, resamples, seed)
    over = [[metric.over(truth, prediction, counts) for prediction in predictions] for counts in draws]
    resampled = np.concatenate([np.mean(several, axis=0) for several in over])
    known = len(np.unique(patients))
    value, by_patient, by_seed = each.mean(), np.nanvar(resampled), each.var(ddof=1) / len(each)
    total = by_patient + by_seed
    freedom = total**2 / (by_patient**2 / max(1, known - 1) + by_seed**2 / (len(each) - 1)) if total else 1.0
    defined = known >= 2 and np.isnan(resampled).mean() <= UNDEFINED_ALLOWED
    half = float(student.ppf(0.975, freedom) * np.sqrt(total)) if defined else math.nan
    return Estimate(float(value), float(value) - half, float(value) + half, known, len(truth))


def mean_over_patients(values: Values, patients: Values, *, resamples: int, seed: int) -> Estimate:
    """The mean of values (n,) of items with its 95 % interval; a single patient has none (nan)."""
    whole = float(values.mean())
    return bootstrapped(whole, partial(mean, values), patients, resamples=resamples, seed=seed)


def share_of_patients(values: Values, patients: Values) -> Estimate:
    """The mean over patients of their share of items (n,) that are true, 0 to 1, with Wilson's 95 % interval.

    A patient counts as one trial: shares of patients vary no more than coins do, so that the interval is not
    too narrow. It does not collapse where all items are true, or none.
    """
    names, owner = np.unique(patients, return_inverse=True)
    shares = np.bincount(owner, np.asarray(values, dtype=np.float64)) / np.bincount(owner)
    n, z = len(names), float(ndtri(0.975))
    value = float(shares.mean())
    middle = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2)))
    return Estimate(value, middle - half, middle + half, n, len(values))


def ratio_of_means(over: Values, under: Values, *, resamples: int, seed: int) -> Estimate:
    """mean(over) / mean(under) with its 95 % percentile interval, patients of both drawn with replacement."""
    rng = np.random.default_rng(seed)
    above, below = (
        values[rng.integers(len(values), size=(resamples, len(values)))].mean(1) for values in (over, under)
    )
    low, high = np.percentile(above / below, [2.5, 97.5])
    return Estimate(float(over.mean() / under.mean()), float(low), float(high), len(over), len(over))
