"""From scatterers to the complex echo on a polar grid: where beams look, how sharply, what interferes.

Each scatterer is put on the grid with the phase of its own two-way path, so echoes interfere as they should
however coarse the grid is; it need only resolve the pulse's envelope and the beam. Along the beam the
pulse is a Gaussian. Across, the two-way beam is the product of a transmit beam with one focus and a receive
beam focused everywhere, each a Gaussian fitted to a uniform aperture's main lobe (half-amplitude full width
1.21 wavelengths over the aperture; e.g. Szabo, Diagnostic Ultrasound Imaging, ch. 6), plus a broad pedestal
of side lobes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from echojepa.phantom.scanner.settings import Scanner

Complex = NDArray[np.complexfloating]
Real = NDArray[np.floating]
HALF_WIDTH = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian over its standard deviation."""
LOBE = 1.21 / HALF_WIDTH
"""Standard deviation of a uniform aperture's main lobe, in wavelengths over aperture."""
DEFOCUS = 1 / math.sqrt(12)
"""Standard deviation of a beam, in its width, where it is the aperture's own shadow away from the focus."""
F_NUMBER = 3.0
"""Near the probe less of the aperture receives: range over aperture is at least this."""
SIDE_LOBE_WIDTH = 0.2
"""Standard deviation of the side lobes' pedestal, radians."""
ELEMENT = 0.5
"""Width of one element of the probe, wavelengths: it sees less of what lies to the side."""
LENS = (0.6, 0.55)
"""The probe's height over its width, and the depth of its lens' focus over the depth of the picture."""
NEAREST = 6.0
"""Scatterers are not normalised as if beams crossed nearer than this, mm."""
SHORTEST_PULSE = 0.3
"""Standard deviation of the pulse's envelope that a picture can still show, pixels."""
SAMPLES_A_PULSE = 1 / 1.25
"""Samples along a beam in a standard deviation of the pulse: enough for its envelope."""
PULSE_REACH = 2.7
"""Standard deviations after which the pulse is cut: 2.6 % of its peak are left."""
MARGIN, BLOCK = (1.2, 8), 32
"""Columns of the grid: beams times the first, plus the second, so that filtering does not wrap the picture
round, rounded up to whole blocks, whose transforms are quick."""


def across(field: Complex, transfer: Real) -> Complex:
    """Filter a field (rows, columns) across its beams, each row with its own transfer function.

    SciPy's transform, because it works on several rows at once: eight times NumPy's speed here.
    """
    spectrum: Any = scipy.fft.fft(field, axis=1)
    spectrum *= transfer
    filtered: Any = scipy.fft.ifft(spectrum, axis=1, overwrite_x=True)
    return filtered


