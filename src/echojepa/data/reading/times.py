"""What is plausible of the times between frames, and what is said where they are odd."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = (0.001, 1.0)
"""Plausible seconds from one frame to the next, by the median of a loop."""
LONGEST_PAUSE = 60.0
"""Seconds that a single step may last: a recording that was paused is whole, and its times say so."""


def plausible(steps: NDArray[np.float64]) -> bool:
    """Whether seconds between frames (T - 1,) are those of a cine: single pauses are, a slow rate is none."""
    low, high = STEPS
    return bool(steps.min() >= low and np.median(steps) <= high and steps.max() <= LONGEST_PAUSE)


def pause_warning(steps: NDArray[np.float64]) -> str:
    """What is to be said of steps that are long for a cine, or ""."""
    pauses = steps[steps > STEPS[1]]
    return f"{len(pauses)} pauses of up to {pauses.max():.3g} s" if len(pauses) else ""
