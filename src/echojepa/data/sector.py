"""Where the ultrasound is on the screen: found from the pixels, so that text and logos stay outside.

Inside the fan speckle never stands still; burned-in text, scales and logos do. Pixels that change over
the loop are cleaned of thin structures (an ECG trace moves too), the largest connected piece is taken,
and its convex hull is the sector. Region tags are a hint at most: they can be wrong or of another size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from echojepa.data.rejection import Rejected
from echojepa.vocabulary import Reason

Mask = NDArray[np.bool_]
morphology: Any = ndimage  # scipy carries no types
CHANGE = 3
"""Grey levels a pixel must vary by to count as alive; JPEG noise on static text stays below."""
OVERLAY_GREY = 30
"""Grey level above which a pixel that hardly changes may be an overlay."""
MIN_SHARE = 0.04
"""A sector smaller than this share of the screen is none."""
PROBE_FRAMES = 32
"""Frames looked at, evenly spaced."""


@dataclass(frozen=True)
class Sector:
    """The imaging sector on the screen."""

    mask: Mask
    """(H, W) True inside."""

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the mask's bounding box."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def find_sector(frames: NDArray[np.uint8], regions: object = ()) -> Sector:
    """Find the sector of a loop (T, H, W) or (T, H, W, 3); Rejected(NO_SECTOR) where there is none."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(PROBE_FRAMES, len(frames))).astype(int))
    looked = frames[chosen]
    grey = looked if looked.ndim == 3 else looked.max(axis=-1)
    alive = (grey.max(0) - grey.min(0) >= CHANGE) if len(grey) > 1 else grey[0] > 2 * CHANGE
    radius = max(1, round(min(alive.shape) / 160))
    padded = np.pad(alive, radius, mode="edge")
    solid = morphology.binary_opening(morphology.binary_closing(padded, _disc(radius)), _disc(2 * radius))
    pieces, count = morphology.label(solid[radius:-radius, radius:-radius])
    if count == 0:
        raise Rejected(Reason.NO_SECTOR, "nothing on the screen moves")
    sizes = np.bincount(pieces.ravel())[1:]
    piece = pieces == 1 + int(sizes.argmax())
    hull = convex_hull(piece)
    core = morphology.binary_erosion(hull, _disc(radius), border_value=1)
    mask = core & ~_overlay(grey, core, radius)
    if mask.mean() < MIN_SHARE:
        raise Rejected(Reason.NO_SECTOR, f"the largest moving piece covers {mask.mean():.1%} of the screen")
    return Sector(mask)


def _disc(radius: int) -> Mask:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return x**2 + y**2 <= radius**2


def _overlay(grey: NDArray[np.uint8], core: Mask, radius: int) -> Mask:
    """Bright pixels that hardly change within the sector's rim: ticks and letters that stand beside it.

    Hardly, not never: lossy compression makes a letter beside moving speckle flicker a little.
    """
    if len(grey) == 1:
        return np.zeros_like(core)
    darkest, brightest = grey.min(0).astype(int), grey.max(0).astype(int)
    still = (brightest - darkest < darkest / 3) & (darkest > OVERLAY_GREY)
    rim = core & ~morphology.binary_erosion(core, _disc(2 * radius), border_value=1)
    return rim & morphology.binary_dilation(still & rim, _disc(radius))


def convex_hull(piece: Mask) -> Mask:
    """All pixels within the convex hull of a piece (H, W)."""
    rows, columns = np.nonzero(piece)
    new_row = np.diff(rows) > 0
    edge = np.concatenate([np.flatnonzero(np.r_[True, new_row]), np.flatnonzero(np.r_[new_row, True])])
    points = np.stack([rows[edge], columns[edge]], axis=1).astype(float)
    if len(np.unique(points[:, 0])) < 3 or len(np.unique(points[:, 1])) < 3:
        return piece
    faces = ConvexHull(points).equations
    y, x = np.mgrid[: piece.shape[0], : piece.shape[1]]
    inside = np.ones(piece.shape, dtype=bool)
    for a, b, c in faces:
        inside &= a * y + b * x + c <= 1e-6
    return inside
