"""Metric formulas, each a function of (truth, prediction); scikit-learn's where it has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    recall_score,
    root_mean_squared_error,
)

Values = NDArray[Any]
Metric = Callable[[Values, Values], float]


def mae(truth: Values, prediction: Values) -> float:
    """Mean absolute error, in the unit of the values."""
    return float(mean_absolute_error(truth, prediction))


def rmse(truth: Values, prediction: Values) -> float:
    """Root mean square error, in the unit of the values."""
    return float(root_mean_squared_error(truth, prediction))


def r2(truth: Values, prediction: Values) -> float:
    """Coefficient of determination; nan for fewer than two different truths."""
    return float(r2_score(truth, prediction)) if np.ptp(truth) > 0 else float("nan")


def bias(truth: Values, prediction: Values) -> float:
    """Mean of prediction minus truth, in the unit of the values."""
    return float(np.mean(prediction - truth))


def accuracy(truth: Values, prediction: Values) -> float:
    """Share of items whose class is right, %."""
    return 100 * float(accuracy_score(truth, prediction))


def balanced_accuracy(truth: Values, prediction: Values) -> float:
    """Mean over the classes present in the truth of the share found, %."""
    return 100 * float(recall_score(truth, prediction, labels=np.unique(truth), average="macro"))


def macro_f1(truth: Values, prediction: Values) -> float:
    """Mean over the classes present in the truth of F1, %."""
    return 100 * float(f1_score(truth, prediction, labels=np.unique(truth), average="macro"))


METRICS: dict[str, dict[str, Metric]] = {
    "regression": {"MAE": mae, "RMSE": rmse, "R2": r2, "bias": bias},
    "classification": {"accuracy": accuracy, "balanced accuracy": balanced_accuracy, "macro-F1": macro_f1},
}
"""Metrics of each kind of task; the first is the one that tables lead with."""
UNITLESS = {"R2"}
PERCENT = {"accuracy", "balanced accuracy", "macro-F1"}


def unit_of(metric: str, task_unit: str) -> str:
    """Unit that a metric is printed with."""
    if metric in UNITLESS:
        return ""
    return "%" if metric in PERCENT else task_unit