class Beam:
    """The polar grid of one scanner and its point-spread function.

    `density` is the number of scatterers in a mm^3 of myocardium (root mean square amplitude 1): with it,
    myocardium has a mean echo power of 1 at every depth before gains and artefacts.
    """

    def __init__(self, scanner: Scanner, density: float) -> None:
        self.scanner = scanner
        physical = scanner.cycles * scanner.wavelength / 2 / HALF_WIDTH
        self.pulse = max(physical, SHORTEST_PULSE * scanner.mm_per_pixel)
        """Standard deviation of the pulse's envelope, mm; a small picture cannot show a shorter one."""
        quarter = scanner.wavelength / 4
        self.step = quarter * max(2, math.floor(self.pulse / SAMPLES_A_PULSE / quarter))
        """Distance of samples along a beam, mm: whole quarter waves, so that what is left of the phases
        of evenly spread scatterers in a sample is nothing, or alternates from one to the next and the pulse
        smooths it away; with any other step uniform tissue would keep a coherent echo."""
        self.ranges = ((np.arange(math.ceil(scanner.depth / self.step)) + 0.5) * self.step).astype(np.float32)
        self.spacing = 2 * scanner.half_angle / (scanner.lines - 1)
        self.angles = np.linspace(-scanner.half_angle, scanner.half_angle, scanner.lines, dtype=np.float32)
        self.columns = BLOCK * math.ceil((MARGIN[0] * scanner.lines + MARGIN[1]) / BLOCK)
        self.pad = (self.columns - scanner.lines) // 2
        self.wavenumber = 4 * math.pi / scanner.wavelength
        reach = math.ceil(PULSE_REACH * self.pulse / self.step)
        taps = np.exp(-0.5 * (np.arange(reach + 1) * self.step / self.pulse) ** 2)
        self.taps = (taps / math.sqrt(taps[0] ** 2 + 2 * np.sum(taps[1:] ** 2))).astype(np.float32)
        self.transfer, unit = self._transfer()
        """(rows, columns) of the beam, each row of unit energy; and the tissue's part of it."""
        away = np.maximum(self.ranges, NEAREST)
        cell = away * self.step * self.spacing * self.elevation(away) * math.sqrt(math.pi)
        self.tissue_transfer = (self.transfer * (unit / np.sqrt(density * cell)[:, None])).astype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Samples along a beam, and beams."""
        return len(self.ranges), self.scanner.lines

    def lateral(self, ranges: Real) -> Real:
        """Standard deviation of the two-way beam across, radians, at ranges in mm."""
        scanner = self.scanner
        receive = LOBE * scanner.wavelength / np.minimum(scanner.aperture, ranges / F_NUMBER)
        focused = LOBE * scanner.wavelength / scanner.aperture
        away = DEFOCUS * scanner.aperture * np.abs(1 / ranges - 1 / scanner.focus)
        transmit = np.hypot(focused, away)
        return receive * transmit / np.hypot(receive, transmit)

    def elevation(self, ranges: Real) -> Real:
        """Standard deviation of the two-way beam through the slice, mm; its focus is fixed."""
        scanner = self.scanner
        tall, focus = LENS[0] * scanner.aperture, LENS[1] * scanner.depth
        diffraction = LOBE / math.sqrt(2) * scanner.wavelength / tall * ranges
        return np.hypot(diffraction, DEFOCUS * tall * np.abs(1 - ranges / focus))

    def directivity(self) -> Real:
        """Amplitude (lines,), two-way, of beams steered off the axis: (sinc(width sin a) cos a)^2."""
        return (np.sinc(ELEMENT * np.sin(self.angles)) * np.cos(self.angles)) ** 2

    def _transfer(self) -> tuple[Real, Real]:
        frequency = np.fft.fftfreq(self.columns)
        width = self.lateral(np.maximum(self.ranges, NEAREST))[:, None] / self.spacing
        broad = SIDE_LOBE_WIDTH / self.spacing
        main = np.exp(-2 * (math.pi * width * frequency) ** 2)
        lobes = 10 ** (self.scanner.side_lobes / 20) * broad / width
        transfer = main + lobes * np.exp(-2 * (math.pi * broad * frequency) ** 2)
        transfer /= np.sqrt(np.mean(transfer**2, axis=1, keepdims=True))
        shared = (2 + np.cos(2 * math.pi * frequency)) / 3
        return transfer.astype(np.float32), (1 / np.sqrt(shared)).astype(np.float32)

    def echoes(self, ranges: Real, angles: Real, strength: Complex) -> Complex:
        """Scatterers (n,) at ranges in mm and angles in radians, put on the grid (rows, columns) with phase.

        Each is shared between the two nearest beams; `tissue_transfer` gives back the power that sharing
        costs: averaged over places between beams, (2 + cos(2 pi frequency)) / 3 of it is left.
        """
        rows = np.rint(ranges / self.step - 0.5).astype(np.int64)
        place = angles / self.spacing + np.float32((self.scanner.lines - 1) / 2 + self.pad)
        left = np.floor(place)
        share = place - left
        left = left.astype(np.int64)
        seen = (rows >= 0) & (rows < len(self.ranges)) & (left >= 0) & (left < self.columns - 1)
        turn = (self.wavenumber * ranges).astype(np.float32)
        value = strength * (np.cos(turn) + 1j * np.sin(turn))
        value, share = value[seen], share[seen]
        flat = 2 * (rows[seen] * self.columns + left[seen])
        right = value * share
        value -= right
        index = np.concatenate([flat, flat + 1, flat + 2, flat + 3])
        weight = np.concatenate([value.real, value.imag, right.real, right.imag])
        grid = np.bincount(index, weight, 2 * len(self.ranges) * self.columns).astype(np.float32)
        return grid.view(np.complex64).reshape(len(self.ranges), self.columns)

    def tissue(self, grid: Complex) -> Complex:
        """Spread echoes (rows, columns) by pulse and beam -> (rows, lines)."""
        field = across(grid, self.tissue_transfer)
        return self.along(field[:, self.pad : self.pad + self.scanner.lines])

    def along(self, field: Complex) -> Complex:
        """Convolve with the pulse along the beams, of unit energy."""
        out = field * self.taps[0]
        for lag, tap in enumerate(self.taps[1:], start=1):
            scaled = field * tap
            out[lag:] += scaled[:-lag]
            out[:-lag] += scaled[lag:]
        return out

    def speckle(self, rng: np.random.Generator, sharp: bool = True) -> Complex:
        """A field (rows, columns) of uniform speckle of unit power, or noise that is white across beams."""
        parts = rng.standard_normal((len(self.ranges), 2 * self.columns), dtype=np.float32)
        field = self.along(parts.view(np.complex64) * np.float32(math.sqrt(0.5)))
        if not sharp:
            return field
        return across(field, self.transfer)
