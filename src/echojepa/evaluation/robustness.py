"""When a relative degradation under damage means something."""

from __future__ import annotations

BETTER_THAN_CONSTANT = 0.2
"""Share by which a clean error must beat the constant's for a relative degradation to mean something."""


def relative_degradation(clean: float, damaged: float, constant: float) -> float:
    """Added error in % of the clean error; nan unless the clean error beats the constant's by 20 %.

    A constant degrades by nothing: ranked by this figure, what never looked at the picture would win.
    """
    if not clean <= (1 - BETTER_THAN_CONSTANT) * constant or clean == 0:
        return float("nan")
    return 100 * (damaged - clean) / clean
