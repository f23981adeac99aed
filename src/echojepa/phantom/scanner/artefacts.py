"""What spoils an echo: shadows, dropout, reverberation, haze, the probe's own ring, blood and noise.

Shadows and dropout weaken what lies behind them; haze, ring and noise are added after that, so a shadow is
not black. Everything is drawn once for a recording; ribs and haze hardly move, lung moves with breathing.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter1d

from echojepa.phantom.scanner.beam import Beam, Complex, Real
from echojepa.randomness import derive_seed

ATTENUATION = 0.5
"""Decibels a centimetre and megahertz, one way: soft tissue."""
COMPENSATION = 16.0
"""The most that compensation lowers noise from the bottom of the picture to its top, decibels."""
BLOCKED = 0.06
"""Amplitude left behind bone or air."""
EDGE = 0.035
"""Softness of a shadow's edge, radians: the aperture sees round it."""
BANK = 3
"""Fields of blood and of noise drawn for a recording; each frame takes a window of one."""


def decibel(level: float) -> float:
    """Amplitude of a level in decibels."""
    return 10 ** (level / 20)


def sigmoid(x: Real) -> Real:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


class Bank:
    """Random fields of unit power that are new in every frame, cut from a few that are drawn once."""

    def __init__(self, beam: Beam, rng: np.random.Generator, scale: Real, sharp: bool) -> None:
        fields = [beam.speckle(rng, sharp) * scale[:, None] for _ in range(BANK)]
        self.lines, self.columns, self.rng = beam.scanner.lines, beam.columns, rng
        self.fields = [np.concatenate([field, field[:, : self.lines]], axis=1) for field in fields]

    def frame(self) -> Complex:
        """The next field (rows, lines)."""
        which, offset = int(self.rng.integers(BANK)), int(self.rng.integers(self.columns))
        return self.fields[which][:, offset : offset + self.lines]


class Artefacts:
    """The artefacts of one recording; each kind has a generator of its own below one seed."""

    def __init__(self, beam: Beam, seed: int) -> None:
        self.beam, self.scanner, self.seed = beam, beam.scanner, seed
        self.breath = self._rng("breath").uniform([3.0, 0.0], [5.0, 2 * math.pi])
        self.still = (beam.directivity() * self._ribs() * self._dropout()).astype(np.float32)
        self.lung_side = 1 if self._rng("lung").random() < 0.5 else -1
        self.lung_start, self.bounce = self._rng("depths").uniform([18, 8], [45, 26])
        self.haze, self.ring = self._haze(), self._ring()
        self.delay = max(1, round(self.bounce / beam.step))
        turn = np.exp(2j * math.pi * self._rng("reverberation").random(beam.shape[1]))
        smooth: Complex = np.asarray(gaussian_filter1d(turn, 6.0), dtype=np.complex128)
        smooth /= np.sqrt(np.mean(np.abs(smooth) ** 2))
        self.copy = (decibel(self.scanner.reverberation) * smooth).astype(np.complex64)

    def _rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self.seed, purpose))

    def _ribs(self) -> Real:
        """Amplitude (rows, lines) that ribs at the edges of the sector let pass."""
        rng, scanner, angles = self._rng("ribs"), self.scanner, self.beam.angles
        passing = np.ones(self.beam.shape)
        first = 1 if rng.random() < 0.5 else -1
        for number, side in enumerate((first, -first)):
            share, width, start = rng.uniform([0.55, 0.06, 8.0], [1.0, 0.16, 25.0])
            if number >= scanner.ribs:
                break
            middle = side * share * scanner.half_angle
            across = sigmoid((width - np.abs(angles - middle)) / EDGE)
            down = sigmoid((self.beam.ranges - start) / 1.5)
            passing *= 1 - (1 - BLOCKED) * down[:, None] * across
        return passing

    def _dropout(self) -> Real:
        """Amplitude (rows, lines) that poor contact and poor angles leave: a few soft patches and wedges."""
        rng, scanner = self._rng("dropout"), self.scanner
        loss = np.zeros(self.beam.shape)
        for number in range(4):
            angle, reach, wide, tall, weight = rng.uniform(
                [-1, 0.25, 0.08, 0.12, 0.3], [1, 0.95, 0.3, 0.35, 1]
            )
            across = np.exp(-0.5 * ((self.beam.angles - angle * scanner.half_angle) / wide) ** 2)
            away = (self.beam.ranges / scanner.depth - reach) / tall
            down = sigmoid(8 * (away + 1)) if number == 0 else np.exp(-0.5 * away**2)
            loss = np.maximum(loss, weight * down[:, None] * across)
        return 10 ** (-scanner.dropout * loss / 20)

    def _haze(self) -> tuple[Complex, Complex]:
        """Two fields of clutter (rows, lines) that breathing turns into each other."""
        rng, scanner, beam = self._rng("haze"), self.scanner, self.beam
        profile = decibel(scanner.haze) * np.exp(-beam.ranges / scanner.haze_depth)
        patches = np.exp(gaussian_filter1d(rng.standard_normal(3 * beam.shape[1]), beam.shape[1] / 14) * 4.0)
        patches = patches[beam.shape[1] : 2 * beam.shape[1]]
        weight = (profile[:, None] * patches).astype(np.float32)
        first, second = (beam.speckle(rng)[:, : beam.shape[1]] * weight for _ in range(2))
        return first, second

    def _ring(self) -> Complex:
        """The probe's own echo (rows, lines): bands that stand still and die out within a centimetre."""
        rng, beam = self._rng("ring"), self.beam
        fall = decibel(self.scanner.ring_down) * np.exp(-(beam.ranges - self.scanner.face).clip(0) / 2.2)
        bands = rng.standard_normal(beam.shape[0]) + 0.2 * rng.standard_normal(beam.shape).T
        return (bands.T * fall[:, None]).astype(np.complex64)

    def breathing(self, time: float) -> float:
        """-1 to 1."""
        return math.sin(2 * math.pi * time / self.breath[0] + self.breath[1])

    def passing(self, time: float) -> Real:
        """Amplitude (rows, lines) that arrives through ribs, lung and poor contact."""
        if self.scanner.lung == 0:
            return self.still
        edge = self.scanner.half_angle - self.scanner.lung * (1 + 0.35 * self.breathing(time))
        across = sigmoid((self.lung_side * self.beam.angles - edge) / EDGE)
        down = sigmoid((self.beam.ranges - self.lung_start) / 2.0)
        return self.still * (1 - (1 - BLOCKED) * np.outer(down, across).astype(np.float32))

    def reverberate(self, field: Complex) -> Complex:
        """Add a copy of the field (rows, lines), and a fainter copy of the copy, each a bounce deeper."""
        out = field.copy()
        out[self.delay :] += field[: -self.delay] * self.copy
        out[2 * self.delay :] += field[: -2 * self.delay] * (self.copy * self.copy)
        return out

    def clutter(self, time: float) -> Complex:
        """What is added whatever lies in front of the probe, (rows, lines)."""
        turn = 0.6 * self.breathing(time)
        return (
            self.haze[0] * np.float32(math.cos(turn)) + self.haze[1] * np.float32(math.sin(turn)) + self.ring
        )


def noise_profile(beam: Beam) -> Real:
    """Amplitude (rows,) of electronic noise: what compensates for attenuation amplifies it with depth."""
    scanner = beam.scanner
    compensation = 2 * ATTENUATION * scanner.frequency / 1e6 * (beam.ranges - scanner.depth) / 10
    return (10 ** ((scanner.noise + np.maximum(compensation, -COMPENSATION)) / 20)).astype(np.float32)
