"""What moves a model, on features whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echojepa.evaluation.features.tokens import Features, Tokens
from echojepa.evaluation.mechanism import Moved, Series, displacements, mechanism_rows
from echojepa.evaluation.probes.fitting import OverTimeProbe
from echojepa.evaluation.probes.ridge import RidgeProbe
from echojepa.evaluation.results import RowFacts
from echojepa.evaluation.statistics.intervals import ratio_of_means
from echojepa.models.probe import Standardiser
from echojepa.tasks import LVEF

STEPS = np.array([35.0, 45.0, 55.0])
FACTS = RowFacts(
    backbone="b", weights="w", parameters=1, tokens=1, embed_dim=1, task="lvef", probe="ridge",
    trained_on="all", site="all", label_fraction=1.0, perturbation="", severity=0, views="", seed=0,
    loops=36, converged=True, note="",
)  # fmt: skip


def recorded(per_point: float, per_decibel: float) -> tuple[list[Series], Features, RidgeProbe]:
    """Twelve patients whose tokens move along one channel with LVEF and along another with gain."""
    rng = np.random.default_rng(0)
    tokens, series, number = [], [], 0
    for patient in range(12):
        own = rng.normal(size=(4, 6))
        for factor, values in (("ef", STEPS), ("gain", np.array([-4.0, 0.0, 4.0]))):
            moved = np.repeat(own[None], 3, axis=0)
            rate = per_point if factor == "ef" else per_decibel
            moved[:, :, 0 if factor == "ef" else 1] += rate * values[:, None]
            tokens.append(moved)
            clips = tuple((0, row, 0) for row in range(number, number + 3))
            series.append(Series(factor, f"p{patient}", values, clips))
            number += 3
    grid = torch.tensor(np.concatenate(tokens), dtype=torch.float32)
    clips = np.array([clip for one in series for clip in one.clips])
    features = Features(Tokens.of(grid), grid.mean(1), (1, 2, 2), clips)
    weights = torch.zeros(1, 4, 6, 1)
    weights[0, :, 0] = 0.25 / per_point
    weights[0, :, 1] = 0.05
    return series, features, RidgeProbe(Standardiser.identity(4, 6), weights, torch.zeros(1), False)


def test_displacements_are_those_that_were_put_in() -> None:
    ef, gain = displacements(*recorded(per_point=0.2, per_decibel=0.5))
    assert (ef.factor, ef.step, gain.factor, gain.step) == ("ef", 10.0, "gain", 4.0)
    np.testing.assert_allclose(ef.features, 2.0 / np.sqrt(6), rtol=1e-4)  # 0.2 x 10 in one of six channels
    np.testing.assert_allclose(gain.features, 2.0 / np.sqrt(6), rtol=1e-4)
    np.testing.assert_allclose(ef.predictions, 10.0, rtol=1e-3)
    np.testing.assert_allclose(gain.predictions, 4 * 0.05 * 2.0, rtol=1e-3)


def test_of_a_probe_over_time_the_moments_that_it_reads_are_displaced() -> None:
    """One instant: means move as the tokens did, and deviations, half of what is read, are all 0."""
    series, features, probe = recorded(per_point=0.2, per_decibel=0.5)
    weights = torch.cat([probe.weights, torch.zeros(1, 4, 6, 1)], dim=1)
    still = OverTimeProbe(RidgeProbe(Standardiser.identity(8, 6), weights, torch.zeros(1), False))
    ef, _ = displacements(series, features, still)
    np.testing.assert_allclose(ef.features, 2.0 / np.sqrt(12), rtol=1e-3)
    np.testing.assert_allclose(ef.predictions, 10.0, rtol=1e-2)


def test_a_step_is_measured_in_five_points_of_lvef() -> None:
    moved = displacements(*recorded(per_point=0.2, per_decibel=0.5))
    rows = {(r.group, r.metric): r for r in mechanism_rows(moved, LVEF, FACTS, 200, 0)}
    assert rows["a step of ef", "features moved, in 5 points of LVEF"].value == pytest.approx(2.0)
    assert rows["a step of gain", "features moved, in 5 points of LVEF"].value == pytest.approx(2.0, rel=1e-3)
    assert rows["a step of gain", "prediction moved, in 5 points of LVEF"].value == pytest.approx(
        0.08, rel=1e-2
    )
    assert rows["a step of gain", "prediction moved"].value == pytest.approx(0.4, rel=1e-3)


def test_a_model_that_sees_only_gain_is_found_out() -> None:
    blind = [
        Moved("ef", 10.0, np.full(8, 0.01), np.full(8, 0.1)),
        Moved("gain", 4.0, np.ones(8), np.full(8, 9.0)),
    ]
    rows = {(r.group, r.metric): r.value for r in mechanism_rows(blind, LVEF, FACTS, 50, 0)}
    assert rows["a step of gain", "prediction moved, in 5 points of LVEF"] == pytest.approx(180.0)


def test_a_ratio_s_interval_holds_the_ratio_in_most_draws() -> None:
    rng, held = np.random.default_rng(1), 0
    for draw in range(200):
        over, under = rng.gamma(4.0, 0.5, 40), rng.gamma(4.0, 0.25, 40)
        found = ratio_of_means(over, under, resamples=200, seed=draw)
        held += found.low <= 2.0 <= found.high
    assert 176 <= held <= 199
