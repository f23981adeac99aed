"""Frames of a loop, read a few at a time so that memory stays flat: DICOM pixels and video files alike."""

from __future__ import annotations

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echojepa.data.reading.rejection import Rejected
from echojepa.vocabulary import Reason

MAX_FRAME_BYTES = 64 << 20
"""One decoded frame as RGB; 4,700 pixels square. Checked before anything is decoded."""
MAX_LOOP_BYTES = 8 << 30
"""All frames of a loop as RGB; they are streamed, so this bounds time, not memory."""
MAX_FRAMES = 100_000
"""Frames of a loop: an hour at 30 a second; what is kept of each, its time at least, is held in memory."""
DECODE_ERRORS = (
    ValueError, RuntimeError, AttributeError, NotImplementedError, EOFError, IndexError, KeyError, TypeError,
    OSError, SyntaxError, MemoryError, ArithmeticError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What pydicom, Pillow and the codecs raise on damaged data (FFmpeg's errors derive from these)."""
COLOUR_DIFFERENCE, COLOUR_SHARE = 24, 0.002
"""A frame shows colour where this share of the sector's pixels differs by more than this between channels."""


class Frames(ABC):
    """The frames of one loop, decoded when they are read.

    `count` frames of `height` x `width` pixels. A `monochrome` loop is stored without colour and is read as
    (H, W) whatever is asked for.
    """

    count: int
    height: int
    width: int
    monochrome: bool
    stored_luma: bool = False
    """Whether `grey` reads a stored Y: within rounding, but not bit for bit, the luma of the colour."""

    @abstractmethod
    def read(self, indices: Sequence[int], *, grey: bool = False) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames at `indices`, in that order, decoding no others than it must.

        Each is uint8, (H, W, 3) RGB, or (H, W) where the loop is monochrome or `grey` is set: then the luma
        of ITU-R BT.601, which in YBR files is the stored Y. It may be read-only. Raises Rejected where the
        data is damaged, IndexError where there is no such frame.
        """

    def check(self, indices: Sequence[int]) -> None:
        """Raise IndexError unless every index is one of a frame."""
        for index in indices:
            if not 0 <= index < self.count:
                raise IndexError(f"frame {index} of {self.count}")


class FramesInMemory(Frames):
    """Frames that are decoded already, (T, H, W) grey or (T, H, W, 3) RGB."""

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self._frames = frames
        self.count, self.height, self.width = frames.shape[:3]
        self.monochrome = frames.ndim == 3

    def read(self, indices: Sequence[int], *, grey: bool = False) -> Iterator[NDArray[np.uint8]]:
        """Yield frames as `Frames.read` says."""
        self.check(indices)
        for index in indices:
            frame = self._frames[index]
            yield luma(frame) if grey and frame.ndim == 3 else frame


def check_size(count: int, height: int, width: int) -> None:
    """Refuse what is empty or above the limits, from the header alone; Rejected(NO_PIXELS or TOO_LARGE)."""
    if min(count, height, width) < 1:
        raise Rejected(Reason.NO_PIXELS, f"{count} frames of {height} x {width} pixels")
    if count > MAX_FRAMES:
        raise Rejected(Reason.TOO_LARGE, f"{count} frames; {MAX_FRAMES} are allowed")
    frame = height * width * 3
    if frame > MAX_FRAME_BYTES:
        raise Rejected(
            Reason.TOO_LARGE,
            f"frames of {height} x {width} pixels are {frame >> 20} MiB; {MAX_FRAME_BYTES >> 20} are allowed",
        )
    if frame * count > MAX_LOOP_BYTES:
        raise Rejected(
            Reason.TOO_LARGE,
            f"{count} frames are {frame * count / 2**30:.1f} GiB; {MAX_LOOP_BYTES >> 30} are allowed",
        )


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(..., 3) RGB to (...) grey, rounded ITU-R BT.601; equal channels come out unchanged."""
    flat = Image.fromarray(np.ascontiguousarray(rgb).reshape(-1, *rgb.shape[-2:]))
    return np.asarray(flat.convert("L")).reshape(rgb.shape[:-1])


def is_coloured(frame: NDArray[np.uint8], inside: NDArray[np.bool_]) -> bool:
    """Whether a frame, (H, W, 3) or (H, W), shows colour among the pixels `inside`, (H, W), the sector.

    Probe a few frames with it: a loop whose probes show none (no colour Doppler) is read grey, which for
    JPEG is several times as fast. Colour outside the sector (logos, tinted text) does not count.
    """
    if frame.ndim == 2 or not inside.any():
        return False
    red, green, blue = np.moveaxis(frame, -1, 0)
    most, least = (pick(pick(red, green), blue) for pick in (np.maximum, np.minimum))
    return bool((most - least > COLOUR_DIFFERENCE)[inside].mean() > COLOUR_SHARE)
