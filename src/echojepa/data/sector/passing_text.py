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
from echojepa.data.sector.lines import joined_pixels
from echojepa.data.sector.strokes import (
    DARKEST,
    FRAME,
    STEP,
    Rule,
    SharpPixels,
    TextBox,
    strokes_of_each,
    words_of,
)

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


def passing_words(grey: NDArray[np.uint8], inside: Mask) -> list[TextBox]:
    """Words in the frames (n, H, W) of a loop's box that are seen in several; `inside` is the sector."""
    chosen = grey[np.unique(np.linspace(0, len(grey) - 1, min(FRAMES, len(grey))).astype(int))]
    by_frame = words_of_frames(chosen, inside)
    found = []
    for number, words in enumerate(by_frame):
        others = by_frame[:number] + by_frame[number + 1 :]
        seen = [
            w for w in words if sum(any(is_near(w, one) for one in there) for there in others) >= SEEN - 1
        ]
        if seen:
            curves = long_curves(chosen[number])
            found += [word for word in seen if not is_crossed(word, curves)]
    return found


def is_crossed(word: TextBox, curves: Mask) -> bool:
    """Whether a curve goes through a word from side to side, or nearly so: then it is of the curve."""
    part = curves[word.rows, word.columns]
    return bool(part.any(0).mean() >= CROSSING)


def long_curves(grey: NDArray[np.uint8]) -> Mask:
    """(H, W) thin bright pieces that are longer than letters: an ECG over the picture."""
    thin = filters.white_tophat(grey, 5) > STEP
    labels, sides = joined_pixels(thin)
    return np.append(False, sides.max(axis=1) >= CURVE)[labels]


def words_of_frames(grey: NDArray[np.uint8], inside: Mask) -> list[list[TextBox]]:
    """Words in each of some frames (n, H, W), bright ones and then dark ones on a bar."""
    whose, sharp, pixels = [], list[Mask](), list[SharpPixels]()
    for number, frame in enumerate(grey):
        pictures = [(frame, inside)]
        bars = bar_pixels(frame, inside)
        if bars.any():
            pictures.append((255 - frame, bars))
        for picture, among in pictures:
            edges, found = sharp_pixels(picture, among & (picture >= DARKEST), PASSING)
            whose.append(number)
            sharp.append(edges)
            pixels.append(found)
    words: list[list[TextBox]] = [[] for _ in grey]
    for number, edges, strokes in zip(whose, sharp, strokes_of_each(pixels, PASSING), strict=True):
        words[number] += [word for word in words_of(strokes, PASSING, 0, 0) if is_lettered(edges, word)]
    return words


def sharp_pixels(grey: NDArray[np.uint8], among: Mask, rule: Rule) -> tuple[Mask, SharpPixels]:
    """Pixels of sharp strokes among some of a picture (H, W): where they are, and what is known of each."""
    steps = steps_everywhere(grey)
    sharp = among & (steps >= rule.edges)
    at = np.nonzero(sharp)
    return sharp, SharpPixels(at, grey[at], steps[at], np.full(len(at[0]), 1 / 16))


def steps_everywhere(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) how many of the eight pixels two away from each are a step off."""
    padded = np.pad(grey, 2, mode="edge")
    height, width = grey.shape
    steps = np.zeros(grey.shape, dtype=np.uint8)
    for down, across in ((0, 2), (2, 0), (2, 2), (2, -2)):
        # Of every pixel with the one so far from it; the same pair counts for both.
        left, right = max(0, -across), max(0, across)
        one = padded[: height + 4 - down, left : width + 4 - right]
        other = padded[down:, right : width + 4 - left]
        apart = (np.maximum(one, other) - np.minimum(one, other) > STEP).view(np.uint8)
        steps += apart[2 : 2 + height, 2 - left : 2 - left + width]
        steps += apart[2 - down : 2 - down + height, 2 - left - across : 2 - left - across + width]
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
    return all(abs(mine - theirs) <= MOVED for mine, theirs in zip(one, other, strict=True))


def bar_pixels(grey: NDArray[np.uint8], inside: Mask) -> Mask:
    """(H, W) bars, the letters in them too: boxes of which a good part is flat and bright."""
    bars = np.zeros(grey.shape, dtype=bool)
    core = (inside & (grey >= BAR_GREY))[1:-1, 1:-1]
    if np.count_nonzero(core) < BAR_AREA:
        return bars
    below = np.maximum(grey[1:], grey[:-1]) - np.minimum(grey[1:], grey[:-1]) <= FLAT
    beside = np.maximum(grey[:, 1:], grey[:, :-1]) - np.minimum(grey[:, 1:], grey[:, :-1]) <= FLAT
    core = core & below[1:, 1:-1] & below[:-1, 1:-1] & beside[1:-1, 1:] & beside[1:-1, :-1]
    if np.count_nonzero(core) < BAR_AREA:
        return bars
    labels, _ = filters.label(core)
    areas = np.bincount(labels[core])
    large = np.flatnonzero(areas >= BAR_AREA)
    if not len(large):
        return bars
    boxes = filters.find_objects(labels)
    for number in large.tolist():
        rows, columns = boxes[number - 1]
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        if areas[number] >= BAR_FILLED * size:
            bars[rows.start : rows.stop + 2, columns.start : columns.stop + 2] = True
    return bars & inside
