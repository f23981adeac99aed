"""Claims about subgroup tables."""

from __future__ import annotations

import numpy as np
import pytest

from echojepa.errors import UserError
from echojepa.evaluation.statistics.intervals import estimates
from echojepa.evaluation.statistics.metrics import AUROC, MAE
from echojepa.evaluation.statistics.subgroups import AGE_EDGES, EF_EDGES, banded, subgroups

RNG = np.random.default_rng(0)
PATIENTS = np.repeat(np.arange(100), 2).astype(str)
SEX = np.repeat(np.where(np.arange(100) < 60, "F", "M"), 2)
TRUTH = np.repeat(RNG.normal(55, 10, 100), 2)
GUESS = TRUTH + RNG.normal(0, 1, 200) * np.where(SEX == "F", 3.0, 9.0)


def test_bands_take_their_lower_edge_and_say_what_is_unknown() -> None:
    bands = banded(np.array([29.9, 30, 39.9, 40, 50, 80, np.nan]), EF_EDGES)
    assert bands.tolist() == ["< 30", "30 to < 40", "30 to < 40", "40 to < 50", ">= 50", ">= 50", "unknown"]
    assert banded(np.array([17, 18]), AGE_EDGES).tolist() == ["< 18", "18 to < 40"]
    for edges in ((), (50.0, 40.0)):
        with pytest.raises(UserError, match="rising"):
            banded(TRUTH, edges)


def test_a_group_s_row_is_the_metric_of_its_items_alone() -> None:
    women, men = subgroups(TRUTH, GUESS, PATIENTS, SEX, MAE, resamples=2000, seed=0)
    mine = SEX == "F"
    assert (women.group, women.own.patients, women.own.items) == ("F", 60, 120)
    assert women.gap and men.gap
    assert women.own.value == MAE(TRUTH[mine], GUESS[mine])
    only = TRUTH[mine], GUESS[mine], PATIENTS[mine]
    alone = estimates(*only, {"MAE": MAE}, resamples=2000, seed=1)["MAE"]
    assert (women.own.low, women.own.high) == pytest.approx((alone.low, alone.high), rel=0.05)
    assert women.gap.value == pytest.approx(women.own.value - men.own.value) == -men.gap.value
    assert women.gap.low <= women.gap.value <= women.gap.high < 0 < men.gap.low


def test_a_patient_may_stand_in_two_groups() -> None:
    view = np.tile(["A2C", "A4C"], 100)
    rows = subgroups(TRUTH, GUESS, PATIENTS, view, MAE, resamples=200, seed=0)
    whole = [("A2C", 100, 100), ("A4C", 100, 100)]
    assert [(row.group, row.own.patients, row.own.items) for row in rows] == whole
    assert all(row.gap.low < 0 < row.gap.high for row in rows)


@pytest.mark.parametrize(("few", "names"), [(19, ["large"]), (20, ["large", "small"])])
def test_a_group_of_fewer_than_twenty_patients_has_no_number_nor_others_a_gap_to_it(few, names) -> None:
    site = np.repeat(np.where(np.arange(100) < few, "small", "large"), 2)
    found = subgroups(TRUTH, GUESS, PATIENTS, site, MAE, resamples=100, seed=0)
    assert [one.group for one in found] == names
    assert found[0].own.value > 0 and (found[0].gap is None) == (few < 20)


def test_the_gap_between_groups_alike_is_found_in_one_table_of_twenty() -> None:
    rng, found, trials = np.random.default_rng(2), 0, 200
    groups = np.repeat(np.where(np.arange(60) < 30, "a", "b"), 2)
    owner = np.repeat(np.arange(60), 2)
    for trial in range(trials):
        error = rng.normal(0, 4, 60)[owner] + rng.normal(0, 2, 120)
        row = subgroups(np.zeros(120), error, owner, groups, MAE, resamples=200, seed=trial)[0]
        found += not row.gap.low <= 0 <= row.gap.high
    assert 0.01 <= found / trials <= 0.10


def test_a_group_in_which_the_metric_is_not_defined_has_no_number_and_no_crash() -> None:
    ill = np.repeat((np.arange(100) < 60) & (np.arange(100) % 2 == 0), 2).astype(int)
    risk = np.stack([1 - GUESS / 100, GUESS / 100], axis=1)
    women, men = subgroups(ill, risk, PATIENTS, SEX, AUROC, resamples=100, seed=0)
    assert np.isfinite([women.own.value, women.own.low]).all()
    assert np.isnan([men.own.value, men.own.low, men.gap.value]).all()
