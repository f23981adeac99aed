"""Claims about names in the picture that are not still, or dark: found by kind, and no clean loop is held."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import minimum_filter

from echojepa.data.sector.burned_text import find_text
from echojepa.data.sector.passing_text import is_crossed, is_lettered, long_curves
from echojepa.data.sector.sector import Sector
from echojepa.data.sector.strokes import TextBox
from echojepa.phantom.cohort.loops import one_loop
from echojepa.phantom.screen.layouts import LAYOUTS
from echojepa.vocabulary import View

CAPITAL = 0.72
"""Height of a capital letter as a share of the font's size."""
Frame = NDArray[np.uint8]


@cache
def clean(screen: int) -> tuple[Frame, NDArray[np.bool_]]:
    """Frames and sector of a phantom loop without text, with little of its surroundings."""
    recorded = one_loop(View.A4C, 0.3, LAYOUTS[screen], seed=3)
    box = Sector(recorded.sector).box
    return recorded.loop.frames[:, *box], recorded.sector[box]


def letters(words: str, size: int) -> NDArray[np.float64]:
    """Coverage of the pixels by letters, 0 to 1."""
    font = ImageFont.load_default(round(size / CAPITAL))
    left, top, right, bottom = (round(side) for side in font.getbbox(words))
    image = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), words, fill=255, font=font)
    return np.asarray(image).astype(float) / 255


def stacked(words: str, size: int) -> NDArray[np.float64]:
    """Letters below each other."""
    parts = [letters(letter, size) for letter in words]
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((1, 1), (0, width - part.shape[1]))) for part in parts])


def put(frame: Frame, ink: NDArray[np.float64], y: int, x: int, level: int) -> None:
    """Draw into a frame (H, W) or (H, W, 3)."""
    part = frame[y : y + ink.shape[0], x : x + ink.shape[1]]
    cover = ink if part.ndim == 2 else ink[..., None]
    part[:] = np.clip(part * (1 - cover) + cover * level, 0, 255).astype(np.uint8)


def burned(
    screen: int,
    ink: NDArray[np.float64],
    show: Callable[[int, int], tuple[bool, int, int, float]],
    level: int = 255,
    bar: bool = False,
) -> tuple[Frame, Sector]:
    """The loop with letters; `show` says of each frame whether they are there, where, and how opaque."""
    frames, sector = clean(screen)
    frames = frames.copy()
    room = minimum_filter(sector.astype(np.uint8), (ink.shape[0] + 24, ink.shape[1] + 24), mode="constant")
    rows, columns = np.nonzero(room)
    middle = len(rows) // 2
    top, left = int(rows[middle] - ink.shape[0] // 2), int(columns[middle] - ink.shape[1] // 2)
    for number, frame in enumerate(frames):
        shown, down, across, opaque = show(number, len(frames))
        if shown:
            y, x = top + down, left + across
            if bar:
                frame[y - 4 : y + ink.shape[0] + 4, x - 4 : x + ink.shape[1] + 4] = 255
            put(frame, ink * opaque, y, x, 0 if bar else level)
    return frames, Sector(sector)


ALWAYS = lambda number, count: (True, 0, 0, 1.0)  # noqa: E731
SHOWN: dict[str, Callable[[int, int], tuple[bool, int, int, float]]] = {
    "in some frames": lambda number, count: (count // 4 <= number < count // 2, 0, 0, 1.0),
    "in every other frame": lambda number, count: (number % 2 == 0, 0, 0, 1.0),
    "in two frames": lambda number, count: (number in (count // 2, count // 2 + 1), 0, 0, 1.0),
    "moving by a pixel": lambda number, count: (True, number % 2, number // 2 % 2, 1.0),
    "scrolling": lambda number, count: (True, 0, number // 4, 1.0),
    "fading": lambda number, count: (True, 0, 0, abs(1 - 2 * number / (count - 1))),
}
SCREENS = (0, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow))


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize("screen", SCREENS)
def test_a_name_that_is_not_still_is_found(kind: str, screen: int) -> None:
    assert find_text(*burned(screen, letters("DOE JANE", 16), SHOWN[kind]))


@pytest.mark.parametrize("size", [12, 18])
@pytest.mark.parametrize("screen", SCREENS)
def test_black_letters_on_a_white_bar_are_found(size: int, screen: int) -> None:
    assert find_text(*burned(screen, letters("DOE JANE", size), ALWAYS, bar=True))
    assert find_text(*burned(screen, letters("DOE JANE", size), SHOWN["in some frames"], bar=True))


@pytest.mark.parametrize(
    "ink", [stacked("DOEJANE", 14), np.rot90(letters("DOE JANE", 16)), letters("DOE", 14)]
)
@pytest.mark.parametrize("screen", SCREENS)
def test_vertical_turned_and_short_names_are_found(ink: NDArray[np.float64], screen: int) -> None:
    assert find_text(*burned(screen, ink, ALWAYS))


@pytest.mark.parametrize(
    "screen", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, len(LAYOUTS)))]
)
def test_no_clean_loop_is_held(screen: int) -> None:
    frames, sector = clean(screen)
    assert not find_text(frames, Sector(sector))


@pytest.mark.parametrize("height", [0, 6, 20])
def test_a_curve_is_no_word(height: int) -> None:
    picture = Image.new("L", (160, 80), 20)
    points = [(x, 40 - (height if x % 40 == 30 else x % 3)) for x in range(10, 150, 5)]
    ImageDraw.Draw(picture).line(points, fill=220, width=2)
    grey = np.asarray(picture).astype(np.int16)
    assert long_curves(grey)[grey > 100].mean() > 0.9
    assert is_crossed(TextBox(20, 40, 44, 90), long_curves(grey))
    assert not is_lettered(grey > 100, TextBox(0, 10, 60, 150))
