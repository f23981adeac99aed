"""The method of discs (Simpson's rule as clinics use it) on contours; Lang 2015, JASE 28:1."""

from __future__ import annotations

import math

import numpy as np

from echojepa.errors import UserError
from echojepa.phantom.heart.truth import Contour
from echojepa.phantom.heart.ventricles import Floats

DISCS = 20
"""The usual number."""


def diameters(contour: Contour) -> tuple[Floats, float]:
    """Widths (DISCS,) across the long axis, mm, and its length, mm, from mid-annulus to the farthest point.

    Raises UserError for a contour without an annulus: only apical views have a long axis.
    """
    if not len(contour.annulus):
        raise UserError("the method of discs needs a contour that meets the mitral plane; use an apical view")
    base = contour.annulus.mean(axis=0)
    apex = contour.outline[int(np.argmax(np.linalg.norm(contour.outline - base, axis=1)))]
    length = float(np.linalg.norm(apex - base))
    axis = (apex - base) / length
    across = np.array([-axis[1], axis[0]])
    height, side = (contour.outline - base) @ axis, (contour.outline - base) @ across
    following, other = np.roll(height, -1), np.roll(side, -1)
    widths = []
    for level in (np.arange(DISCS) + 0.5) / DISCS * length:
        crossed = (height <= level) != (following <= level)
        share = (level - height[crossed]) / (following[crossed] - height[crossed])
        met = side[crossed] + share * (other[crossed] - side[crossed])
        widths.append(met.max() - met.min())
    return np.array(widths), length


def biplane_volume(four_chamber: Contour, two_chamber: Contour) -> float:
    """Left ventricular volume, ml, from contours in A4C and A2C."""
    (first, one), (second, other) = diameters(four_chamber), diameters(two_chamber)
    return math.pi / 4 * float((first * second).sum()) * max(one, other) / DISCS / 1000
