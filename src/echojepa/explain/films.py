"""Maps laid over the frames they were made from: on their grid, in the loop's true pixels, at its true times.

One rule for what is shown: a token that gets its even share or less stays as it is; above that it is
coloured, the more the higher, up to the top of the scale. One scale holds for all loops and backbones that a
source is shown of: its top is the 99th percentile of all their tokens inside the sector, and at least
TOP_AT_LEAST. Cells are not smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from echojepa.backbones.contract import Backbone
from echojepa.config import InputSpec
from echojepa.data.clips.clips import places
from echojepa.explain.loops import ShownLoop, cells_inside
from echojepa.explain.sources import ClipBatch, MapSource

RULE = (
    "Colour begins at a token's even share (1x; lower values have no colour). It is full at the top of "
    "the scale: the 99th percentile of tokens in the sector, over all loops and backbones shown for the "
    "source, and at least 1.2x. Nothing is inverted or smoothed, and a head is shown alone only if it is "
    "named."
)
TOP_PERCENTILE, TOP_AT_LEAST = 99, 1.2
"""Top of the scale, and its minimum; the minimum keeps the noise of an even map uncoloured."""
STRENGTH = 0.7
"""Opacity of the brightest colour."""
COLOURS = (matplotlib.colormaps["inferno"](np.linspace(0.25, 1, 256))[:, :3] * 255).astype(np.float32)
BAND, LEGEND = 18, 60
"""Pixels of a line of words, and of the bar of colours in it."""
SMALLEST = 240
"""Pixels of a panel's longer side at least: pictures are enlarged by whole numbers up to it."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class LoopMap:
    """One source of one backbone over a whole loop."""

    backbone: str
    source: str
    spec: InputSpec
    starts: list[float]
    """When its clips begin, see `clock`."""
    maps: NDArray[np.float32]
    """(clips, T', H', W'), times an even share."""
    sector: NDArray[np.bool_]
    """(H', W') tokens of which half or more lies in the sector."""

    def of_frames(self, loop: ShownLoop) -> NDArray[np.float32]:
        """(T, H', W'): what holds at each stored frame."""
        clip, slot = loop.slots(self.spec, self.starts, self.maps.shape[1])
        return self.maps[clip, slot]


def loop_map(loop: ShownLoop, backbone: Backbone, name: str, source: MapSource) -> LoopMap:
    """A source over all clips that cover a loop."""
    clips, sector = loop.clips(backbone.spec)
    maps = source.of(ClipBatch(clips, sector.expand(len(clips), -1, -1))).float().numpy()
    cells = cells_inside(sector, (maps.shape[2], maps.shape[3])).numpy()
    return LoopMap(name, source.name, backbone.spec, loop.starts(backbone.spec), maps, cells)


def top_of(maps: Sequence[LoopMap]) -> float:
    """The top of the scale that maps of one source share."""
    inside = [one.maps[:, :, one.sector].ravel() for one in maps]
    return max(TOP_AT_LEAST, float(np.percentile(np.concatenate(inside), TOP_PERCENTILE)))


def as_colour(frames: NDArray[np.uint8]) -> Frames:
    """Frames (T, H, W) or (T, H, W, 3) as (T, H, W, 3)."""
    return frames if frames.ndim == 4 else np.repeat(frames[..., None], 3, axis=-1)


def overlay(frames: Frames, loop: ShownLoop, shown: LoopMap, top: float) -> Frames:
    """Colour frames (T, H, W, 3) of a loop by a map of it, by RULE, inside the sector."""
    fine = np.ones(frames.shape[:3], dtype=np.float32)
    values = shown.of_frames(loop)
    rows, columns = (
        np.floor(place / shown.spec.size * count).astype(int)
        for place, count in zip(places(shown.spec, frames.shape[1:3]), values.shape[1:], strict=True)
    )
    seen = [
        (line >= 0) & (line < count) for line, count in zip((rows, columns), values.shape[1:], strict=True)
    ]
    inside = np.ix_(np.arange(len(frames)), *map(np.flatnonzero, seen))
    fine[inside] = values[np.ix_(np.arange(len(frames)), rows[seen[0]], columns[seen[1]])]
    share = np.clip((fine - 1) / (top - 1), 0, 1) * loop.sector
    colours = COLOURS[np.rint(255 * share).astype(int)]
    strength = (STRENGTH * np.sqrt(share))[..., None]
    return np.round(frames * (1 - strength) + colours * strength).astype(np.uint8)


def enlarged(frames: Frames) -> Frames:
    """Frames (T, H, W, 3) enlarged by a whole number, each pixel a square."""
    factor = max(1, round(SMALLEST / max(frames.shape[1:3])))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def film(loop: ShownLoop, maps: Sequence[LoopMap], tops: dict[str, float], unit: str = "x") -> Frames:
    """(T, height, width, 3): a line for each source, with its scale: the loop, and beside it each backbone.
    Both sides are even, as video wants them. Colour begins at 1 `unit`."""
    plain = as_colour(loop.frames)
    lines = []
    for source in dict.fromkeys(one.source for one in maps):
        shown = [one for one in maps if one.source == source]
        panels = [plain, *(overlay(plain, loop, one, tops[source]) for one in shown)]
        wide = [enlarged(panel) for panel in panels]
        names = ["the loop", *(one.backbone for one in shown)]
        words = banner(names, wide[0].shape[2], source, tops[source], unit)
        band = np.broadcast_to(words, (len(plain), *words.shape))
        lines.append(np.concatenate([band, np.concatenate(wide, axis=2)], axis=1))
    width = max(line.shape[2] for line in lines)
    width += width % 2
    whole = np.concatenate(
        [np.pad(line, ((0, 0), (0, 0), (0, width - line.shape[2]), (0, 0))) for line in lines], axis=1
    )
    return np.pad(whole, ((0, 0), (0, whole.shape[1] % 2), (0, 0), (0, 0)))


def banner(names: Sequence[str], width: int, source: str, top: float, unit: str) -> NDArray[np.uint8]:
    """Two lines of words over panels of a width: the source and its scale; whose panel each is."""
    page = Image.new("RGB", (width * len(names), 2 * BAND), (16, 16, 20))
    pen, font = ImageDraw.Draw(page), words_font()
    pen.text((4, 2), source, fill=(240, 240, 240), font=font)
    begin = 12 + int(pen.textlength(source, font=font))
    least = f"1{unit}"
    pen.text((begin, 2), least, fill=(170, 170, 180), font=font)
    bar = COLOURS[np.linspace(0, 255, LEGEND).astype(int)].astype(np.uint8)
    begin += 6 + int(pen.textlength(least, font=font))
    page.paste(Image.fromarray(np.broadcast_to(bar, (BAND - 8, LEGEND, 3)).copy()), (begin, 4))
    pen.text((begin + LEGEND + 4, 2), f"{top:.1f}{unit} and more", fill=(170, 170, 180), font=font)
    for number, name in enumerate(names):
        pen.text(
            (4 + number * width, BAND + 1),
            fitting(name, width - 8, pen, font),
            fill=(200, 200, 205),
            font=font,
        )
    return np.asarray(page)


def fitting(words: str, width: int, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont) -> str:
    """Words, cut where they are wider than so many pixels."""
    while pen.textlength(words, font=font) > width:
        words = words[:-2].rstrip("\N{HORIZONTAL ELLIPSIS}") + "\N{HORIZONTAL ELLIPSIS}"
    return words


def words_font() -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings."""
    file = resources.files("matplotlib").joinpath("mpl-data/fonts/ttf/DejaVuSans.ttf")
    return ImageFont.truetype(str(file), 11)
