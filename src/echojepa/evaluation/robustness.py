"""What damage does to a backbone: its error at each severity, and what the damage alone added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echojepa.errors import UserError
from echojepa.evaluation.comparison import paired_difference
from echojepa.evaluation.formulas import Values
from echojepa.evaluation.intervals import Estimate, estimates
from echojepa.evaluation.metrics import Metric

BETTER_THAN_CONSTANT = 0.2
"""Share by which a clean error must beat the constant's for a relative degradation to mean something."""


@dataclass(frozen=True)
class DamagePoint:
    """One severity of a damage curve."""

    severity: int
    error: Estimate
    added: float
    """Error minus the clean error on the same items, with its paired 95 % interval; 0 at severity 0."""
    added_low: float
    added_high: float
    relative: float
    """Added error, % of the clean error; nan for a backbone that `relative_degradation` does not rank."""


def relative_degradation(clean: float, damaged: float, constant: float) -> float:
    """Added error in % of the clean error; nan unless the clean error beats the constant's by 20 %.

    A constant degrades by nothing: ranked by this figure, what never looked at the picture would win.
    """
    if not clean <= (1 - BETTER_THAN_CONSTANT) * constant or clean == 0:
        return float("nan")
    return 100 * (damaged - clean) / clean


def damage_curve(
    truth: Values,
    predictions: Mapping[int, Values],
    patients: Values,
    metric: Metric,
    *,
    constant: float,
    resamples: int,
    seed: int,
) -> list[DamagePoint]:
    """Error by severity of one backbone under one perturbation; `predictions[0]` are those of clean clips.

    `constant` is the metric of the constant row on the same items. Raises UserError without clean
    predictions, or for a metric of which more is better: degradation is of errors.
    """
    if 0 not in predictions:
        raise UserError(f"a damage curve begins at severity 0, clean clips; got {sorted(predictions)}")
    if metric.better != "lower":
        raise UserError(
            f"a damage curve is of an error, such as MAE; of {metric.name} {metric.better} is better"
        )
    clean, points = predictions[0], []
    for severity, damaged in sorted(predictions.items()):
        one = {metric.name: metric}
        error = estimates(truth, damaged, patients, one, resamples=resamples, seed=seed)[metric.name]
        added = paired_difference(truth, damaged, clean, patients, metric, resamples=resamples, seed=seed)
        relative = relative_degradation(metric(truth, clean), error.value, constant)
        points.append(DamagePoint(severity, error, *added, relative))
    return points
