"""A cine loop in memory: the one thing that readers hand on and writers take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from echojepa.vocabulary import View

RegionKind = Literal["tissue", "colour", "pw", "cw", "mmode", "other"]


@dataclass(frozen=True)
class Region:
    """A calibrated rectangle of the screen (an item of SequenceOfUltrasoundRegions)."""

    x0: int
    """Left column, inclusive."""
    y0: int
    """Top row, inclusive."""
    x1: int
    """Right column, inclusive."""
    y1: int
    """Bottom row, inclusive."""
    kind: RegionKind = "tissue"
    """What the rectangle shows."""
    mm_per_pixel: tuple[float, float] | None = None
    """Physical size of a pixel, (row, column), where the file states it in centimetres."""


@dataclass(frozen=True)
class CineLoop:
    """One stored video of an examination, as recorded; ids are those of its source."""

    frames: NDArray[np.uint8]
    """(T, H, W) grey or (T, H, W, 3) RGB."""
    times: NDArray[np.float64]
    """(T,) seconds since the first frame, strictly increasing."""
    time_source: str
    """The DICOM attribute that the times came from."""
    patient_id: str
    """Identifier of the person (a keyed pseudonym once read by `data.dicom.read_cine`)."""
    study_id: str
    """Identifier of the examination."""
    loop_id: str
    """Identifier of the stored video."""
    view: View | None = None
    """Echocardiographic view where the file states it."""
    regions: tuple[Region, ...] = ()
    """Calibrated rectangles of the screen, in pixels, clipped to the frame."""
    heart_rate: float | None = None
    """Beats a minute where the file states it."""
    manufacturer: str = ""
    """Maker of the scanner."""
