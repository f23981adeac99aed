"""What stands around the ultrasound on a scanner's screen: text, scales, ECG, buttons, clocks.

A layout (`layouts`) knows its size and paints two kinds of overlay: what stands still, once, and
what moves, on every frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from echojepa.data.reading.cine import Region
from echojepa.data.reading.frames import luma
from echojepa.phantom.scanner.settings import Scanner

Colour = int | tuple[int, int, int]
CAPITAL = 0.72
"""Height of a capital letter of the built-in font, as a share of the font's size."""


@dataclass(frozen=True)
class Identity:
    """What a scanner writes on the screen about the person."""

    name: str
    number: str
    date: str


@dataclass(frozen=True)
class PlantedText:
    """Text burned into the picture itself: pixels from the screen's corner, height of the letters, grey."""

    text: str
    x: int
    y: int
    size: int = 14
    level: int = 220


@dataclass(frozen=True)
class Screen:
    """A loop as shown, with the truth of what is where."""

    frames: NDArray[np.uint8]
    """(T, H, W) grey or (T, H, W, 3) RGB."""
    region: Region
    """The calibrated rectangle around the sector, clipped to the screen."""
    sector: NDArray[np.bool_]
    """(H, W) where the ultrasound is."""
    overlay: NDArray[np.bool_]
    """(T, H, W) which pixels are drawn over, or beside, the ultrasound."""


