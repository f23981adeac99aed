"""Strokes of letters, patches of like grey that end sharply, and words of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
SURELY = 0.99
"""Share of the weight that makes a word: less, however it is rounded, makes none."""
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


class TextBox(NamedTuple):
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


@dataclass(frozen=True)
class SharpPixels:
    """Pixels of a picture that strokes are looked for among, row by row: what is known of each of n."""

    at: tuple[NDArray[np.int64], ...]
    """Rows and columns."""
    grey: NDArray[np.integer]
    steps: NDArray[np.integer]
    """How many of the eight pixels two away are a step off."""
    unrest: NDArray[np.floating]
    """Flicker as a share of that around."""


def find_strokes(pixels: SharpPixels, rule: Rule) -> Strokes:
    """Join the pixels of a picture to their neighbours of like grey; keep what may be of a letter."""
    return strokes_of_each([pixels], rule)[0]


def strokes_of_each(pictures: Sequence[SharpPixels], rule: Rule) -> list[Strokes]:
    """The strokes of several pictures, found at once: each by itself costs as much for a few pixels."""
    number = np.repeat(np.arange(len(pictures)), [len(one.grey) for one in pictures])
    if not len(number):
        return [Strokes(np.empty(0), np.empty(0), np.empty((0, 4), dtype=np.int64)) for _ in pictures]
    y, x = (np.concatenate([one.at[axis] for one in pictures]) for axis in (0, 1))
    grey = np.concatenate([one.grey for one in pictures]).astype(float)
    graph = neighbours(number, y, x, grey, rule)
    count, label = connected_components(graph, directed=False)
    pixels = np.bincount(label).astype(float)
    steps, unrest = (np.concatenate([getattr(one, name) for one in pictures]) for name in ("steps", "unrest"))
    mean, sharpness, rest = (np.bincount(label, values) / pixels for values in (grey, steps, unrest))
    spread = np.sqrt(np.bincount(label, (grey - mean[label]) ** 2) / pixels)
    good = (pixels >= rule.fewest) & (spread < rule.even) & (sharpness >= rule.sharp)
    mine = good[label]
    boxes = np.tile([y.max() + 1, x.max() + 1, 0, 0], (count, 1))
    for side, (extreme, values) in enumerate(
        ((np.minimum, y), (np.minimum, x), (np.maximum, y + 1), (np.maximum, x + 1))
    ):
        extreme.at(boxes[:, side], label[mine], values[mine])
    size = boxes[:, 2:] - boxes[:, :2]
    good &= (size[:, 0] <= TALLEST) & (size[:, 1] <= LONGEST)
    good &= (size.max(1) < TRACE) | (pixels > THICK * size.max(1))
    weight = pixels * np.clip((sharpness - 3) / 3, 0, 1) * np.clip(1 - spread / rule.even, 0, 1)
    weight *= np.clip(-np.log2(rest) / STILLEST, 0, 1)
    picture = np.empty(count, dtype=np.int64)
    picture[label] = number
    found = []
    for one in range(len(pictures)):
        kept = np.flatnonzero(good & (picture == one))
        kept = kept[np.argsort(-weight[kept], kind="stable")[:MOST]]
        found.append(Strokes(weight[kept], mean[kept], boxes[kept]))
    return found


def neighbours(
    number: NDArray[np.int64],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    grey: NDArray[np.floating],
    rule: Rule,
) -> sparse.coo_matrix:
    """Which of the pixels (n,), in order of picture, row and column, touch and are of like grey: (n, n)."""
    width = int(x.max()) + 2
    place = (number * (int(y.max()) + 2) + y) * width + x  # a free column and row part what does not touch
    links = []
    for step in (1, width, width + 1, width - 1):
        other = np.searchsorted(place, place + step)
        one = np.flatnonzero(place[np.minimum(other, len(place) - 1)] == place + step)
        one = one[np.abs(grey[one] - grey[other[one]]) <= rule.link]
        links.append(np.stack([one, other[one]]))
    pairs = np.concatenate(links, axis=1)
    return sparse.coo_matrix((np.ones(pairs.shape[1]), pairs), shape=(len(grey), len(grey)))


def of_like_grey(grey: NDArray[np.floating], same: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs (m,), (m,) of greys (n,) that differ by no more: sorted, so that few are compared in vain."""
    order = np.argsort(grey)
    up = grey[order]
    after = np.searchsorted(up, up + (same + 1), side="right") - np.arange(1, len(up) + 1)
    first = np.repeat(np.arange(len(up)), after)
    second = np.arange(len(first)) - np.repeat(np.cumsum(after) - after, after) + first + 1
    one, other = order[first], order[second]
    like = np.abs(grey[one] - grey[other]) <= same
    return one[like], other[like]


def words_of(strokes: Strokes, rule: Rule, top: int, left: int) -> tuple[TextBox, ...]:
    """Strokes near each other and of like grey, heavy enough; (top, left) is added to their boxes."""
    if strokes.weight.sum() < SURELY * rule.enough:  # too light all together
        return ()
    low, high = strokes.boxes[:, :2], strokes.boxes[:, 2:]
    one, other = of_like_grey(strokes.grey, rule.same)
    gap = np.maximum(low[one], low[other]) - np.minimum(high[one], high[other])
    size = np.maximum((high - low).max(1)[one], (high - low).max(1)[other])
    near = (gap[:, 0] <= 1 + 0.3 * size) & (gap[:, 1] <= 3 + 0.7 * size)
    links, count = (one[near], other[near]), len(strokes.weight)
    graph = sparse.coo_matrix((np.ones(len(links[0])), links), shape=(count, count))
    _, label = connected_components(graph, directed=False)
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
