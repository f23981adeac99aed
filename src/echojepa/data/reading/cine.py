"""What is known of one stored video, with its pixels still in the file or all in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from echojepa.data.reading.frames import Frames
from echojepa.vocabulary import Kind, View

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


@dataclass(frozen=True, kw_only=True)
class LoopFacts:
    """All that is kept of one stored video beside its pixels; ids are those of its source."""

    times: NDArray[np.float64]
    """(T,) seconds since the first frame, strictly increasing."""
    time_source: str
    """The DICOM attribute, or the container, that the times came from."""
    time_warning: str = ""
    """Why the times may be wrong: an attribute that was passed over, or two that disagree."""
    kind: Kind = Kind.CINE
    """What it shows."""
    patient_id: str
    """Identifier of the person (a keyed pseudonym once read by `data.recording`)."""
    study_id: str
    """Identifier of the examination."""
    also: tuple[str, ...] = ()
    """Further identifiers of the same person (keyed pseudonyms)."""
    loop_id: str
    """Identifier of the stored video."""
    view: View | None = None
    """Echocardiographic view where the file states it."""
    regions: tuple[Region, ...] = ()
    """Calibrated rectangles of the screen, in pixels, clipped to the frame."""
    mm_per_pixel: tuple[float, float] | None = None
    """Size of a pixel, (row, column), where the file states one for the whole picture and has no regions."""
    pixel_aspect: float = 1.0
    """Height of a pixel as a multiple of its width, where the file states no more than that."""
    heart_rate: float | None = None
    """Beats a minute where the file states it."""
    sex: Literal["F", "M", "O"] | None = None
    """The patient's sex where the file states it."""
    age: float | None = None
    """Years at the examination where the file states them; 90 for everyone older (HIPAA 164.514 b 2)."""
    study_date: str | None = None
    """Day of the examination, ISO 8601, shifted by a number of days that is the patient's own."""
    manufacturer: str = ""
    """Maker of the scanner, from the closed list `data.dicom.reader.MAKERS` once read."""


@dataclass(frozen=True, kw_only=True)
class CineLoop(LoopFacts):
    """One stored video of an examination with all its pixels, as recorded."""

    frames: NDArray[np.uint8]
    """(T, H, W) grey or (T, H, W, 3) RGB."""
    r_waves: tuple[float, ...] = ()
    """Seconds since the first frame at which the ECG has an R wave."""


@dataclass(frozen=True, kw_only=True)
class Recording(LoopFacts):
    """One stored video whose frames are decoded when they are asked for."""

    pixels: Frames
    """(T, H, W) or (T, H, W, 3), frame by frame."""
