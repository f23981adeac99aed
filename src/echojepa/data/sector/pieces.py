"""What is alive on a screen, taken together to pieces, and the fan around a piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echojepa.data.reading.cine import Region
from echojepa.data.reading.rejection import Rejected
from echojepa.data.sector.fan import Fan, Mask, fit_fan, mirrored
from echojepa.vocabulary import Reason

morphology: Any = ndimage  # scipy carries no types
COARSE = 160
"""Pixels of the shorter side of the coarse picture in which pieces are told apart."""
BRIDGE = 5
"""Pixels of the coarse picture to both sides over which pieces are taken together."""
COVERED, SOLID, SPARSE = 0.9, 0.8, 0.3
"""Share of a piece that a fan must cover; share of a fan, or hull, that the piece must fill; and the share
that is enough where the rim is seen."""
RIM, TOUCHED = 0.2, 0.04
"""Share of the rim, along each side, at which alive pixels must end; and where only one side is well seen."""
MARGIN = 0.6
"""Pixels that the fan is drawn in, so that no pixel of its surroundings is kept."""


@dataclass(frozen=True)
class Pieces:
    """Solid connected pieces of the alive pixels, to the accuracy of a coarse picture."""

    solid: Mask
    """(h, w) of the coarse picture."""
    labels: NDArray[np.int32]
    """(h, w): 0 outside, else the number of the piece."""
    count: int
    step: int
    """Pixels that one of the coarse picture stands for, along each side."""
    shape: tuple[int, int]
    """(H, W) of the picture."""

    def fine(self, part: Mask) -> Mask:
        """Some pixels of the coarse picture as pixels (H, W), a little larger than they are."""
        wide = np.kron(morphology.binary_dilation(part, disc(1)), np.ones((self.step, self.step), dtype=bool))
        missing = self.shape[0] - wide.shape[0], self.shape[1] - wide.shape[1]
        return np.pad(wide, ((0, missing[0]), (0, missing[1])), mode="edge")


def pieces_of(alive: Mask) -> Pieces:
    """The pieces of the alive pixels (H, W), without their thin parts."""
    step = max(1, min(alive.shape) // COARSE)
    height, width = alive.shape[0] // step, alive.shape[1] // step
    blocks = alive[: height * step, : width * step].reshape(height, step, width, step)
    padded = np.pad(blocks.mean((1, 3)) >= 0.3, 4, mode="edge")
    solid = morphology.binary_opening(morphology.binary_closing(padded, disc(1)), disc(2))[4:-4, 4:-4]
    labels, count = morphology.label(solid)
    return Pieces(solid, labels, count, step, (alive.shape[0], alive.shape[1]))


def largest_piece(pieces: Pieces, regions: Sequence[Region]) -> tuple[Mask, Mask]:
    """The largest piece (H, W), and that piece with those near it: dark cavities and shadows break a sector
    into several. Rejected(NO_SECTOR) where there is none."""
    if pieces.count == 0:
        raise Rejected(Reason.NO_SECTOR, "nothing on the screen moves")
    labels, step = pieces.labels, pieces.step
    sizes = np.bincount(labels.ravel()).astype(float)
    for region in regions:
        if region.kind in ("tissue", "colour"):
            rows = slice(region.y0 // step, region.y1 // step + 1)
            columns = slice(region.x0 // step, region.x1 // step + 1)
            sizes += np.bincount(labels[rows, columns].ravel(), minlength=pieces.count + 1)
    largest = labels == 1 + int(sizes[1:].argmax())
    islands, _ = morphology.label(morphology.binary_dilation(pieces.solid, disc(BRIDGE)))
    around = pieces.solid & (islands == islands[largest].max())
    return pieces.fine(largest), pieces.fine(around)


def fan_of(alive: Mask, piece: Mask) -> tuple[Fan, Mask] | None:
    """The fan around the alive pixels (H, W) of a piece, and its pixels; None where it is no fan.

    It covers the piece, and either the piece fills it or, in a dark picture, what is alive ends at its rim.
    """
    living = alive & piece
    fan = fit_fan(living)
    if fan is None:
        return None
    upright = mirrored(fan, living)
    if upright is not None and upright.rim_support(living) >= TOUCHED:
        fan = upright
    mask = trim(fan.mask(alive.shape, MARGIN), alive)
    if mask[piece].mean() < COVERED:
        return None
    filled = piece[mask].mean()
    supported = filled >= SPARSE and fan.rim_support(living) >= (TOUCHED if upright is fan else RIM)
    return (fan, mask) if supported or filled >= SOLID else None


def trim(mask: Mask, alive: Mask) -> Mask:
    """Cut rows and columns off a fan's outside in which hardly anything is alive: the picture ends there."""
    trimmed = mask.copy()
    for axis in (0, 1):
        covered = (mask & alive).sum(1 - axis) >= 0.2 * mask.sum(1 - axis)
        kept = np.flatnonzero(covered & mask.any(1 - axis))
        outside = np.ones(mask.shape[axis], dtype=bool)
        if len(kept):
            outside[kept[0] : kept[-1] + 1] = False
        trimmed[outside if axis == 0 else (slice(None), outside)] = False
    return trimmed


def disc(radius: int) -> Mask:
    """A disc of so many pixels around its centre."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return x**2 + y**2 <= radius**2