class Painter:
    """Draws on one frame; knows where the sector stands, what was recorded and how far the loop is."""

    def __init__(self, canvas: Image.Image, case: Case) -> None:
        self.canvas, self.case = canvas, case
        self.pen: Any = ImageDraw.Draw(canvas)
        self.width, self.height = canvas.size

    def text(self, x: float, y: float, words: str, fill: Colour, size: int | None = None) -> None:
        """Words with their upper left corner at (x, y)."""
        self.pen.text((x, y), words, fill=fill, font=ImageFont.load_default(size) if size else None)

    def scale(self, x: int, fill: Colour, side: int, numbers: bool = True) -> None:
        """A tick every 10 mm, longer and numbered every 50; `side` is +1 for ticks to the right, or -1."""
        scanner = self.case.scanner
        for depth in range(0, int(scanner.depth) + 1, 10):
            y = self.case.top + depth / scanner.mm_per_pixel
            self.pen.line((x, y, x + side * (10 if depth % 50 == 0 else 5), y), fill=fill)
            if numbers and depth and depth % 50 == 0:
                self.text(x + (14 if side > 0 else -30), y - 6, str(depth // 10), fill, 11)

    def bar(self, x: int, y: int, height: int, low: Colour, high: Colour) -> None:
        """A bar of greys or colours, 10 pixels wide, from high down to low."""
        ends = np.asarray(low), np.asarray(high)
        for row in range(height):
            level = ends[1] + (ends[0] - ends[1]) * row / height
            fill: Any = int(level) if level.ndim == 0 else tuple(level.astype(int).tolist())
            self.pen.line((x, y + row, x + 9, y + row), fill=fill)

    def buttons(self, names: Sequence[str], top: int, fill: Colour, ink: Colour) -> None:
        """A row of buttons across the screen."""
        step = self.width // len(names)
        for number, name in enumerate(names):
            self.pen.rectangle((number * step + 3, top, (number + 1) * step - 4, top + 20), fill=fill)
            self.text(number * step + 10, top + 3, name, ink, 11)

    def logo(self, x: int, y: int, size: int, fill: Colour) -> None:
        """A made-up glyph: a ring with a wave in it."""
        self.pen.ellipse((x, y, x + size, y + size), outline=fill, width=2)
        points = [(x + size * k / 8, y + size * (0.5 + 0.25 * math.sin(k))) for k in range(9)]
        self.pen.line(points, fill=fill, width=2)

    def ecg(self, base: int, tall: int, fill: Colour, sweep: float) -> None:
        """A trace across the screen, written from the left in `sweep` seconds, the last one still there."""
        case = self.case
        columns = np.arange(self.width)
        cursor = (case.now % sweep) / sweep * self.width
        behind = np.where(columns <= cursor, cursor - columns, cursor - columns + self.width)
        times = case.start + case.now - behind / self.width * sweep
        rows = base - np.rint(tall * ecg_wave(times, case.r_waves)).astype(int)
        for column in range(1, self.width):
            written = column <= cursor or column > cursor + 12
            if written and behind[column - 1] - behind[column] < 2:
                self.pen.line((column - 1, int(rows[column - 1]), column, int(rows[column])), fill=fill)

    def heart_rate(self, x: int, y: int, fill: Colour, size: int) -> None:
        """A readout that wavers by a beat or two over the loop."""
        waver = round(2 * math.sin(4 * (self.case.start + self.case.now)))
        self.text(x, y, f"{round(self.case.heart_rate) + waver} bpm", fill, size)

    def clock(self, x: int, y: int, radius: int, fill: Colour) -> None:
        """A dial whose hand goes round in two seconds."""
        angle = math.pi * self.case.now
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=fill)
        self.pen.line((x, y, x + radius * math.sin(angle), y - radius * math.cos(angle)), fill=fill, width=2)

    def recording_dot(self, x: int, y: int, fill: Colour) -> None:
        """A dot that blinks four times a second."""
        if int(self.case.now * 8) % 2 == 0:
            self.pen.ellipse((x, y, x + 10, y + 10), fill=fill)


@dataclass
class Case:
    """What a painter may show: the recording, the person, and the moment."""

    scanner: Scanner
    r_waves: NDArray[np.float64]
    """(n,) times of R waves, s, from before the loop to after it, on the clock that `start` is on."""
    heart_rate: float
    """Beats a minute."""
    start: float
    """When the loop begins, s."""
    identity: Identity
    nyquist: float | None = None
    """Velocity at which colour Doppler wraps, m/s; None without colour."""
    top: int = 0
    now: float = 0.0


def ecg_wave(times: NDArray[np.float64], r_waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sketch of an ECG: an R wave at each of its times, a T wave a third of the beat later, 0 to 1."""
    following = np.clip(np.searchsorted(r_waves, times, side="right"), 1, len(r_waves) - 1)
    begin, end = r_waves[following - 1], r_waves[following]
    nearest = np.minimum(np.abs(times - begin), np.abs(times - end))
    phase = (times - begin) / (end - begin)
    return np.exp(-((nearest / 0.01) ** 2)) + 0.25 * np.exp(-(((phase - 0.33) / 0.05) ** 2))


@dataclass(frozen=True)
class ScreenLayout:
    """A screen: its size, where the apex of the sector stands, and what is painted around it."""

    name: str
    width: int
    height: int
    picture: int
    """Height of the sector's picture, pixels: the `Scanner.height` to record with."""
    apex: tuple[int, int]
    """Column and row of the picture's top middle."""
    still: Callable[[Painter], None]
    moving: Callable[[Painter], None]
    background: Colour = 0
    face: float = 0.0
    """Curved arrays: radius of the probe's face as a share of the depth; 0 for phased arrays."""
    colour_bar: tuple[int, int] = (2, 40)
    """Upper left corner of the scale of colours where Doppler is on."""


def show(
    pictures: NDArray[np.uint8],
    sector: NDArray[np.bool_],
    layout: ScreenLayout,
    case: Case,
    planted: Sequence[PlantedText] = (),
) -> Screen:
    """Put pictures (T, h, w) or (T, h, w, 3) of a sector (h, w) on a screen; what sticks out is cut off.

    `case.scanner` must have recorded them with `layout.picture` rows. A grey screen turns RGB for pictures in
    colour, and shows the scale of colours then.
    """
    case.top = layout.apex[1]
    colour = pictures.ndim == 4 or not isinstance(layout.background, int)
    backdrop = paint_backdrop(layout, case, colour)
    drawn = backdrop != np.asarray(layout.background, dtype=np.uint8)
    sector = sector & (reach_of(sector.shape) >= layout.face * case.scanner.height)
    shown, there = clip_to_screen(layout, sector.shape)
    mask = np.zeros(backdrop.shape[:2], dtype=bool)
    mask[there] = sector[shown]
    frames = np.repeat(backdrop[None], len(pictures), axis=0)
    overlay = np.repeat((drawn.any(-1) if colour else drawn)[None] & ~mask, len(pictures), axis=0)
    for frame, picture in zip(frames, pictures, strict=True):
        values = picture[shown][sector[shown]]
        frame[mask] = values[:, None] if colour and values.ndim == 1 else values
    burned = burn_in(frames, planted)
    for number, (before, frame) in enumerate(zip(frames, burned, strict=True)):
        case.now = number / case.scanner.frame_rate
        paint_moving(layout, case, frame)
        changed = burned[number] != before
        overlay[number] |= changed.any(-1) if colour else changed
    rows, columns = there
    size = (case.scanner.mm_per_pixel, case.scanner.mm_per_pixel)
    region = Region(columns.start, rows.start, columns.stop - 1, rows.stop - 1, mm_per_pixel=size)
    return Screen(burned, region, mask, overlay)


def paint_backdrop(layout: ScreenLayout, case: Case, colour: bool) -> NDArray[np.uint8]:
    """What stands still: (H, W), or (H, W, 3) for a screen with colours."""
    grey = isinstance(layout.background, int)
    canvas = Image.new("L" if grey else "RGB", (layout.width, layout.height), layout.background)
    layout.still(Painter(canvas, case))
    if colour and grey:
        canvas = canvas.convert("RGB")
    if case.nyquist is not None:
        painter, (x, y) = Painter(canvas, case), layout.colour_bar
        tall = max(8, layout.height // 12)
        painter.bar(x, y, tall, (60, 10, 10), (255, 230, 60))
        painter.bar(x, y + tall, tall, (60, 230, 255), (10, 10, 60))
        painter.text(x, y - 12, f"{100 * case.nyquist:.0f}", (220, 220, 220), 10)
    return np.asarray(canvas)


def paint_moving(layout: ScreenLayout, case: Case, frame: NDArray[np.uint8]) -> None:
    """Paint what moves over a frame in place. Grey painters know greys only: on a coloured frame they paint
    on its luma, and what they changed is taken over."""
    grey = isinstance(layout.background, int)
    before = luma(frame) if grey and frame.ndim == 3 else frame
    painter = Painter(Image.fromarray(before), case)
    layout.moving(painter)
    after = np.asarray(painter.canvas)
    if before is frame:
        frame[:] = after
    else:
        changed = after != before
        frame[changed] = after[changed][:, None]


def burn_in(frames: NDArray[np.uint8], planted: Sequence[PlantedText]) -> NDArray[np.uint8]:
    """A copy of frames (T, H, W) or (T, H, W, 3) with text written over every one."""
    burned = frames.copy()
    for words in planted:
        level: Colour = words.level if frames.ndim == 3 else (words.level, words.level, words.level)
        font = ImageFont.load_default(round(words.size / CAPITAL))
        for number, frame in enumerate(burned):
            canvas = Image.fromarray(frame)
            ImageDraw.Draw(canvas).text((words.x, words.y), words.text, fill=level, font=font)
            burned[number] = np.asarray(canvas)
    return burned


def reach_of(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Distance (h, w) of a picture's pixels from its top middle, pixels."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(columns - shape[1] // 2, rows + 0.5)


def clip_to_screen(
    layout: ScreenLayout, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Which part of a picture (h, w) the screen has room for, and where on the screen it stands."""
    left, top = layout.apex[0] - shape[1] // 2, layout.apex[1]
    rows = slice(max(0, -top), min(shape[0], layout.height - top))
    columns = slice(max(0, -left), min(shape[1], layout.width - left))
    there = slice(rows.start + top, rows.stop + top), slice(columns.start + left, columns.stop + left)
    return (rows, columns), there
