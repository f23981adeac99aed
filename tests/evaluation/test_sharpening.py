"""Claims about probabilities of classes: one exponent makes them true, and changes no likeliest class."""

from __future__ import annotations

import numpy as np
import pytest

from echojepa.evaluation.statistics.sharpening import fit_sharpness, sharpened

RNG = np.random.default_rng(0)
SOUND = RNG.dirichlet([0.3] * 5, 20000)
TRUTH = np.array([RNG.choice(5, p=row) for row in SOUND]).astype(float)


def test_probabilities_that_were_flattened_are_what_they_were() -> None:
    flat = sharpened(SOUND, 0.25)
    assert fit_sharpness(SOUND, TRUTH) == pytest.approx(1, abs=0.03)
    found = fit_sharpness(flat, TRUTH)
    assert found == pytest.approx(4, abs=0.12)
    again = sharpened(flat, found)
    np.testing.assert_allclose(again.sum(1), 1)
    for low in (0.3, 0.5, 0.7, 0.9):
        band = (again.max(1) >= low) & (again.max(1) < low + 0.1)
        right = again.argmax(1)[band] == TRUTH[band]
        assert right.mean() == pytest.approx(again.max(1)[band].mean(), abs=0.04)


def test_no_likeliest_class_changes_and_a_class_without_any_chance_is_no_error() -> None:
    hard = np.array([[0.0, 0.4, 0.6], [1.0, 0.0, 0.0]])
    for exponent in (0.1, 1.0, 20.0):
        np.testing.assert_array_equal(sharpened(hard, exponent).argmax(1), hard.argmax(1))
    np.testing.assert_allclose(sharpened(hard, 1.0), hard, atol=1e-9)
    assert np.isfinite(fit_sharpness(hard, np.array([0.0, 1.0])))
