"""Text burned into the picture itself: a name over the ventricle, "LV" beside a wall.

Letters are strokes of one grey that stand still while speckle around them does not, and end sharply. Pixels
that stand still and border on their like in grey become strokes; strokes near each other of one grey become
words. Tissue that stands still (pericardium, calcification) is smooth or uneven, and its strokes agree on no
grey. A single frame has no stillness to tell by: there only the sameness and the sharpness count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from echojepa.data.sector import Mask, Sector, probe_frames

filters: Any = ndimage  # scipy carries no types
FEW = 8
"""With fewer frames than this, standing still says nothing."""
STILL = 18
"""Grey levels by which a pixel of a letter may flicker after lossy compression."""
DARKEST = 70
"""Letters are at least this bright."""
LINK, LINK_FEW = 4, 1
"""Neighbours of one stroke differ by no more grey levels; stricter where there are few frames."""
STEP, EDGE = 25, 35
"""Grey levels between a stroke and what lies two pixels beside it, and within two pixels of it in all."""
EVEN, SHARP = 3.0, 4.5
"""A stroke's greys have at most this standard deviation, and on average this many of the eight pixels
two away differ by STEP."""
TALLEST, LONGEST, SMALLEST = 45, 250, 5
"""Pixels of the largest letters, of letters that run together, and of a word's shorter side at least:
a stretch of an ECG's trace is flatter."""
TRACE = 20
"""Pixels from which on a stroke hardly thicker than a line is a piece of a trace, not a letter."""
WIDE = 0.6
"""Width of a word as a share of its height at least: an R wave that stands over the sector is narrower."""
SAME = 4
"""Strokes of one word differ by no more grey levels."""
ENOUGH, ENOUGH_FEW = 12.5, 24.0
"""Pixels of stroke, weighted by sharpness, that make a word: above all that 90 clean loops showed."""


@dataclass(frozen=True)
class TextBox:
    """Where a word stands: rows and columns of the screen, the upper ends exclusive."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Strokes:
    """Patches of one grey: one entry each."""

    pixels: NDArray[np.floating]
    grey: NDArray[np.floating]
    sharpness: NDArray[np.floating]
    boxes: NDArray[np.int64]
    """(n, 4) top, left, bottom, right of the screen."""


def find_text(frames: NDArray[np.uint8], sector: Sector) -> tuple[TextBox, ...]:
    """Words (from two letters on) in the sector of a loop (T, H, W) or (T, H, W, 3), largest first."""
    rows, columns = sector.box
    looked = probe_frames(frames)[:, rows, columns]
    inside = filters.binary_erosion(sector.mask[rows, columns], iterations=2)
    darkest, brightest = looked.min(0), looked.max(0)
    flicker = brightest - darkest
    middle = (darkest.astype(np.int16) + brightest) // 2
    if middle.ndim == 3:
        flicker, middle = flicker.max(-1), middle.max(-1)
    few = len(looked) < FEW
    still = inside & (flicker <= STILL) & (middle >= DARKEST)
    strokes = find_strokes(middle, still, LINK_FEW if few else LINK)
    return words_of(strokes, ENOUGH_FEW if few else ENOUGH, int(rows.start), int(columns.start))


def find_strokes(grey: NDArray[np.int16], still: Mask, link: int) -> Strokes:
    """Sharp patches of still pixels, each within `link` of its neighbour's grey, in a picture (H, W)."""
    reach = filters.maximum_filter(grey, 5) - filters.minimum_filter(grey, 5)
    still = still & (reach >= EDGE)
    at = np.flatnonzero(still)
    if not len(at):
        return Strokes(np.empty(0), np.empty(0), np.empty(0), np.empty((0, 4), dtype=np.int64))
    height, width = grey.shape
    number = np.zeros(grey.shape, dtype=np.int64)
    number.ravel()[at] = np.arange(len(at))
    pairs = []
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = slice(0, height - down), slice(max(0, -across), width - max(0, across))
        two = slice(down, height), slice(max(0, across), width + min(0, across))
        alike = still[one] & still[two] & (np.abs(grey[one] - grey[two]) <= link)
        pairs.append(np.stack([number[one][alike], number[two][alike]]))
    links = np.concatenate(pairs, axis=1)
    graph = sparse.coo_matrix((np.ones(links.shape[1]), links), shape=(len(at), len(at)))
    count, label = connected_components(graph, directed=False)
    y, x = np.divmod(at, width)
    level = grey.ravel()[at].astype(float)
    padded = np.pad(grey, 2, mode="edge")
    around = [padded[2 + a :, 2 + b :][y, x] for a in (-2, 0, 2) for b in (-2, 0, 2) if a or b]
    steps = (np.abs(np.stack(around) - grey.ravel()[at]) > STEP).sum(0)
    pixels = np.bincount(label).astype(float)
    mean = np.bincount(label, level) / pixels
    spread = np.sqrt(np.maximum(0, np.bincount(label, level**2) / pixels - mean**2))
    sharpness = np.bincount(label, steps) / pixels
    boxes = np.tile([height, width, 0, 0], (count, 1))
    np.minimum.at(boxes[:, 0], label, y)
    np.minimum.at(boxes[:, 1], label, x)
    np.maximum.at(boxes[:, 2], label, y + 1)
    np.maximum.at(boxes[:, 3], label, x + 1)
    size = boxes[:, 2:] - boxes[:, :2]
    good = (pixels >= 4) & (spread <= EVEN) & (sharpness >= SHARP)
    good &= (size[:, 0] <= TALLEST) & (size[:, 1] <= LONGEST)
    good &= (size.max(1) < TRACE) | (pixels > 2.2 * size.max(1))
    return Strokes(pixels[good], mean[good], sharpness[good], boxes[good])


def words_of(strokes: Strokes, enough: float, top: int, left: int) -> tuple[TextBox, ...]:
    """Strokes near each other and of one grey whose score is `enough`; (top, left) is added to the boxes."""
    if not len(strokes.pixels):
        return ()
    low, high = strokes.boxes[:, :2], strokes.boxes[:, 2:]
    gap = np.maximum(low[:, None], low) - np.minimum(high[:, None], high)
    size = np.maximum((high - low).max(1)[:, None], (high - low).max(1))
    near = (gap[..., 0] <= 1 + 0.3 * size) & (gap[..., 1] <= 3 + 0.7 * size)
    near &= np.abs(strokes.grey[:, None] - strokes.grey) <= SAME
    _, label = connected_components(sparse.coo_matrix(near), directed=False)
    score = np.bincount(label, strokes.pixels * np.clip((strokes.sharpness - 3) / 3, 0, 1))
    found = []
    for word in np.argsort(-score):
        if score[word] < enough:
            break
        box = strokes.boxes[label == word]
        (a, b), (c, d) = box[:, :2].min(0).tolist(), box[:, 2:].max(0).tolist()
        if min(c - a, d - b) >= SMALLEST and d - b >= WIDE * (c - a):
            found.append(TextBox(a + top, b + left, c + top, d + left))
    return tuple(found)
