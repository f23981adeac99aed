"""Metrics by name: what each takes, its unit, which way is better; docs/reference/metrics.md explains them.

The formulas stand in `formulas`; tests hold each against scikit-learn's or scipy's, where they have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from echojepa.errors import UserError
from echojepa.evaluation.statistics import formulas
from echojepa.evaluation.statistics.formulas import Counts, Values, confusion, mean
from echojepa.tasks import TaskKind

Unit = Literal["task", "%", "classes", ""]
Better = Literal["lower", "higher", "near 0", "near 1"]
Takes = Literal["values", "classes", "probabilities"]


@dataclass(frozen=True)
class Metric:
    """One number that says how well predictions agree with the truth."""

    name: str
    takes: Takes
    """`values` (n,); `classes`: class numbers (n,), or probabilities (n, K), whose likeliest class counts;
    `probabilities` (n, K) only."""
    unit: Unit
    """`task`: the unit of what is predicted."""
    better: Better
    formula: Callable[..., Values]
    """(truth, prediction, counts) -> (R,); of confusion matrices (R, K, K) where it takes classes."""

    def __call__(self, truth: Values, prediction: Values) -> float:
        """The metric of all items; nan where it is not defined. Raises UserError as `over` does."""
        return float(self.over(truth, prediction, np.ones((1, len(truth))))[0])

    def over(self, truth: Values, prediction: Values, counts: Counts) -> Values:
        """The metric (R,) of each resample `counts` (R, n); nan where it is not defined.

        Raises UserError for values that are not finite, for classes that are no class numbers, and for
        class numbers where probabilities are needed.
        """
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        check(self, truth, prediction)
        if self.takes == "classes":
            return self.formula(confusion(truth, prediction, counts))
        return self.formula(truth, prediction, counts)

    def can_score(self, prediction: Values) -> bool:
        """Whether predictions of this shape are enough: class numbers have no AUROC."""
        return self.takes != "probabilities" or np.ndim(prediction) == 2


def check(metric: Metric, truth: Values, prediction: Values) -> None:
    """Raise UserError where a metric cannot be made from these arrays."""
    if len(truth) == 0 or len(truth) != len(prediction):
        raise UserError(
            f"{metric.name} needs as many predictions as truths and at least one; "
            f"got {len(prediction)} and {len(truth)}"
        )
    for what, array in (("truth", truth), ("prediction", prediction)):
        if not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise UserError(
                f"{metric.name}: {bad} numbers of the {what} are non-finite; leave such items out"
            )
    dimensions = {"values": (1,), "classes": (1, 2), "probabilities": (2,)}[metric.takes]
    if prediction.ndim not in dimensions:
        needed = "a value" if metric.takes == "values" else "a probability of each class"
        raise UserError(f"{metric.name} needs {needed} for each item; got an array {prediction.shape}")
    if metric.takes != "values":
        numbers = truth if prediction.ndim == 2 else np.concatenate([truth, prediction])
        if (numbers < 0).any() or (numbers != np.floor(numbers)).any():
            raise UserError(f"{metric.name} needs class numbers 0, 1, 2 ...; got e.g. {numbers.min():g}")
        if prediction.ndim == 2 and truth.max() >= prediction.shape[1]:
            raise UserError(
                f"{metric.name}: the truth has class {truth.max():g}, the predictions have only "
                f"{prediction.shape[1]} columns"
            )


MAE = Metric("MAE", "values", "task", "lower", lambda t, p, counts: mean(np.abs(p - t), counts))
RMSE = Metric("RMSE", "values", "task", "lower", lambda t, p, counts: np.sqrt(mean((p - t) ** 2, counts)))
R2 = Metric("R2", "values", "", "higher", formulas.r2)
PEARSON = Metric("Pearson r", "values", "", "higher", formulas.pearson)
ICC = Metric("ICC(2,1)", "values", "", "higher", formulas.icc)
BIAS = Metric("bias", "values", "task", "near 0", lambda t, p, counts: mean(p - t, counts))
LIMIT_LOW = Metric("limit of agreement, low", "values", "task", "near 0", formulas.limit_of_agreement(-1))
LIMIT_HIGH = Metric("limit of agreement, high", "values", "task", "near 0", formulas.limit_of_agreement(+1))
WITHIN_5 = Metric("within 5", "values", "%", "higher", formulas.within(5))
WITHIN_10 = Metric("within 10", "values", "%", "higher", formulas.within(10))
SLOPE = Metric("calibration slope", "values", "", "near 1", formulas.calibration_slope)
INTERCEPT = Metric("calibration intercept", "values", "task", "near 0", formulas.calibration_intercept)
ACCURACY = Metric("accuracy", "classes", "%", "higher", formulas.accuracy)
BALANCED = Metric("balanced accuracy", "classes", "%", "higher", formulas.balanced_accuracy)
F1 = Metric("macro-F1", "classes", "%", "higher", formulas.macro_f1)
AUROC = Metric("AUROC", "probabilities", "", "higher", formulas.one_vs_rest(formulas.roc_area))
AUPRC = Metric("AUPRC", "probabilities", "", "higher", formulas.one_vs_rest(formulas.average_precision))
KAPPA = Metric("kappa", "classes", "", "higher", formulas.kappa(np.sign))
LINEAR_KAPPA = Metric("linear kappa", "classes", "", "higher", formulas.kappa(np.abs))
QUADRATIC_KAPPA = Metric("quadratic kappa", "classes", "", "higher", formulas.kappa(np.square))
ORDINAL_MAE = Metric("ordinal MAE", "classes", "classes", "lower", formulas.ordinal_mae)


def named(*metrics: Metric) -> dict[str, Metric]:
    """Metrics by name, in their order."""
    return {metric.name: metric for metric in metrics}


METRICS: dict[TaskKind, dict[str, Metric]] = {
    "regression": named(MAE, RMSE, R2, PEARSON, ICC, BIAS, LIMIT_LOW, LIMIT_HIGH, WITHIN_5, WITHIN_10,
                        SLOPE, INTERCEPT),
    "binary": named(AUROC, AUPRC, BALANCED, ACCURACY, F1, KAPPA),
    "classification": named(ACCURACY, BALANCED, F1, AUROC, AUPRC, KAPPA),
    "ordinal": named(QUADRATIC_KAPPA, LINEAR_KAPPA, ORDINAL_MAE, ACCURACY, BALANCED, F1),
}  # fmt: skip
"""Metrics of each kind of task; the first is the one that tables lead with."""


def leading_metric(kind: TaskKind) -> Metric:
    """The metric that tables lead with, and that validation patients choose by."""
    return next(iter(METRICS[kind].values()))


def led_by(metric: str) -> TaskKind:
    """The kind of task that a metric leads."""
    return next(kind for kind in METRICS if leading_metric(kind).name == metric)


def unit_of(metric: str, task_unit: str) -> str:
    """Unit that a metric is printed with."""
    unit = next(group[metric].unit for group in METRICS.values() if metric in group)
    return task_unit if unit == "task" else unit
