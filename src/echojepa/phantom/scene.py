"""What a scanner can see of a body: the seam between anatomy, which moves, and acoustics, which listens.

Anatomy knows nothing of beams and pictures, and acoustics nothing of hearts; both know this page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]


@dataclass(frozen=True)
class Tissue:
    """Point scatterers at one instant."""

    positions: Points
    """(n, 3), mm."""
    amplitude: Points
    """(n,) strength of each echo relative to myocardium; 0 where a scatterer is hidden at this instant."""


@dataclass(frozen=True)
class Flow:
    """Blood at given points at one instant."""

    velocity: Points
    """(n, 3), m/s; 0 outside blood."""
    spread: Points
    """(n,) standard deviation of the velocities within a sample, m/s: large in a jet."""
    inside: NDArray[np.bool_]
    """(n,) whether the point lies in blood at all."""


class Scene(Protocol):
    """A body in front of the probe, as a function of time in s."""

    def tissue(self, time: float) -> Tissue:
        """The scatterers; the same ones in the same order at every time, so that index is identity."""
        ...

    def flow(self, points: Points, time: float) -> Flow:
        """Blood at points (n, 3) in mm."""
        ...
