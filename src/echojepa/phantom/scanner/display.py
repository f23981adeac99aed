"""From echo to grey: compensation, compression, smoothing, persistence, scan conversion, grey map."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from echojepa.phantom.scanner.beam import Beam, Complex, Real
from echojepa.phantom.scanner.settings import SLIDERS, GreyMap, Scanner
from echojepa.randomness import derive_seed

MYOCARDIUM = 0.62
"""Share of the way from black to white at which myocardium's mean power stands when gain is 0."""
CURVES = {
    GreyMap.LINEAR: (1.0, 1.0),
    GreyMap.SOFT: (0.8, 1.15),
    GreyMap.STEEP: (1.25, 1.5),
    GreyMap.BRIGHT: (0.7, 1.0),
}
"""Exponent, and steepness of the S that follows it."""
LEVELS = 1024
"""Steps of a grey map's table."""


def grey_table(grey_map: GreyMap) -> NDArray[np.uint8]:
    """A grey map (LEVELS,): y = x^a, then y^s / (y^s + (1 - y)^s), from 0 black to 255 white."""
    exponent, steepness = CURVES[grey_map]
    bent = np.linspace(0, 1, LEVELS) ** exponent
    bent = bent**steepness / (bent**steepness + (1 - bent) ** steepness)
    return np.rint(255 * bent).astype(np.uint8)


class ScanConverter:
    """From samples along beams to pixels: four points a pixel, each between its four nearest samples."""

    def __init__(self, scanner: Scanner, beam: Beam) -> None:
        x, y = pixel_places(scanner, 1)
        reach, angle = np.hypot(x, y), np.arctan2(x, y)
        self.sector = (reach < scanner.depth) & (np.abs(angle) < scanner.half_angle) & (reach > scanner.face)
        """(H, W) where the picture is."""
        self.reach, self.angle = reach[self.sector], angle[self.sector]
        """Range in mm and angle in radians of each pixel of the sector."""
        self.matrix = self.onto(scanner, beam.ranges, beam.angles)

    def onto(self, scanner: Scanner, ranges: Real, angles: Real) -> scipy.sparse.csr_array:
        """Weights (pixels of the sector, samples) for values on an even polar grid, held at its edges."""
        inside = np.flatnonzero(self.sector.ravel())
        x, y = pixel_places(scanner, 2)
        fine = (2 * (inside // scanner.width)[:, None], 2 * (inside % scanner.width)[:, None])
        rows, columns = fine[0] + np.array([0, 0, 1, 1]), fine[1] + np.array([0, 1, 0, 1])
        x, y = x[rows, columns], y[rows, columns]
        down, up = _between(np.hypot(x, y), ranges)
        left, right = _between(np.arctan2(x, y), angles)
        corners = [
            (first[0] * len(angles) + second[0], 0.25 * first[1] * second[1])
            for first in (down, up)
            for second in (left, right)
        ]
        index = np.concatenate([corner[0] for corner in corners], axis=1)
        weight = np.concatenate([corner[1] for corner in corners], axis=1).astype(np.float32)
        starts = np.arange(len(inside) + 1, dtype=np.int32) * weight.shape[1]
        shape = (len(inside), len(ranges) * len(angles))
        return scipy.sparse.csr_array((weight.ravel(), index.ravel().astype(np.int32), starts), shape=shape)


def pixel_places(scanner: Scanner, fine: int) -> tuple[Real, Real]:
    """x right of and y below the beams' origin, mm, of `fine` x `fine` points in each pixel."""
    rows, columns = np.mgrid[0 : fine * scanner.height, 0 : fine * scanner.width]
    x = ((columns + 0.5) / fine - 0.5 - scanner.width // 2) * scanner.mm_per_pixel
    return x, (rows + 0.5) / fine * scanner.mm_per_pixel


def _between(values: Real, axis: Real) -> tuple[tuple[Real, Real], tuple[Real, Real]]:
    """The samples below and above values on an even axis, each with its weight."""
    place = np.clip((values - axis[0]) / float(axis[1] - axis[0]), 0, len(axis) - 1.001)
    low = np.floor(place).astype(np.int64)
    return (low, 1 - (place - low)), (low + 1, place - low)


class Display:
    """The picture of one recording, frame by frame; remembers the last frame for persistence."""

    def __init__(self, beam: Beam, seed: int) -> None:
        self.scanner = scanner = beam.scanner
        self.converter = ScanConverter(scanner, beam)
        self.table = grey_table(scanner.grey_map)
        share = beam.ranges / scanner.depth
        sliders = np.interp(share, (np.arange(SLIDERS) + 0.5) / SLIDERS, scanner.sliders)
        self.gain = (scanner.gain - scanner.slope * share + sliders).astype(np.float32)[:, None]
        rng = np.random.default_rng(derive_seed(seed, "drift"))
        self.drift = rng.uniform([2.0, 0.0], [6.0, 2 * math.pi])
        self.last: Real | None = None

    def compress(self, field: Complex, time: float) -> Real:
        """Complex echo (rows, lines) -> 0 black to 1 white, before smoothing and persistence."""
        power = field.real**2 + field.imag**2
        np.maximum(power, 1e-12, out=power)
        value = np.log10(power, out=power)
        value *= 10 / self.scanner.dynamic_range
        wander = self.scanner.gain_drift * math.sin(2 * math.pi * time / self.drift[0] + self.drift[1])
        value += (self.gain + np.float32(wander)) / np.float32(self.scanner.dynamic_range) + np.float32(
            MYOCARDIUM
        )
        return np.clip(value, 0, 1, out=value)

    def smooth(self, value: Real) -> Real:
        """Keep only the scanner's share of the difference from a local mean.

        The mean is over samples two apart, about a speckle's length, along and across the beam.
        """
        if self.scanner.speckle == 1:
            return value
        mean = value.copy()
        mean[2:-2] = 0.25 * (value[:-4] + value[4:]) + 0.5 * value[2:-2]
        mean[:, 2:-2] = 0.25 * (mean[:, :-4] + mean[:, 4:]) + 0.5 * mean[:, 2:-2]
        return mean + np.float32(self.scanner.speckle) * (value - mean)

    def show(self, field: Complex, time: float) -> NDArray[np.uint8]:
        """The next picture (H, W)."""
        value = self.smooth(self.compress(field, time))
        if self.last is not None and self.scanner.persistence > 0:
            value += np.float32(self.scanner.persistence) * (self.last - value)
        self.last = value
        picture = np.zeros(self.converter.sector.shape, dtype=np.uint8)
        pixels = self.converter.matrix @ value.ravel()
        picture[self.converter.sector] = self.table[(pixels * (LEVELS - 1)).astype(np.int16)]
        return picture
