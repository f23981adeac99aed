"""SequenceOfUltrasoundRegions: what the rectangles of a screen show, and how large their pixels are."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from echojepa.data.reading.cine import Region, RegionKind
from echojepa.data.reading.dicom.attributes import items, value, within
from echojepa.vocabulary import Kind

REGION_CODES: dict[RegionKind, tuple[int, int]] = {
    "tissue": (1, 1), "colour": (1, 2), "mmode": (2, 1), "pw": (3, 3), "cw": (3, 4), "other": (0, 0),
}  # fmt: skip
"""RegionSpatialFormat and RegionDataType of what is seen in a region (PS3.3, C.8.5.5.1)."""
PICTURES: tuple[RegionKind, ...] = ("tissue", "colour")
STRIPS: tuple[tuple[RegionKind, int], ...] = (("pw", 1), ("cw", 1), ("mmode", 0))
"""Kinds of strips, and which of the two codes tells each."""
CENTIMETRES = 3
"""PhysicalUnits of a picture."""
ASPECTS, SQUARE = (0.25, 4.0), 0.01
"""Plausible heights of a pixel as multiples of its width; what differs from 1 by less than this is square."""
LARGEST = 100.0
"""Centimetres, or millimetres, that a pixel spans at most; what is larger is no size."""


def read_regions(data: Dataset, height: int, width: int) -> tuple[Region, ...]:
    """Regions clipped to the frame. One that exceeds the frame was written for another picture size, so
    its pixel size is not believed (pydicom's own cine has one). An end that equals the frame's width or
    height was counted from one past the last pixel: it says the same, and is clipped."""
    found = []
    for item in items(data, "SequenceOfUltrasoundRegions"):
        corners = [value(item, f"RegionLocation{end}") for end in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        if any(not isinstance(corner, int) for corner in corners):
            continue
        x0, y0, x1, y1 = corners
        inside = x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height
        row, column = (
            within(value(item, f"PhysicalDelta{axis}"), (-LARGEST, LARGEST)) for axis in ("Y", "X")
        )
        units = [value(item, f"PhysicalUnits{axis}Direction") for axis in ("X", "Y")]
        size = (
            (10 * abs(row), 10 * abs(column))
            if inside and units == [CENTIMETRES] * 2 and row and column
            else None
        )
        box = max(x0, 0), max(y0, 0), min(x1, width - 1), min(y1, height - 1)
        if box[0] < box[2] and box[1] < box[3]:
            found.append(Region(*box, kind=_region_kind(item), mm_per_pixel=size))
    return tuple(found)


def _region_kind(item: Dataset) -> RegionKind:
    """What a region shows: spectra by type alone, M-mode by format alone, pictures by both."""
    stated = value(item, "RegionSpatialFormat"), value(item, "RegionDataType")
    for kind, part in STRIPS:
        if stated[part] == REGION_CODES[kind][part]:
            return kind
    for kind in PICTURES:
        if stated == REGION_CODES[kind]:
            return kind
    return "other"


def kind_of(regions: Sequence[Region], frames: int) -> Kind:
    """What a file of so many frames shows: a strip where any region is one, else a cine or a still."""
    kinds = {region.kind for region in regions}
    if kinds & {"pw", "cw"}:
        return Kind.DOPPLER
    if "mmode" in kinds:
        return Kind.MMODE
    return Kind.STILL if frames == 1 else Kind.CINE


def whole_scale(data: Dataset) -> tuple[tuple[float, float] | None, float]:
    """Size of a pixel, (row, column) in mm, and its height as a multiple of its width, of a file without
    regions: by PixelSpacing, else by PixelAspectRatio alone (PS3.3, 10.7.1.1 and C.7.6.3.1.7)."""
    if items(data, "SequenceOfUltrasoundRegions"):
        return None, 1.0
    spacing, ratio = (_pair(value(data, name)) for name in ("PixelSpacing", "PixelAspectRatio"))
    if spacing:
        return spacing, 1.0
    aspect = ratio[0] / ratio[1] if ratio else 1.0
    is_square = abs(aspect - 1) < SQUARE
    return None, aspect if ASPECTS[0] <= aspect <= ASPECTS[1] and not is_square else 1.0


def _pair(stated: object) -> tuple[float, float] | None:
    """Two positive numbers; None for anything else."""
    numbers = [within(one, (1e-6, LARGEST)) for one in stated] if isinstance(stated, Sequence) else []
    return (numbers[0], numbers[1]) if len(numbers) == 2 and numbers[0] and numbers[1] else None
