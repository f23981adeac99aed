"""Where the ultrasound is on the screen: found from the pixels, so that text and logos stay outside.

Inside the fan, speckle always changes; burned-in text, scales and logos do not. A fan is fitted to the
largest active piece, which makes the rim a straight edge or an arc even if the image is dark there or an ECG
crosses it. A solid piece that is not a fan (a linear array) is kept as its convex hull. Region tags are only
a hint: they can be wrong or have another size.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from echojepa.data.reading.cine import Region
from echojepa.data.reading.rejection import Rejected
from echojepa.data.sector.fan import Mask
from echojepa.data.sector.pieces import COVERED, SOLID, disc, fan_of, largest_piece, pieces_of
from echojepa.data.sector.several import check_single
from echojepa.vocabulary import Reason

morphology: Any = ndimage  # scipy carries no types
PROBE_FRAMES = 32
"""Frames looked at, evenly spaced."""
CAP = 8
"""Cap of one change, in grey levels: a trace that passes once is not active."""
LIVELY, SHARE = 0.3, 0.35
"""A pixel is active ("alive") if it changes by LIVELY grey levels on average, and if its change and its
contrast to the background are at least SHARE of those around it. JPEG noise beside a sector changes less."""
STILL_GREY = 6
"""In a single frame, a pixel counts as alive if it is this much brighter than the background."""
OVERLAY_GREY = 30
"""Grey level above which a pixel that hardly changes may be an overlay."""
MIN_SHARE = 0.04
"""A sector smaller than this share of the screen is none."""


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


def probe_indices(count: int) -> list[int]:
    """Numbers of the frames that are looked at: all of a short loop, else PROBE_FRAMES evenly spaced."""
    return np.linspace(0, count - 1, min(PROBE_FRAMES, count)).astype(int).tolist()


def probe_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Those frames of a loop's."""
    return frames if len(frames) <= PROBE_FRAMES else frames[probe_indices(len(frames))]


def find_sector(frames: NDArray[np.uint8], regions: Sequence[Region] = ()) -> Sector:
    """Find the sector of a loop (T, H, W) or (T, H, W, 3); Rejected(NO_SECTOR) where there is none, and
    SEVERAL_SECTORS where there are two.

    `regions` (from tags) only decide between pieces of like size; they may be wrong.
    """
    looked = probe_frames(frames)
    alive = lively(looked)
    pieces = pieces_of(alive)
    piece, around = largest_piece(pieces, regions)
    check_single(alive, pieces, piece | around, regions)
    if found := fan_of(alive, around) or fan_of(alive, piece):
        _, mask = found
    else:
        if len(looked) == 1:
            raise Rejected(Reason.NO_SECTOR, "a single frame without a visible fan")
        hull = convex_hull(piece)
        if piece[hull].mean() < SOLID or hull[around].mean() < COVERED:
            raise Rejected(
                Reason.NO_SECTOR, "the moving part is neither a fan nor solid; its rim cannot be found"
            )
        mask = morphology.binary_erosion(hull, iterations=2, border_value=1)
        mask &= ~overlay_at_rim(looked, mask)
    if mask.mean() < MIN_SHARE:
        raise Rejected(Reason.NO_SECTOR, f"the largest moving piece covers {mask.mean():.1%} of the screen")
    return Sector(mask)


def lively(frames: NDArray[np.uint8]) -> Mask:
    """(H, W) pixels that change like speckle; of a single frame, those brighter than the background."""
    grey = frames if frames.ndim == 3 else np.ascontiguousarray(frames[..., 1])
    background = int(np.bincount(grey[0].ravel(), minlength=256)[:64].argmax())
    if len(grey) == 1:
        return grey[0].astype(np.int16) > background + STILL_GREY
    change = np.zeros(grey.shape[1:], dtype=np.uint16)
    for before, after in itertools.pairwise(grey):
        change += np.minimum(np.maximum(before, after) - np.minimum(before, after), CAP)
    activity = change.astype(np.float32) / (len(grey) - 1)
    alive = activity >= LIVELY
    darkest, brightest = grey.min(0).astype(np.float32), grey.max(0).astype(np.float32)
    contrast = np.maximum(brightest - background, background - darkest)
    size = max(17, min(activity.shape) // 16)
    share = morphology.uniform_filter(alive.astype(np.float32), size, mode="nearest")
    for measure in (activity, contrast):
        around = morphology.uniform_filter(np.where(alive, measure, 0), size, mode="nearest")
        alive = alive & (measure * share >= SHARE * around)
    return alive


def overlay_at_rim(frames: NDArray[np.uint8], mask: Mask) -> Mask:
    """Bright pixels that hardly change within the mask's rim: ticks and letters that reach into it.

    Hardly, not never: lossy compression makes a letter beside moving speckle flicker a little.
    """
    darkest, brightest = frames.min(0), frames.max(0)
    if darkest.ndim == 3:
        darkest, brightest = darkest.max(-1), brightest.max(-1)
    still = (brightest - darkest < darkest // 3) & (darkest > OVERLAY_GREY)
    width = max(2, min(mask.shape) // 80)
    rim = mask & ~morphology.binary_erosion(mask, iterations=width, border_value=1)
    return rim & morphology.binary_dilation(still & rim, disc(width // 2))


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
