"""Claims about damage curves."""

from __future__ import annotations

import numpy as np
import pytest

from echojepa.errors import UserError
from echojepa.evaluation.metrics import ACCURACY, MAE
from echojepa.evaluation.robustness import damage_curve, relative_degradation

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(55, 10, 90)
PATIENTS = np.arange(90).astype(str)
CLEAN = TRUTH + RNG.normal(0, 4, 90)
CONSTANT = float(np.abs(TRUTH - np.median(TRUTH)).mean())
CURVE = {0: CLEAN, 1: CLEAN + RNG.normal(0, 2, 90), 3: CLEAN + RNG.normal(8, 2, 90)}


def test_a_curve_begins_clean_and_says_what_damage_added() -> None:
    points = damage_curve(TRUTH, CURVE, PATIENTS, MAE, constant=CONSTANT, resamples=500, seed=0)
    assert [point.severity for point in points] == [0, 1, 3]
    clean, _, worst = points
    assert (clean.added, clean.added_low, clean.added_high, clean.relative) == (0, 0, 0, 0)
    assert worst.error.value == MAE(TRUTH, CURVE[3]) and worst.error.patients == 90
    assert worst.added == pytest.approx(MAE(TRUTH, CURVE[3]) - MAE(TRUTH, CLEAN))
    assert 0 < worst.added_low <= worst.added <= worst.added_high
    assert worst.relative == pytest.approx(100 * worst.added / clean.error.value)


def test_what_hardly_beats_the_constant_is_not_ranked_by_relative_degradation() -> None:
    assert np.isnan(relative_degradation(8.52, 8.57, 8.7))  # the paper's EchoMAE: +0.5 %
    assert relative_degradation(4.0, 4.4, 8.7) == pytest.approx(10)
    flat = np.full(90, float(np.median(TRUTH)))
    points = damage_curve(TRUTH, {0: flat, 1: flat}, PATIENTS, MAE, constant=CONSTANT, resamples=50, seed=0)
    assert all(np.isnan(point.relative) for point in points) and points[1].added == 0


def test_a_curve_without_clean_clips_or_of_no_error_is_refused() -> None:
    with pytest.raises(UserError, match="severity 0"):
        damage_curve(TRUTH, {1: CLEAN}, PATIENTS, MAE, constant=9, resamples=9, seed=0)
    with pytest.raises(UserError, match="of an error"):
        damage_curve(TRUTH, CURVE, PATIENTS, ACCURACY, constant=9, resamples=9, seed=0)
