"""Claims about metrics: each is scikit-learn's or scipy's, and over resamples the same as one at a time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import linregress, pearsonr
from sklearn import metrics as theirs

from echojepa.errors import UserError
from echojepa.evaluation.statistics import metrics as ours
from echojepa.evaluation.statistics.metrics import METRICS, Metric, unit_of

RNG = np.random.default_rng(0)
N = 120
TRUTH = RNG.normal(55, 12, N)
GUESS = 0.6 * TRUTH + RNG.normal(24, 6, N)
GRADE = RNG.integers(0, 4, N)
CLASSES = np.clip(GRADE + RNG.integers(-1, 2, N), 0, 3)
LOGITS = np.round(np.eye(4)[GRADE] * 1.5 + RNG.normal(0, 1, (N, 4)), 1)
CHANCES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
ILL = RNG.integers(0, 2, N)
RISK = np.round(np.clip(0.3 * ILL + RNG.uniform(0, 0.7, N), 0, 1), 1)  # rounded, so that scores tie
RISKS = np.stack([1 - RISK, RISK], axis=1)
EVERY = {metric.name: metric for group in METRICS.values() for metric in group.values()}


def inputs(metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    return {
        "values": (TRUTH, GUESS),
        "classes": (GRADE, CLASSES),
        "probabilities": (GRADE, CHANCES),
    }[metric.takes]


def two_way_anova_icc(truth: np.ndarray, guess: np.ndarray) -> float:
    """ICC(2,1) from sums over a table of subjects and raters, the long way."""
    table = np.stack([truth, guess], axis=1)
    n, k = table.shape
    grand = table.mean()
    rows = sum(k * (row.mean() - grand) ** 2 for row in table) / (n - 1)
    columns = sum(n * (column.mean() - grand) ** 2 for column in table.T) / (k - 1)
    rest = sum(
        (table[i, j] - table[i].mean() - table[:, j].mean() + grand) ** 2 for i in range(n) for j in range(k)
    ) / ((n - 1) * (k - 1))
    return (rows - rest) / (rows + (k - 1) * rest + k * (columns - rest) / n)


def test_regression_metrics_equal_scikit_learn_and_scipy() -> None:
    error = GUESS - TRUTH
    line = linregress(GUESS, TRUTH)
    expected = {
        "MAE": theirs.mean_absolute_error(TRUTH, GUESS),
        "RMSE": theirs.root_mean_squared_error(TRUTH, GUESS),
        "R2": theirs.r2_score(TRUTH, GUESS),
        "Pearson r": pearsonr(TRUTH, GUESS).statistic,
        "ICC(2,1)": two_way_anova_icc(TRUTH, GUESS),
        "bias": error.mean(),
        "limit of agreement, low": error.mean() - 1.96 * error.std(ddof=1),
        "limit of agreement, high": error.mean() + 1.96 * error.std(ddof=1),
        "within 5": 100 * np.mean(np.abs(error) <= 5),
        "within 10": 100 * np.mean(np.abs(error) <= 10),
        "calibration slope": line.slope,
        "calibration intercept": line.intercept,
    }
    assert list(METRICS["regression"]) == list(expected)
    for name, value in expected.items():
        assert METRICS["regression"][name](TRUTH, GUESS) == pytest.approx(value, rel=1e-10), name


def test_class_metrics_equal_scikit_learn() -> None:
    labels = np.arange(4)
    expected = {
        ours.ACCURACY: 100 * theirs.accuracy_score(GRADE, CLASSES),
        ours.BALANCED: 100 * theirs.balanced_accuracy_score(GRADE, CLASSES),
        ours.F1: 100 * theirs.f1_score(GRADE, CLASSES, average="macro"),
        ours.KAPPA: theirs.cohen_kappa_score(GRADE, CLASSES),
        ours.LINEAR_KAPPA: theirs.cohen_kappa_score(GRADE, CLASSES, weights="linear", labels=labels),
        ours.QUADRATIC_KAPPA: theirs.cohen_kappa_score(GRADE, CLASSES, weights="quadratic", labels=labels),
        ours.ORDINAL_MAE: theirs.mean_absolute_error(GRADE, CLASSES),
    }
    for metric, value in expected.items():
        assert metric(GRADE, CLASSES) == pytest.approx(value, rel=1e-10), metric.name


def test_areas_equal_scikit_learn_also_where_scores_tie() -> None:
    assert ours.AUROC(ILL, RISKS) == pytest.approx(theirs.roc_auc_score(ILL, RISK), rel=1e-10)
    assert ours.AUPRC(ILL, RISKS) == pytest.approx(theirs.average_precision_score(ILL, RISK), rel=1e-10)
    wide = theirs.roc_auc_score(GRADE, CHANCES, multi_class="ovr", average="macro")
    assert ours.AUROC(GRADE, CHANCES) == pytest.approx(wide, rel=1e-10)
    assert ours.AUPRC(GRADE, CHANCES) == pytest.approx(
        theirs.average_precision_score(np.eye(4)[GRADE], CHANCES, average="macro"), rel=1e-10
    )


@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
def test_a_metric_over_counts_is_the_metric_of_the_items_repeated_that_often(metric: Metric) -> None:
    counts = RNG.integers(0, 4, (5, N)).astype(float)
    truth, guess = inputs(metric)
    for row, value in zip(counts, metric.over(truth, guess, counts), strict=True):
        chosen = np.repeat(np.arange(N), row.astype(int))
        assert value == pytest.approx(metric(truth[chosen], guess[chosen]), rel=1e-9)


@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
def test_a_perfect_prediction_has_the_best_value_and_order_does_not_matter(metric: Metric) -> None:
    truth, guess = inputs(metric)
    perfect = np.eye(4)[GRADE] if metric.takes == "probabilities" else truth
    best = {"lower": 0, "near 0": 0, "near 1": 1, "higher": 100 if metric.unit == "%" else 1}
    assert metric(truth, perfect) == pytest.approx(best[metric.better], abs=1e-9)
    order = RNG.permutation(N)
    assert metric(truth[order], guess[order]) == pytest.approx(metric(truth, guess), rel=1e-9)


def test_agreement_metrics_see_an_offset_and_correlation_does_not() -> None:
    assert ours.PEARSON(TRUTH, TRUTH + 10) == pytest.approx(1) == ours.SLOPE(TRUTH, TRUTH + 10)
    assert ours.ICC(TRUTH, TRUTH + 10) < 0.8 and ours.BIAS(TRUTH, TRUTH + 10) == pytest.approx(10)
    assert ours.INTERCEPT(TRUTH, TRUTH + 10) == pytest.approx(-10)


def test_probabilities_stand_for_their_likeliest_class() -> None:
    for metric in METRICS["ordinal"].values():
        assert metric(GRADE, CHANCES) == metric(GRADE, CHANCES.argmax(1))


def test_a_class_that_a_resample_lacks_does_not_count_against_it() -> None:
    assert ours.BALANCED(np.array([0, 0]), np.array([0, 1])) == 50.0
    some = GRADE != 2
    without = [k for k in range(4) if k != 2]
    each = [theirs.roc_auc_score(GRADE[some] == k, CHANCES[some, k]) for k in without]
    assert ours.AUROC(GRADE[some], CHANCES[some]) == pytest.approx(np.mean(each))


def test_what_is_not_defined_is_nan_without_a_warning() -> None:
    flat = np.full(5, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in (ours.R2, ours.PEARSON):
            assert np.isnan(metric(flat, np.arange(5.0)))
        for metric in (ours.PEARSON, ours.SLOPE, ours.INTERCEPT):
            assert np.isnan(metric(np.arange(5.0), flat))
        for metric in (ours.AUROC, ours.AUPRC):
            assert np.isnan(metric(np.ones(5), RISKS[:5]))
        assert np.isnan(ours.KAPPA(np.zeros(5), np.zeros(5)))


@pytest.mark.parametrize(
    ("metric", "truth", "guess", "said"),
    [
        (ours.MAE, TRUTH, GUESS[:-1], "as many predictions"),
        (ours.MAE, TRUTH, np.where(TRUTH > 60, np.nan, GUESS), "non-finite"),
        (ours.MAE, TRUTH, RISKS, "a value"),
        (ours.AUROC, ILL, ILL, "probability of each class"),
        (ours.ACCURACY, GRADE - 1, CLASSES, "class numbers"),
        (ours.ACCURACY, GRADE, RISKS, "only 2 columns"),
    ],
)
def test_arrays_that_cannot_be_scored_are_refused(metric: Metric, truth, guess, said: str) -> None:
    with pytest.raises(UserError, match=said):
        metric(truth, guess)


def test_every_kind_of_task_leads_with_its_first_metric_and_units_are_known() -> None:
    leading = {kind: next(iter(group)) for kind, group in METRICS.items()}
    assert leading == {
        "regression": "MAE", "binary": "AUROC", "classification": "accuracy", "ordinal": "quadratic kappa",
    }  # fmt: skip
    assert unit_of("MAE", "mmHg") == "mmHg" and unit_of("R2", "mmHg") == "" and unit_of("accuracy", "") == "%"
    assert not ours.AUROC.can_score(CLASSES) and ours.AUROC.can_score(CHANCES)
