"""Probabilities of classes that say how often they are right: one exponent, by patients who trained nothing.

Least squares on indicators, and means over clips, give the likeliest class far less than the chance with
which it is right. Raised to an exponent and normalised they keep the likeliest class; the exponent that makes
the truth likeliest is temperature scaling (Guo et al., ICML 2017) of probabilities in place of scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

LEAST, MOST = 0.1, 20.0
"""Exponents that are tried."""
FLOOR = 1e-12
"""Below which a probability counts as this."""


def sharpened(probabilities: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Probabilities (n, K) raised to an exponent, each row again summing to 1."""
    logs = exponent * np.log(np.maximum(probabilities, FLOOR))
    raised = np.exp(logs - logs.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def fit_sharpness(probabilities: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """The exponent under which classes `truth` (n,) are likeliest, given probabilities (n, K)."""
    rows, classes = np.arange(len(truth)), truth.astype(int)

    def surprise(log_exponent: float) -> float:
        told = sharpened(probabilities, float(np.exp(log_exponent)))[rows, classes]
        return float(-np.log(np.maximum(told, FLOOR)).mean())

    found = minimize_scalar(surprise, bounds=(np.log(LEAST), np.log(MOST)), method="bounded")
    return float(np.exp(found.x))
