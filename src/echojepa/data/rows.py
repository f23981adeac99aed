"""A row of the data set as values, and the pictures in it as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class StoredLoop:
    """A row of `loops.lance`."""

    loop_id: str
    file_id: str
    study_id: str
    patient_id: str
    patient_ordinal: int
    split: str
    site: str
    view: str | None
    kind: str
    colour: bool
    """Whether frames are RGB."""
    frames: list[bytes]
    """A PNG each."""
    times: list[float]
    """Seconds since the first frame."""
    frame_rate: float | None
    """Frames a second, by the median interval; None for a single frame."""
    time_source: str
    time_warning: str
    mask: bytes
    """PNG of the sector."""
    height: int
    width: int
    pixel_height_mm: float | None
    pixel_width_mm: float | None
    heart_rate: float | None
    sex: str | None
    age: float | None
    study_date: str | None
    manufacturer: str
    pixel_sha256: str


def to_png(image: NDArray[Any]) -> bytes:
    """Lossless PNG of a (H, W) or (H, W, 3) uint8 picture or a (H, W) bool mask."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def from_png(data: bytes) -> NDArray[np.uint8]:
    """The inverse of `to_png` (masks come back as bool)."""
    return np.asarray(Image.open(BytesIO(data)))
