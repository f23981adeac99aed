"""Text burned into the picture itself: a name over the ventricle, "LV" beside a wall.

Letters are strokes of one grey that stand still while speckle around them does not, and end sharply. Pixels
that stand still and border on their like in grey become strokes; strokes near each other of like grey become
words. Two pixels beside a stroke either the grey steps or the stillness ends: so a letter is seen on tissue
of its own grey too. A stroke counts by how sharp, how even, and how much stiller than its surroundings it is:
tissue that stands still (pericardium, calcification) is smooth, uneven, or no stiller than what is around it.
Long thin lines (the outline of a colour box, an ECG) are taken away, and what is left must still make words.
A single frame has no stillness to tell by: there only sameness and sharpness count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echojepa.data.sector.fan import Mask
from echojepa.data.sector.lines import line_pixels, traces
from echojepa.data.sector.passing_text import passing_words, words_of_frames
from echojepa.data.sector.sector import Sector, probe_frames
from echojepa.data.sector.strokes import (
    DARKEST,
    FRAME,
    LOOP,
    STEP,
    STILLEST,
    SharpPixels,
    TextBox,
    find_strokes,
    words_of,
)

filters: Any = ndimage  # scipy carries no types
FEW = 8
"""With fewer frames than this, standing still says nothing."""
STILL = 18
"""Grey levels by which a pixel of a letter may flicker after lossy compression."""
AROUND = 11
"""Side of the surroundings of a pixel whose mean flicker its own is held against, pixels."""
MOST_PIXELS = 10_000
"""Sharp pixels among which lines are told from letters: where there are more it would take seconds."""


def find_text(frames: NDArray[np.uint8], sector: Sector) -> tuple[TextBox, ...]:
    """Words (from two letters on) in the sector of a loop (T, H, W) or (T, H, W, 3), heaviest first."""
    rows, columns = sector.box
    looked = probe_frames(frames)[:, rows, columns]
    inside = filters.binary_erosion(sector.mask[rows, columns], iterations=2)
    darkest, brightest = looked.min(0).astype(np.int16), looked.max(0).astype(np.int16)
    flicker, grey = brightest - darkest, (darkest + brightest) // 2
    if grey.ndim == 3:
        flicker, grey = flicker.max(-1), mean_grey(grey)
    bright = grey >= DARKEST
    still = inside & bright & (flicker <= STILL)
    if len(looked) < FEW:
        rule, unrest = FRAME, np.full(grey.shape, 0.5**STILLEST)
    else:
        rule, unrest = LOOP, (flicker + 1) / (filters.uniform_filter(flicker.astype(np.float32), AROUND) + 1)
    at = np.nonzero(still)
    steps = steps_beside(grey, flicker, at)
    sharp = steps >= rule.edges
    at, steps = (at[0][sharp], at[1][sharp]), steps[sharp]
    corner = int(rows.start), int(columns.start)
    words = words_of(find_strokes(SharpPixels(at, grey[at], steps, unrest[at]), rule), rule, *corner)
    if words and len(steps) > MOST_PIXELS:
        return words
    found = () if words else passing(looked, inside, corner)
    if not words and not found:
        return ()
    lines = line_pixels(grey, bright & (flicker <= 2 * STILL), at) | traces(bright & (flicker <= STILL))
    at, steps = tuple(axis[~lines[at]] for axis in at), steps[~lines[at]]
    words = words_of(find_strokes(SharpPixels(at, grey[at], steps, unrest[at]), rule), rule, *corner)
    return words or passing(looked, inside & ~lines, corner)


def passing(looked: NDArray[np.uint8], inside: Mask, corner: tuple[int, int]) -> tuple[TextBox, ...]:
    """Words that do not stand still, or are dark on a bar; of a few frames those of the first."""
    if len(looked) < FEW:
        looked = looked[:1]
    grey = looked if looked.ndim == 3 else mean_grey(looked).astype(np.uint8)
    words = passing_words(grey, inside) if len(grey) >= FEW else words_of_frames(grey, inside)[0]
    return tuple(
        TextBox(w.top + corner[0], w.left + corner[1], w.bottom + corner[0], w.right + corner[1])
        for w in words
    )


def mean_grey(rgb: NDArray[np.integer]) -> NDArray[np.int16]:
    """(..., 3) to the mean of the channels, rounded down: by sums, a tenth of the time of NumPy's mean over
    an axis of three."""
    mean = np.add(rgb[..., 0], rgb[..., 1], dtype=np.int16)
    mean += rgb[..., 2]
    mean //= 3
    return mean


def steps_beside(
    grey: NDArray[np.int16], flicker: NDArray[np.int16], at: tuple[NDArray[np.int64], ...]
) -> NDArray[np.int64]:
    """How many of the eight pixels two away from those `at` are of another grey, or flicker more."""
    steps = np.zeros(len(at[0]), dtype=np.int64)
    greys, flickers = np.pad(grey, 2, mode="edge"), np.pad(flicker, 2, mode="edge")
    own_grey, own_flicker = grey[at], flicker[at]
    for down, across in ((0, 0), (0, 2), (0, 4), (2, 0), (2, 4), (4, 0), (4, 2), (4, 4)):
        beside = at[0] + down, at[1] + across
        steps += (np.abs(greys[beside] - own_grey) > STEP) | (flickers[beside] - own_flicker > STEP)
    return steps
