"""Strokes of letters, patches of like grey that end sharply, and words of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from echojepa.data.sector.lines import THICK, TRACE

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


@dataclass(frozen=True)
class Rule:
    """What makes strokes and words, in grey levels and pixels; stricter where stillness does not help."""

    link: int
    """Neighbours of one stroke differ by no more; anti-aliased strokes waver."""
    even: float
    """Standard deviation of a stroke's greys at which it counts nothing; it counts in full at 0."""
    edges: int
    """Minimum number, for every pixel of a stroke, of the eight pixels two away that differ by a step."""
    sharp: float
    """Minimum mean of that number."""
    fewest: int
    """Minimum number of pixels of a stroke."""
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

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.left, self.right)


@dataclass(frozen=True)
class Strokes:
    """Patches of like grey: one entry each."""

    weight: NDArray[np.floating]
    """Pixels, each counted by sharpness, evenness and stillness from 0 to 1."""
    grey: NDArray[np.floating]
    boxes: NDArray[np.int64]
    """(n, 4) top, left, bottom, right within the sector's box."""


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
