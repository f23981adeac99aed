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

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from echojepa.data.lines import THICK, TRACE, line_pixels, traces
from echojepa.data.sector import Sector, probe_frames

filters: Any = ndimage  # scipy carries no types
FEW = 8
"""With fewer frames than this, standing still says nothing."""
STILL = 18
"""Grey levels by which a pixel of a letter may flicker after lossy compression."""
AROUND = 11
"""Side of the surroundings of a pixel whose mean flicker its own is held against, pixels."""
STILLEST = 4
"""Halvings of the flicker around, from which on a stroke counts in full."""
DARKEST = 70
"""Letters are at least this bright."""
STEP = 35
"""Grey levels by which grey differs, or flicker rises, in a step from a letter to two pixels beside it."""
TALLEST, LONGEST, SMALLEST = 45, 250, 5
"""Pixels of the largest letters, of letters that run together, and of a word's shorter side at least:
a stretch of an ECG's trace is flatter."""
WIDE = 0.6
"""Width of a word as a share of its height at least: an R wave that stands over the sector is narrower."""
MOST = 800
"""Strokes looked at, the strongest first: more than a screen of text has."""
MOST_PIXELS = 10_000
"""Sharp pixels among which lines are told from letters: where there are more it would take seconds."""


@dataclass(frozen=True)
class Rule:
    """What makes strokes and words, in grey levels and pixels; stricter where stillness does not help."""

    link: int
    """Neighbours of one stroke differ by no more; anti-aliased strokes waver."""
    even: float
    """Standard deviation of a stroke's greys at which it counts nothing; it counts in full at 0."""
    edges: int
    """Of the eight pixels two away, so many at least are beyond a step from every pixel of a stroke."""
    sharp: float
    """So many are on average."""
    fewest: int
    """Pixels of a stroke at least."""
    same: int
    """Strokes of one word differ by no more."""
    enough: float
    """Weight that makes a word: above all that clean loops of the phantom showed."""


LOOP = Rule(link=6, even=6.0, edges=4, sharp=4.5, fewest=2, same=12, enough=5.0)
FRAME = Rule(link=2, even=6.0, edges=3, sharp=4.5, fewest=4, same=4, enough=10.0)


@dataclass(frozen=True)
class TextBox:
    """Where a word stands: rows and columns of the screen, the upper ends exclusive."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Strokes:
    """Patches of like grey: one entry each."""

    weight: NDArray[np.floating]
    """Pixels, each counted by sharpness, evenness and stillness from 0 to 1."""
    grey: NDArray[np.floating]
    boxes: NDArray[np.int64]
    """(n, 4) top, left, bottom, right within the sector's box."""


def find_text(frames: NDArray[np.uint8], sector: Sector) -> tuple[TextBox, ...]:
    """Words (from two letters on) in the sector of a loop (T, H, W) or (T, H, W, 3), heaviest first."""
    rows, columns = sector.box
    looked = probe_frames(frames)[:, rows, columns]
    inside = filters.binary_erosion(sector.mask[rows, columns], iterations=2)
    darkest, brightest = looked.min(0).astype(np.int16), looked.max(0).astype(np.int16)
    flicker, grey = brightest - darkest, (darkest + brightest) // 2
    if grey.ndim == 3:
        flicker, grey = flicker.max(-1), grey.mean(-1).astype(np.int16)
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
    words = words_of(find_strokes(at, grey[at].astype(float), steps, unrest[at], rule), rule, *corner)
    if not words or len(steps) > MOST_PIXELS:
        return words
    lines = line_pixels(grey, bright & (flicker <= 2 * STILL), at) | traces(bright & (flicker <= STILL))
    at, steps = tuple(axis[~lines[at]] for axis in at), steps[~lines[at]]
    return words_of(find_strokes(at, grey[at].astype(float), steps, unrest[at], rule), rule, *corner)


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


def find_strokes(
    at: tuple[NDArray[np.int64], ...],
    grey: NDArray[np.floating],
    steps: NDArray[np.int64],
    unrest: NDArray[np.floating],
    rule: Rule,
) -> Strokes:
    """Join pixels (n,) at rows and columns to their neighbours of like grey; keep what may be of a letter."""
    if not len(grey):
        return Strokes(np.empty(0), np.empty(0), np.empty((0, 4), dtype=np.int64))
    y, x = at
    number = np.full((y.max() + 2, x.max() + 3), -1)
    number[y, x + 1] = np.arange(len(grey))
    links = []
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        other = number[y + down, x + 1 + across]
        one = np.flatnonzero(other >= 0)
        one = one[np.abs(grey[one] - grey[other[one]]) <= rule.link]
        links.append(np.stack([one, other[one]]))
    pairs = np.concatenate(links, axis=1)
    graph = sparse.coo_matrix((np.ones(pairs.shape[1]), pairs), shape=(len(grey), len(grey)))
    count, label = connected_components(graph, directed=False)
    pixels = np.bincount(label).astype(float)
    mean, sharpness, rest = (np.bincount(label, values) / pixels for values in (grey, steps, unrest))
    spread = np.sqrt(np.bincount(label, (grey - mean[label]) ** 2) / pixels)
    boxes = np.tile([y.max() + 1, x.max() + 1, 0, 0], (count, 1))
    np.minimum.at(boxes[:, 0], label, y)
    np.minimum.at(boxes[:, 1], label, x)
    np.maximum.at(boxes[:, 2], label, y + 1)
    np.maximum.at(boxes[:, 3], label, x + 1)
    size = boxes[:, 2:] - boxes[:, :2]
    good = (pixels >= rule.fewest) & (spread < rule.even) & (sharpness >= rule.sharp)
    good &= (size[:, 0] <= TALLEST) & (size[:, 1] <= LONGEST)
    good &= (size.max(1) < TRACE) | (pixels > THICK * size.max(1))
    weight = pixels * np.clip((sharpness - 3) / 3, 0, 1) * np.clip(1 - spread / rule.even, 0, 1)
    weight *= np.clip(-np.log2(rest) / STILLEST, 0, 1)
    kept = np.flatnonzero(good)
    kept = kept[np.argsort(-weight[kept], kind="stable")[:MOST]]
    return Strokes(weight[kept], mean[kept], boxes[kept])


def words_of(strokes: Strokes, rule: Rule, top: int, left: int) -> tuple[TextBox, ...]:
    """Strokes near each other and of like grey, heavy enough; (top, left) is added to their boxes."""
    if not len(strokes.weight):
        return ()
    low, high = strokes.boxes[:, :2], strokes.boxes[:, 2:]
    gap = np.maximum(low[:, None], low) - np.minimum(high[:, None], high)
    size = np.maximum((high - low).max(1)[:, None], (high - low).max(1))
    near = (gap[..., 0] <= 1 + 0.3 * size) & (gap[..., 1] <= 3 + 0.7 * size)
    near &= np.abs(strokes.grey[:, None] - strokes.grey) <= rule.same
    _, label = connected_components(sparse.coo_matrix(near), directed=False)
    weight = np.bincount(label, strokes.weight)
    found = []
    for word in np.argsort(-weight):
        if weight[word] < rule.enough:
            break
        box = strokes.boxes[label == word]
        (a, b), (c, d) = box[:, :2].min(0).tolist(), box[:, 2:].max(0).tolist()
        if min(c - a, d - b) >= SMALLEST and d - b >= WIDE * (c - a):
            found.append(TextBox(a + top, b + left, c + top, d + left))
    return tuple(found)
