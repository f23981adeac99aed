"""Claims about metrics and their uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score

from echojepa.evaluation.intervals import bootstrap_interval, paired_difference, patient_resamples
from echojepa.evaluation.metrics import METRICS, accuracy, balanced_accuracy, bias, macro_f1, mae, r2, rmse

RNG = np.random.default_rng(0)
TRUTH, GUESS = RNG.normal(55, 12, 80), RNG.normal(55, 12, 80)


def test_regression_metrics_equal_their_definitions() -> None:
    error = GUESS - TRUTH
    assert mae(TRUTH, GUESS) == pytest.approx(np.abs(error).mean())
    assert rmse(TRUTH, GUESS) == pytest.approx(np.sqrt((error**2).mean()))
    assert r2(TRUTH, GUESS) == pytest.approx(r2_score(TRUTH, GUESS))
    assert bias(TRUTH, GUESS) == pytest.approx(error.mean())
    assert np.isnan(r2(np.ones(3), np.arange(3.0)))


def test_classification_metrics_equal_scikit_learn() -> None:
    truth, guess = RNG.integers(0, 4, 100), RNG.integers(0, 4, 100)
    assert accuracy(truth, guess) == pytest.approx(100 * (truth == guess).mean())
    assert balanced_accuracy(truth, guess) == pytest.approx(100 * balanced_accuracy_score(truth, guess))
    assert macro_f1(truth, guess) == pytest.approx(100 * f1_score(truth, guess, average="macro"))
    assert next(iter(METRICS["regression"])) == "MAE"


def test_a_class_that_a_resample_lacks_does_not_count_against_it() -> None:
    assert balanced_accuracy(np.array([0, 0]), np.array([0, 1])) == 50.0


def test_with_one_loop_a_patient_the_interval_is_scipy_s() -> None:
    patients = np.arange(80).astype(str)
    low, high = bootstrap_interval(TRUTH, GUESS, patients, mae, resamples=4000, seed=0)
    theirs = bootstrap(
        (TRUTH, GUESS), mae, paired=True, vectorized=False, method="percentile", n_resamples=4000,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert low == pytest.approx(theirs.low, rel=0.03) and high == pytest.approx(theirs.high, rel=0.03)


def test_correlated_loops_of_a_patient_widen_the_interval() -> None:
    patients = np.repeat(np.arange(20), 4).astype(str)
    shared = np.repeat(RNG.normal(0, 10, 20), 4)
    ends = [
        bootstrap_interval(TRUTH, TRUTH + shared, owner, bias, resamples=1000, seed=0)
        for owner in (patients, np.arange(80).astype(str))
    ]
    assert ends[0][1] - ends[0][0] > 1.5 * (ends[1][1] - ends[1][0])


def test_nineteen_in_twenty_intervals_hold_the_truth() -> None:
    rng, inside = np.random.default_rng(1), 0
    for trial in range(200):
        patients = np.repeat(np.arange(40), 2).astype(str)
        error = np.repeat(rng.normal(3, 5, 40), 2) + rng.normal(0, 2, 80)
        low, high = bootstrap_interval(np.zeros(80), error, patients, bias, resamples=300, seed=trial)
        inside += low <= 3 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_a_patient_comes_with_all_loops_or_with_none() -> None:
    patients = np.array(["a", "b", "b", "c", "c", "c"])
    for chosen in patient_resamples(patients, 50, 0):
        names, counts = np.unique(patients[chosen], return_counts=True)
        for name, count in zip(names, counts, strict=True):
            assert count % (patients == name).sum() == 0


def test_a_paired_difference_sees_what_two_intervals_cannot() -> None:
    patients = np.arange(80).astype(str)
    better = TRUTH + 0.9 * (GUESS - TRUTH)
    value, low, high = paired_difference(TRUTH, better, GUESS, patients, mae, resamples=1000, seed=0)
    assert low <= value <= high < 0
    assert value == pytest.approx(mae(TRUTH, better) - mae(TRUTH, GUESS))
