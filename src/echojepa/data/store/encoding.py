"""Frames as bytes and back: one JPEG or PNG a frame, so that any 16 of a loop are read without the rest.

Which and why was measured (`benchmarks/frame_encoding.py`, docs/reference/performance.md). JPEG of quality 95
without chroma subsampling is the default: a seventh of PNG's time to write and half its bytes, 45 to 48 dB
inside the sector. PNG is the lossless option. JPEG leaves faint ripples around a sharp edge, also beyond it:
readers put the mask over a decoded frame, so that what is outside the sector is 0 in either encoding.
"""

from __future__ import annotations

from enum import StrEnum
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 95
BLOCK = 8
"""JPEG codes blocks of so many pixels square, each by itself."""


class Encoding(StrEnum):
    """How the frames of a row are encoded."""

    JPEG = "jpeg"
    """Visually lossless."""
    PNG = "png"
    """Lossless."""


def encode(frame: NDArray[np.uint8], encoding: Encoding) -> bytes:
    """A picture (H, W) or (H, W, 3), uint8, as bytes."""
    if encoding == Encoding.PNG:
        return to_png(frame)
    return bytes(imagecodecs.jpeg8_encode(frame, level=QUALITY, subsampling="444"))


def decode(data: bytes | memoryview, encoding: Encoding) -> NDArray[np.uint8]:
    """The picture (H, W) or (H, W, 3) again; ValueError, OSError or SyntaxError where it is none."""
    if encoding == Encoding.PNG:
        return from_png(data)
    try:
        return imagecodecs.jpeg8_decode(bytes(data))
    except imagecodecs.Jpeg8Error as error:
        raise ValueError(f"no JPEG ({error})") from error


def to_png(image: NDArray[Any]) -> bytes:
    """Lossless PNG of a (H, W) or (H, W, 3) uint8 picture or a (H, W) bool mask."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def from_png(data: bytes | memoryview) -> NDArray[np.uint8]:
    """The inverse of `to_png` (masks come back as bool)."""
    return np.asarray(Image.open(BytesIO(bytes(data))))


def surely_black(mask: NDArray[np.bool_], encoding: Encoding) -> NDArray[np.bool_]:
    """The pixels (H, W) that are 0 as decoded, before the mask is put on: those outside the sector, for JPEG
    those outside every block that has some of it."""
    if encoding == Encoding.PNG:
        return ~mask
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % BLOCK), (0, -width % BLOCK)))
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    touched = np.kron(blocks.any(axis=(1, 3)), np.ones((BLOCK, BLOCK), dtype=bool))
    return ~touched[:height, :width]
