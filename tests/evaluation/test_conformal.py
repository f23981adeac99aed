"""Claims about prediction intervals: the share that they hold, and by whom they may be calibrated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from echojepa.data.identity.splits import LeakageError
from echojepa.errors import UserError
from echojepa.evaluation.statistics.conformal import (
    Conformal,
    calibrate,
    calibrates,
    coverage,
    expected_coverage,
    half_width,
    one_a_patient,
)

NOBODY = np.array([], dtype=str)
Cohort = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def cohort(rng: np.random.Generator, patients: int, prefix: str) -> Cohort:
    """Truth, prediction, patient, view: 1 to 5 loops each; low values and one view are harder."""
    loops = rng.integers(1, 6, patients)
    owner = np.repeat(np.arange(patients), loops)
    prediction = np.clip(rng.normal(52, 12, patients), 15, 80)[owner] + rng.normal(0, 1, len(owner))
    view = np.where(rng.random(len(owner)) < 0.5, "A2C", "A4C")
    spread = np.where(prediction < 40, 9.0, 4.0) * np.where(view == "A2C", 1.6, 1.0)
    truth = prediction + spread * (
        0.8 * rng.standard_normal(patients)[owner] + 0.6 * rng.standard_normal(len(owner))
    )
    return truth, prediction, np.array([f"{prefix}{n}" for n in owner]), view


def fitted(data: Cohort, alpha: float = 0.1, edges: tuple[float, ...] = (40.0,), seed: int = 0) -> Conformal:
    return calibrate(*data, chose_head=NOBODY, alpha=alpha, edges=edges, seed=seed)


def test_the_half_width_is_the_finite_sample_quantile() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 20.0))  # 1 to 19
    assert half_width(scores, 0.1) == 18 and half_width(scores, 0.05) == 19 and half_width(scores, 0.5) == 10
    assert half_width(scores, 0.04) == math.inf
    assert half_width(scores[:8], 0.1) == math.inf and half_width(np.arange(9.0), 0.1) == 8


def test_coverage_is_what_was_asked_for_in_all_cells_and_in_each() -> None:
    """150 cohorts; in each, the share of 300 new patients. A plain quantile would cover less than asked."""
    shares: dict[str, list[float]] = {}
    for trial in range(150):
        rng = np.random.default_rng([7, trial])
        conformal = fitted(cohort(rng, 150, "c"), seed=trial)
        for row in coverage(conformal, *cohort(rng, 300, "t"), seed=trial):
            if np.isfinite(row.width):
                shares.setdefault(row.cell, []).append(row.covered)
    assert len(shares) == 5
    for cell, found in shares.items():
        error = np.std(found) / np.sqrt(len(found))
        upper = 0.9 + 1 / 12  # 1 / (n + 1) above, for the smallest cells
        assert 0.9 - 3 * error <= np.mean(found) <= upper, (cell, np.mean(found), error)


def test_one_interval_for_all_would_fail_the_patients_that_are_hard() -> None:
    """What bands are for: at the right share over all, a marginal interval holds too few low values."""
    rng = np.random.default_rng(1)
    train, test = cohort(rng, 3000, "c"), cohort(rng, 3000, "t")
    low = test[1] < 40
    hard: Cohort = (test[0][low], test[1][low], test[2][low], test[3][low])
    flat, banded = fitted(train, edges=()), fitted(train, edges=(40.0,))
    assert coverage(flat, *test, seed=0)[0].covered == pytest.approx(0.9, abs=0.025)
    assert coverage(flat, *hard, seed=0)[0].covered < 0.82
    assert coverage(banded, *hard, seed=0)[0].covered == pytest.approx(0.9, abs=0.035)


def test_scores_of_every_loop_would_give_patients_of_many_loops_more_weight() -> None:
    """Half the patients have 40 loops and are hard, half one: 90 % of loops is not 90 % of patients."""
    rng = np.random.default_rng(2)
    loops = np.tile([1, 40], 500)
    owner = np.repeat(np.arange(1000), loops)
    error = rng.normal(0, np.where(loops == 40, 8.0, 2.0))[owner]
    data = (error, np.zeros(len(owner)), owner.astype(str), np.full(len(owner), "A4C"))
    naive = half_width(np.abs(error), 0.1)
    ours = fitted(data, edges=()).half_widths["A4C, predicted all"]
    people = np.abs(rng.normal(0, np.tile([2.0, 8.0], 20_000)))
    assert np.mean(people <= ours) == pytest.approx(0.9, abs=0.02) and np.mean(people <= naive) > 0.935


def test_a_cell_with_too_few_patients_says_so_by_an_infinite_interval() -> None:
    truth, prediction, patients, view = cohort(np.random.default_rng(3), 60, "c")
    view[:] = "A4C"
    view[patients == "c0"] = "A2C"
    conformal = fitted((truth, prediction, patients, view))
    low, high = conformal.intervals(np.array([50.0, 50.0, 50.0]), np.array(["A4C", "A2C", "PLAX"]))
    assert np.isfinite([low[0], high[0]]).all() and low[0] < 50 < high[0]
    assert np.isinf([*low[1:], *high[1:]]).all()
    assert max(conformal.patients.values()) <= 60
    rows = coverage(conformal, truth, prediction, patients, view, seed=0)
    (rare,) = [row for row in rows if row.cell.startswith("A2C")]
    assert (rare.patients, rare.covered, rare.width) == (1, 1.0, math.inf)


@pytest.mark.parametrize("patients", [20, 42, 200])
def test_the_range_of_coverage_to_be_expected_is_that_of_many_calibrations(patients: int) -> None:
    rng = np.random.default_rng(0)
    covered = [half_width(rng.uniform(size=patients), 0.1) for _ in range(20000)]
    expected = np.quantile(covered, [0.025, 0.975])
    np.testing.assert_allclose(expected_coverage(patients, 0.1), expected, atol=0.005)
    assert expected_coverage(8, 0.1) == (1.0, 1.0), "infinite intervals"


def test_each_patient_gives_one_item_to_each_of_their_cells() -> None:
    patients = np.array(["a", "a", "a", "b", "b"])
    cells = np.array(["x", "x", "y", "x", "x"])
    drawn = {tuple(one_a_patient(patients, cells, seed)) for seed in range(60)}
    assert {tuple((patients[i], cells[i]) for i in sorted(chosen)) for chosen in drawn} == {
        (("a", "x"), ("a", "y"), ("b", "x"))
    }
    assert len(drawn) == 4  # either loop of a, either of b


def test_who_calibrates_is_a_coin_of_each_patient_that_others_do_not_move() -> None:
    patients = np.array([f"p{n // 3}" for n in range(3000)])
    chosen = calibrates(patients, 0)
    assert 0.45 < chosen.mean() < 0.55
    assert all(np.ptp(chosen[patients == name].astype(int)) == 0 for name in np.unique(patients)[:50])
    assert (calibrates(patients[:30], 0) == chosen[:30]).all() and (calibrates(patients, 1) != chosen).any()


def test_a_patient_who_chose_the_head_cannot_calibrate() -> None:
    data = cohort(np.random.default_rng(4), 50, "c")
    with pytest.raises(LeakageError, match="1 patients calibrate"):
        calibrate(*data, chose_head=np.array(["c7", "d1"]), alpha=0.1, edges=(40.0,), seed=0)
    with pytest.raises(UserError, match="between 0 and 1"):
        calibrate(*data, chose_head=NOBODY, alpha=90, edges=(), seed=0)
