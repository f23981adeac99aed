"""How uncompressed pixel data are laid out: by the header, and by their length where that says otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echojepa.data.reading.dicom.codecs import Layout
from echojepa.data.reading.dicom.colour import STRONG, by_pixel, grey_share, reading_of
from echojepa.data.reading.rejection import Rejected
from echojepa.vocabulary import Reason

HALVED = "YBR_FULL_422"
SPACES = ("RGB", "YBR_FULL")
"""What the pixels can tell apart."""
TRIED = 4
"""Frames of a loop whose pixels are asked for their colour space."""


def bytes_a_pixel(layout: Layout) -> int:
    """Bytes that a pixel takes as the header has it."""
    return (2 if layout.photometric == HALVED else layout.samples) * layout.allocated // 8


def settle(content: NDArray[np.uint8], layout: Layout, stated: int) -> tuple[Layout, int]:
    """The layout and the number of frames that fit the content; a count of 0 is none: they are counted.

    Raises Rejected: TRUNCATED where nothing fits, COLOUR_SPACE where the length is that of another colour
    space and the pixels do not say which.
    """
    there, pixels = len(content), layout.height * layout.width
    frame, count = pixels * bytes_a_pixel(layout), max(1, stated)
    if not exact(there, count * frame):
        if other := of_other_length(content, layout, count):
            return other, count
        if stated == 0 and there > frame and exact(there, there // frame * frame):
            count = there // frame
    claimed = count * frame
    if not claimed <= there < claimed + max(frame, 2):
        if layout.samples == 3 and exact(there, count * pixels * layout.allocated // 8 * 3 // 2):
            raise Rejected(
                Reason.COLOUR_SPACE,
                "its length is that of YBR_PARTIAL_420, but its header states another colour space",
            )
        raise Rejected(
            Reason.TRUNCATED, f"{there} bytes of pixel data, but the header's sizes give {claimed}"
        )
    if layout.samples == 3 and layout.allocated == 8 and layout.photometric in SPACES:
        layout = by_pixels(content, layout, count)
    return layout, count


def exact(there: int, claimed: int) -> bool:
    """Whether data are as long as claimed, but for a byte that makes their length even."""
    return there - claimed in ((0, 1) if claimed % 2 else (0,))


def of_other_length(content: NDArray[np.uint8], layout: Layout, count: int) -> Layout | None:
    """The layout of data exactly as long as another colour space makes them; None where none does."""
    if layout.allocated != 8 or layout.photometric not in ("MONOCHROME2", *SPACES, HALVED):
        return None
    there, pixels = len(content), count * layout.height * layout.width
    if exact(there, 3 * pixels):
        found = by_pixels(content, layout._replace(samples=3, photometric="RGB", planar=0), count)
        return found if colour_is_sure(content, found, count) or layout.samples == 3 else None
    if layout.samples == 1:
        return None
    if exact(there, 2 * pixels) and layout.width % 2 == 0:
        chroma = content[: 2 * pixels].reshape(-1, 4)[:, 2:].astype(np.int16)
        if (abs(chroma - 128) <= 8).mean() >= STRONG:
            return layout._replace(photometric=HALVED)
        raise Rejected(
            Reason.COLOUR_SPACE, f"{layout.photometric} with two bytes a pixel that are not YBR_FULL_422"
        )
    if exact(there, pixels) and grey_share(content[: there // 3 * 3].reshape(-1, 3), "RGB") < STRONG:
        return layout._replace(samples=1, photometric="MONOCHROME2", planar=0)
    return None


def some_frames(content: NDArray[np.uint8], layout: Layout, count: int) -> list[NDArray[np.uint8]]:
    """The bytes of a few frames, evenly spaced."""
    size = layout.height * layout.width * 3
    chosen = np.unique(np.linspace(0, count - 1, min(TRIED, count)).astype(int))
    return [content[n * size : (n + 1) * size] for n in chosen.tolist()]


def by_pixels(content: NDArray[np.uint8], layout: Layout, count: int) -> Layout:
    """The layout with the colour space and planes that the pixels of a few frames agree on."""
    stated = layout.photometric, layout.planar
    shape = layout.height, layout.width
    readings = {reading_of(frame, shape, stated) for frame in some_frames(content, layout, count)}
    if len(readings) != 1:
        return layout
    photometric, planar = readings.pop()
    return layout._replace(photometric=photometric, planar=planar)


def colour_is_sure(content: NDArray[np.uint8], layout: Layout, count: int) -> bool:
    """Whether a few frames are mostly grey as this layout reads them."""
    shape = layout.height, layout.width
    pictures = (by_pixel(frame, shape, layout.planar) for frame in some_frames(content, layout, count))
    return all(grey_share(picture, layout.photometric) >= STRONG for picture in pictures)
