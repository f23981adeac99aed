"""Text that is not still, or is dark on a bar: shown in some frames only, blinking, fading, moving.

`burned_text` finds text that is still through a whole loop. Here, single frames are searched for strokes of
one grey with sharp ends, by its rule for stills; a word must be at the same place in at least two frames. An
ECG over the image also has such strokes, but is a long thin curve: words on such a curve do not count, nor do
words of which few columns cross two strokes. Dark letters are searched for only on bars, which are flat and
brighter than any tissue.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echojepa.data.sector.fan import Mask
from echojepa.data.sector.strokes import DARKEST, FRAME, STEP, Rule, TextBox, find_strokes, words_of

filters: Any = ndimage  # scipy carries no types
FRAMES = 32
"""Frames of a loop that are looked at one by one."""
SEEN = 2
"""Frames in which a word must be seen about the same place."""
MOVED = 4
"""Pixels by which its sides may move from one of them to the other."""
CURVE, CROSSING = 60, 0.4
"""Pixels of a curve's longer side at least, and share of a word's columns with it that makes it no word."""
PASSING = replace(FRAME, enough=14.0)
"""As of a still, but a word must weigh more: many frames are asked."""
LOWEST = 8
"""Pixels of a word's height at least."""
CROSSED = 0.3
"""Share of a word's columns that cross two strokes or more, at least."""
BAR_GREY, FLAT = 140, 10
"""A bar is at least this bright, and its pixels differ by no more from their neighbours."""
BAR_AREA = 150
"""Pixels of a bar at least."""
BAR_FILLED = 0.3
"""Share of its box that is flat, at least: letters leave that much."""


def passing_words(grey: NDArray[np.int16], inside: Mask) -> list[TextBox]:
    """Words in the frames (n, H, W) of a loop's box that are seen in several; `inside` is the sector."""
    chosen = np.unique(np.linspace(0, len(grey) - 1, min(FRAMES, len(grey))).astype(int))
    by_frame = [frame_words(grey[index], inside) for index in chosen]
    found = []
    for number, words in enumerate(by_frame):
        others = by_frame[:number] + by_frame[number + 1 :]
        seen = [
            w for w in words if sum(any(is_near(w, one) for one in there) for there in others) >= SEEN - 1
        ]
        if seen:
            curves = long_curves(grey[chosen[number]])
            found += [word for word in seen if not is_crossed(word, curves)]
    return found


def is_crossed(word: TextBox, curves: Mask) -> bool:
    """Whether a curve goes through a word from side to side, or nearly so: then it is of the curve."""
    part = curves[word.rows, word.columns]
    return bool(part.any(0).mean() >= CROSSING)


def long_curves(grey: NDArray[np.int16]) -> Mask:
    """(H, W) thin bright pieces that are longer than letters: an ECG over the picture."""
    thin = filters.white_tophat(grey, 5) > STEP
    labels, count = filters.label(thin, np.ones((3, 3)))
    if not count:
        return thin
    sides = [max(side.stop - side.start for side in box) for box in filters.find_objects(labels)]
    return np.array([False, *(side >= CURVE for side in sides)])[labels]


def frame_words(grey: NDArray[np.int16], inside: Mask) -> list[TextBox]:
    """Words in one frame (H, W), bright ones and dark ones on a bar."""
    words = sharp_words(grey, inside & (grey >= DARKEST), PASSING)
    bars = bar_pixels(grey, inside)
    if bars.any():
        words += sharp_words(255 - grey, bars & (255 - grey >= DARKEST), PASSING)
    return words


def sharp_words(grey: NDArray[np.int16], among: Mask, rule: Rule) -> list[TextBox]:
    """Words of sharp strokes among some pixels of a picture (H, W)."""
    steps = steps_everywhere(grey)
    sharp = among & (steps >= rule.edges)
    at = np.nonzero(sharp)
    if not len(at[0]):
        return []
    rest = np.full(len(at[0]), 1 / 16)
    strokes = find_strokes(at, grey[at].astype(float), steps[at].astype(np.int64), rest, rule)
    return [word for word in words_of(strokes, rule, 0, 0) if is_lettered(sharp, word)]


def steps_everywhere(grey: NDArray[np.int16]) -> NDArray[np.uint8]:
    """(H, W) how many of the eight pixels two away from each are a step off."""
    padded = np.pad(grey, 2, mode="edge")
    height, width = grey.shape
    steps, apart = np.zeros(grey.shape, dtype=np.uint8), np.empty_like(grey)
    for down, across in ((0, 0), (0, 2), (0, 4), (2, 0), (2, 4), (4, 0), (4, 2), (4, 4)):
        np.subtract(padded[down : down + height, across : across + width], grey, out=apart)
        steps += np.abs(apart, out=apart) > STEP
    return steps


def is_lettered(sharp: Mask, word: TextBox) -> bool:
    """Whether enough columns of a word cross several strokes; those of a curve cross one."""
    if word.bottom - word.top < LOWEST:
        return False
    part = sharp[word.rows, word.columns]
    begins = (part & ~np.pad(part, ((1, 0), (0, 0)))[:-1]).sum(0)
    crossed = begins[begins > 0]
    return bool((crossed >= 2).mean() >= CROSSED)


def is_near(one: TextBox, other: TextBox) -> bool:
    """Whether two words are of one place and size, but for a few pixels."""
    sides = zip(
        (one.top, one.left, one.bottom, one.right),
        (other.top, other.left, other.bottom, other.right),
        strict=True,
    )
    return all(abs(mine - theirs) <= MOVED for mine, theirs in sides)


def bar_pixels(grey: NDArray[np.int16], inside: Mask) -> Mask:
    """(H, W) bars, the letters in them too: boxes of which a good part is flat and bright."""
    bars = np.zeros(grey.shape, dtype=bool)
    core = (inside & (grey >= BAR_GREY))[1:-1, 1:-1].copy()
    for down, across in ((0, 1), (1, 0), (1, 2), (2, 1)):
        beside = grey[down : down + core.shape[0], across : across + core.shape[1]]
        core &= np.abs(beside - grey[1:-1, 1:-1]) <= FLAT
    if core.sum() < BAR_AREA:
        return bars
    labels, _ = filters.label(core)
    areas = np.bincount(labels.ravel())[1:]
    for (rows, columns), area in zip(filters.find_objects(labels), areas, strict=True):
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        if area >= BAR_AREA and area >= BAR_FILLED * size:
            bars[rows.start : rows.stop + 2, columns.start : columns.stop + 2] = True
    return bars & inside
