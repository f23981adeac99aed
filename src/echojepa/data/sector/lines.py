"""Long thin still lines in the picture that are no letters: the outline of a colour Doppler box, a cursor.

Such a line is of one grey, hardly bends over a span longer than a letter's strokes, and has other greys on
both sides. Each pixel is asked by itself, so letters that touch or cross a line stay when it is taken away.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echojepa.data.sector.fan import Mask

pieces: Any = ndimage  # scipy carries no types
SPAN = 40
"""Pixels looked at from a line's pixel on, to one side so that corners count: more than letters have."""
TURNS = 120
"""Directions tried: over the span an arc stays within a pixel of one of them."""
FILLED = 0.7
"""Share of the span that is of the pixel's grey at least: letters one after another leave more gaps."""
BESIDE, EMPTY = 4, 0.4
"""Pixels to both sides, and the share of the span that may be of the same grey there: a field is no line."""
LIKE = 30
"""Grey levels by which pixels of one line differ at most, after lossy compression too."""
LONG = 50
"""Rows and columns together that a line covers at least: no stroke of a letter does."""
TRACE, THICK = 20, 2.2
"""Pixels of the longer side from which on a piece of so many pixels for each is of a trace, not a letter."""
NOTHING = -1000
"""Stands for the grey of what does not stand still."""


def line_pixels(grey: NDArray[np.int16], still: Mask, at: tuple[NDArray[np.int64], ...]) -> Mask:
    """(H, W) the long thin lines of still pixels, looked for through the pixels `at` rows and columns."""
    width = SPAN + BESIDE + 2
    padded = np.pad(np.where(still, grey, NOTHING), width, constant_values=NOTHING)
    lines = np.zeros(padded.shape, dtype=bool)
    spots = np.stack([at[0] + width, at[1] + width, grey[at].astype(np.int64)])[..., None]
    every = np.arange(SPAN + 1)
    for angle in np.arange(TURNS) * 2 * math.pi / TURNS:
        rough = [_of_grey(padded, spots, angle, side, every[::4])[0] for side in (-1, 0, 1)]
        hopeful = spots[:, np.any(rough, axis=0).mean(1) >= FILLED - 0.2]
        along = [_of_grey(padded, hopeful, angle, side, every) for side in (-1, 0, 1)]
        straight = np.any([like for like, _ in along], axis=0).mean(1) >= FILLED
        for side in (-BESIDE, BESIDE):
            straight &= _of_grey(padded, hopeful, angle, side, every)[0].mean(1) <= EMPTY
        for like, (y, x) in along:
            of_line = like & straight[:, None]
            lines[y[of_line], x[of_line]] = True
    return long_ones(lines)[width:-width, width:-width]


def _of_grey(
    padded: NDArray[np.int16], spots: NDArray[np.int64], angle: float, side: int, along: NDArray[np.int64]
) -> tuple[Mask, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(n, L) whether pixels so far along an angle and to one side of each spot are of its grey; and where."""
    down, across = math.sin(angle), math.cos(angle)
    y = spots[0] + np.rint(along * down + side * across).astype(int)
    x = spots[1] + np.rint(along * across - side * down).astype(int)
    return np.abs(padded[y, x] - spots[2]) <= LIKE, (y, x)


def traces(still: Mask) -> Mask:
    """(H, W) still pixels in pieces that are hardly thicker than a line: what an ECG has written."""
    labels, sides = joined_pixels(still)
    longer = sides.max(axis=1)
    pixels = np.bincount(labels.ravel(), minlength=len(sides) + 1)[1:]
    return np.append(False, (longer >= TRACE) & (pixels <= THICK * longer))[labels]


def long_ones(lines: Mask) -> Mask:
    """The pixels that stand in chains which are long; gaps of two pixels do not break one."""
    chains, sides = joined_pixels(pieces.binary_dilation(lines, np.ones((3, 3))))
    return lines & np.append(False, sides.sum(axis=1) >= LONG)[chains]


def joined_pixels(chosen: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Pieces of pixels that touch, corners too: the number of each pixel's (H, W), 0 for none, and the
    (n, 2) height and width of the boxes around them."""
    labels, _ = pieces.label(chosen, np.ones((3, 3)))
    sides = [[side.stop - side.start for side in box] for box in pieces.find_objects(labels)]
    return labels, np.array(sides, dtype=np.int64).reshape(-1, 2)
