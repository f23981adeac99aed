"""Claims about robustness: what hardly looks at the picture is not ranked by how little damage does to it."""

from __future__ import annotations

import numpy as np
import pytest

from echojepa.evaluation.robustness import relative_degradation


def test_what_hardly_beats_the_constant_is_not_ranked_by_relative_degradation() -> None:
    assert np.isnan(relative_degradation(8.52, 8.57, 8.7))  # the paper's EchoMAE: +0.5 %
    assert relative_degradation(4.0, 4.4, 8.7) == pytest.approx(10)
