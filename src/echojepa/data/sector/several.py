"""Two sectors on one screen: biplane, side by side, colour beside grey, one above the other.

A row of a data set is one picture of one view. Which of the two the file's view and calibration are of is
not told, and taken together they would be one wide picture of nothing; so such a file is refused for that. A
second picture that stands still, or is small, is no second sector: it is outside the sector, and black.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from echojepa.data.reading.cine import Region
from echojepa.data.reading.rejection import Rejected
from echojepa.data.sector.fan import Fan, Mask
from echojepa.data.sector.pieces import Pieces, fan_of
from echojepa.vocabulary import Reason

COMPARABLE = 0.3
"""A second sector covers at least this share of the first's pixels; a thumbnail covers less."""
APART = 0.5
"""Distance of the two fans' apexes as a share of the shorter one's reach, at least: halves of one fan share
theirs."""
SHARED = 0.1
"""Share of its pixels that a fan may have in common with the other: their corners may cross."""
MIDDLE = (0.3, 0.7)
"""Where, as shares of what is alive, two pictures that touch may be cut apart."""
HELD = 0.8
"""Share of a sector that a region must hold to name it; of the other it holds no more than the rest."""
LIVING = 0.3
"""Share of a region in the tags that must be alive for there to be a picture in it."""


def check_single(alive: Mask, pieces: Pieces, piece: Mask, regions: Sequence[Region]) -> None:
    """Raise Rejected(SEVERAL_SECTORS) where the alive pixels (H, W) are two sectors; `piece` is the largest
    piece with those near it. Two that do not touch, of which the tags' only picture holds one and not the
    other, are that one."""
    if (
        fans_apart(alive, pieces, regions)
        or fans_that_touch(alive & piece)
        or tagged_pictures(alive, regions)
    ):
        raise Rejected(Reason.SEVERAL_SECTORS, "two sectors on one screen; a row holds only one")


def fans_apart(alive: Mask, pieces: Pieces, regions: Sequence[Region]) -> bool:
    """Whether two pieces of comparable size are fans of their own, and the tags do not say which counts."""
    sizes = np.bincount(pieces.labels.ravel(), minlength=pieces.count + 1)[1:]
    large = [number for number in range(pieces.count) if sizes[number] >= COMPARABLE * sizes.max()]
    if not 1 < len(large) <= 4:
        return False
    parts = [pieces.fine(pieces.labels == number + 1) for number in large]
    return any(
        are_two(alive, one, other) and not is_told(one, other, regions)
        for one, other in itertools.combinations(parts, 2)
    )


def is_told(one: Mask, other: Mask, regions: Sequence[Region]) -> bool:
    """Whether the tags have one picture, and it holds one of two parts (H, W) and not the other."""
    pictures = [r for r in regions if r.kind in ("tissue", "colour")]
    if len(pictures) != 1:
        return False
    rows = slice(pictures[0].y0, pictures[0].y1 + 1)
    columns = slice(pictures[0].x0, pictures[0].x1 + 1)
    low, high = sorted(part[rows, columns].sum() / part.sum() for part in (one, other))
    return low <= 1 - HELD and high >= HELD


def fans_that_touch(living: Mask) -> bool:
    """Whether the alive pixels of one piece (H, W) are two fans, cut apart where fewest are alive."""
    for axis in (0, 1):
        counts = living.sum(axis=axis)
        there = np.flatnonzero(counts)
        if len(there) < 16:
            continue
        low, high = (int(there[0] + share * (there[-1] - there[0])) for share in MIDDLE)
        smooth = np.convolve(counts, np.ones(5) / 5, mode="same")
        place = low + int(smooth[low : high + 1].argmin())
        if axis == 0 and smooth[place] > 0.8 * min(smooth[:place].max(), smooth[place:].max()):
            continue  # one fan is tallest in its middle
        one, other = living.copy(), living.copy()
        (one if axis else one.T)[place:] = False
        (other if axis else other.T)[:place] = False
        if are_two(living, one, other):
            return True
    return False


def are_two(alive: Mask, one: Mask, other: Mask) -> bool:
    """Whether two parts (H, W) are fans of comparable size with an apex each."""
    sizes = sorted((int(one.sum()), int(other.sum())))
    if sizes[0] < COMPARABLE * sizes[1]:
        return False
    found = [fan for part in (one, other) if (fan := fan_of(alive, part))]
    if len(found) < 2:
        return False
    (first, inside), (second, beside) = found
    shared = (inside & beside).sum()
    return apexes_apart(first, second) and shared <= SHARED * min(inside.sum(), beside.sum())


def apexes_apart(first: Fan, second: Fan) -> bool:
    """Whether two fans begin in different places."""
    distance = math.hypot(first.x - second.x, first.y - second.y)
    return distance >= APART * min(first.far, second.far)


def tagged_pictures(alive: Mask, regions: Sequence[Region]) -> bool:
    """Whether the tags name two pictures of like size that are alive, with a line between them on which
    nothing is: so are two linear arrays, which no fan tells apart."""
    boxes = [r for r in regions if r.kind in ("tissue", "colour")]
    for one, other in itertools.combinations(boxes, 2):
        areas = sorted((r.x1 + 1 - r.x0) * (r.y1 + 1 - r.y0) for r in (one, other))
        beside = one.x1 < other.x0 or other.x1 < one.x0
        above = one.y1 < other.y0 or other.y1 < one.y0
        if not (beside or above) or areas[0] < COMPARABLE * areas[1]:
            continue
        shares = [alive[r.y0 : r.y1 + 1, r.x0 : r.x1 + 1].mean() for r in (one, other)]
        if min(shares) >= LIVING and is_gap(alive, one, other, beside):
            return True
    return False


def is_gap(alive: Mask, one: Region, other: Region, beside: bool) -> bool:
    """Whether some line between two regions has nothing alive on it."""
    if beside:
        left, right = sorted((one, other), key=lambda region: region.x0)
        between = alive[:, max(0, left.x1 - 4) : right.x0 + 5].mean(axis=0)
    else:
        upper, lower = sorted((one, other), key=lambda region: region.y0)
        between = alive[max(0, upper.y1 - 4) : lower.y0 + 5].mean(axis=1)
    return bool(between.min() < 0.02)
