"""Claims about comparisons: paired, by patient, honest about how many were made."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test

from echojepa.errors import UserError
from echojepa.evaluation.comparisons import comparisons
from echojepa.evaluation.probes.predictions import Predictions
from echojepa.evaluation.results import RowFacts
from echojepa.evaluation.scoring import Scored
from echojepa.evaluation.statistics.comparison import (
    compare,
    holm,
    paired_difference,
    permutation_p,
    relative_degradation,
)
from echojepa.evaluation.statistics.metrics import AUROC, MAE
from echojepa.tasks import LVEF

RNG = np.random.default_rng(0)
TRUTH, GUESS = RNG.normal(55, 12, 80), RNG.normal(55, 12, 80)
EIGHTY = np.arange(80).astype(str)


def test_a_paired_difference_sees_what_two_intervals_cannot() -> None:
    better = TRUTH + 0.9 * (GUESS - TRUTH)
    found = paired_difference(TRUTH, better, GUESS, EIGHTY, MAE, resamples=1000, seed=0)
    assert found.low <= found.value <= found.high < 0
    assert found.value == pytest.approx(MAE(TRUTH, better) - MAE(TRUTH, GUESS))


def test_the_permutation_p_value_is_scipy_s() -> None:
    one, other = np.abs(np.random.default_rng(4).normal(0, 5, (2, 40)))
    theirs = permutation_test(
        (one, other), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples", vectorized=True,
        n_resamples=20_000, rng=np.random.default_rng(1),
    ).pvalue  # fmt: skip
    ours = permutation_p(np.zeros(40), one, other, EIGHTY[:40], MAE, permutations=20_000, seed=0)
    assert 0.02 < theirs < 0.98 and ours == pytest.approx(theirs, abs=0.015)


def test_under_no_difference_one_p_value_in_twenty_is_below_a_twentieth() -> None:
    """Loops of a patient share their errors: swapped loop by loop, far more would be."""
    rng, small, naive, trials = np.random.default_rng(2), 0, 0, 300
    patients = np.repeat(np.arange(30), 4).astype(str)
    for trial in range(trials):
        errors = np.repeat(rng.normal(0, 5, (2, 30)), 4, axis=1) + rng.normal(0, 1, (2, 120))
        args = (np.zeros(120), *errors)
        small += permutation_p(*args, patients, MAE, permutations=199, seed=trial) <= 0.05
        naive += permutation_p(*args, np.arange(120).astype(str), MAE, permutations=199, seed=trial) <= 0.05
    assert 0.02 <= small / trials <= 0.085
    assert naive / trials > 0.2


def test_holm_is_the_worked_example_and_never_below_the_p_value() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    p = RNG.uniform(0, 1, 30)
    assert (holm(p) >= p).all() and holm(p).min() == min(1, 30 * p.min())
    mixed = holm(np.array([0.01, np.nan, 0.04]))
    assert np.isnan(mixed[1]) and mixed[[0, 2]] == pytest.approx([0.02, 0.04])


def test_holm_keeps_false_claims_of_a_whole_family_at_one_in_twenty() -> None:
    p = np.random.default_rng(3).uniform(0, 1, (2000, 10))
    assert np.mean([holm(row).min() <= 0.05 for row in p]) == pytest.approx(0.05, abs=0.015)
    assert np.mean(p.min(1) <= 0.05) > 0.35


def test_backbones_are_compared_in_pairs_and_corrected_together() -> None:
    predictions = {
        "good": TRUTH + RNG.normal(0, 3, 80), "like it": TRUTH + RNG.normal(0, 3, 80), "poor": GUESS,
    }  # fmt: skip
    rows = compare(TRUTH, predictions, EIGHTY, MAE, resamples=499, seed=0)
    assert [(row.one, row.other) for row in rows] == [
        ("good", "like it"), ("good", "poor"), ("like it", "poor"),
    ]  # fmt: skip
    assert rows[0].p_holm > 0.05 > rows[1].p_holm >= rows[1].p > 0
    assert rows[1].difference < 0 and rows[1].low <= rows[1].difference <= rows[1].high


def test_a_metric_that_is_not_defined_has_no_p_value() -> None:
    risk = np.full((80, 2), 0.5)
    assert np.isnan(permutation_p(np.ones(80), risk, risk, EIGHTY, AUROC, permutations=9, seed=0))


def test_a_difference_beyond_doubt_is_found_in_a_large_family_too() -> None:
    """A thousand permutations have no p below 1/1001: times 56 pairs that is above 0.05."""
    rng = np.random.default_rng(0)
    truth = rng.normal(50, 10, 40)
    names = np.array([f"p{n:02}" for n in range(40)])
    plain = []
    errors = {"good": 0.1, "bad": 9.0}
    for site, (backbone, error) in product([f"site {n}" for n in range(56)], errors.items()):
        made = Predictions(
            items=names, patients=names, splits=np.full(40, "test"), sites=np.full(40, site), truth=truth,
            classes=(), values=truth + error * rng.normal(size=40),
        )  # fmt: skip
        facts = RowFacts(
            backbone=backbone, weights="w", parameters=1, tokens=1, embed_dim=1, task="lvef", probe="ridge",
            trained_on=site, site=site, label_fraction=1.0, perturbation="", severity=0, views="", seed=0,
            loops=40, converged=True, note="",
        )  # fmt: skip
        plain.append(Scored(LVEF, facts, made))
    rows = comparisons(plain, 1000, 0).to_pylist()
    assert len(rows) == 56 and all(row["p_holm"] < 0.05 for row in rows)
    again = [replace(one, facts=replace(one.facts, seed=1)) for one in plain]
    assert len(comparisons(plain + again, 1000, 0)) == 56, "seeds make no family larger"
    mixed = [plain[0], replace(plain[1], test=replace(plain[1].test, truth=truth[::-1]))]
    with pytest.raises(UserError, match="labels or patients of the same items differ"):
        comparisons(mixed, 10, 0)


def test_what_hardly_beats_the_constant_is_not_ranked_by_relative_degradation() -> None:
    assert np.isnan(relative_degradation(8.52, 8.57, 8.7))  # the paper's EchoMAE: +0.5 %
    assert relative_degradation(4.0, 4.4, 8.7) == pytest.approx(10)
