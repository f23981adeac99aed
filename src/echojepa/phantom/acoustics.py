"""B-mode of a beating heart: scatterers carried with the tissue, seen through a polar point-spread function.

Physical: scatterer positions in mm, carrier phase, so that echoes interfere and the envelope of uniform
tissue is Rayleigh distributed; a lateral width that grows with depth and away from the focus; scatterers
that leave the slice decorrelate; attenuation with imperfect compensation; log compression; scan conversion.
Not physical: no wave propagation (no refraction, reverberation, side lobes or shadows), borders are
brighter scatterers instead of reflections, blood is noise without flow, and the surroundings stand still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

from echojepa.phantom.heart import (
    TRUNCATION,
    Heart,
    Points,
    Shape,
    chambers,
    in_ventricle,
    leaflet_points,
    shape_at,
    wall_points,
)
from echojepa.phantom.planes import Pose

SOUND_SPEED = 1540.0
"""m/s in soft tissue."""
HALF_SLICE = 5.0
"""Scatterers further from the plane than this, mm, are not simulated."""
RANGE_STEP = 0.7
"""Distance of samples along a beam, mm."""
WALL_SCATTERERS, WALL_VOLUME = 45000, 160000.0
"""Scatterers of the whole myocardium, and a typical volume of it in mm^3: about 4 a resolution cell."""


@dataclass(frozen=True)
class Scanner:
    """Settings of one recording."""

    depth: float
    """Depth of the picture, mm."""
    half_angle: float
    """Half the sector's opening, radians."""
    frame_rate: float
    """Frames a second."""
    frequency: float = 2.5e6
    """Centre frequency, Hz."""
    axial_sigma: float = 0.75
    """Standard deviation of the pulse along the beam, mm."""
    beam_sigma: float = 0.012
    """Standard deviation of the beam at its focus, radians."""
    elevation_sigma: float = 2.0
    """Standard deviation of the beam across the slice, mm."""
    focus: float = 80.0
    """Depth of the focus, mm."""
    dynamic_range: float = 55.0
    """Decibels between black and white."""
    gain: float = 0.0
    """Decibels added to everything."""
    slope: float = 0.0
    """Decibels lost over the whole depth that the time-gain compensation does not give back."""
    noise: float = -48.0
    """Electronic noise, decibels below myocardium."""
    blood: float = -32.0
    """Blood and clutter, decibels below myocardium."""
    height: int = 120
    """Height of the sector's picture, pixels."""

    @property
    def mm_per_pixel(self) -> float:
        """Size of a pixel, mm."""
        return self.depth / self.height

    @property
    def width(self) -> int:
        """Width of the sector's picture, pixels."""
        return 2 * math.ceil(self.height * math.sin(self.half_angle)) + 1


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """Settings of one recording, independent of the patient."""
    return Scanner(
        depth=float(rng.uniform(140, 180)),
        half_angle=math.radians(rng.uniform(36, 45)),
        frame_rate=float(rng.uniform(25, 45)),
        focus=float(rng.uniform(60, 100)),
        dynamic_range=float(rng.uniform(48, 60)),
        gain=float(rng.normal(0, 4)),
        slope=float(rng.normal(4, 4)),
        noise=float(rng.uniform(-54, -40)),
        blood=float(rng.uniform(-36, -26)),
    )


@dataclass(frozen=True)
class Tissue:
    """Scatterers in material coordinates (n, 3), each with an amplitude."""

    kind: str
    material: Points
    amplitude: Points


def sphere_material(rng: np.random.Generator, count: int, lowest: float = -math.pi / 2) -> Points:
    """Random (azimuth, latitude, depth) with latitudes above `lowest`, even over a sphere."""
    latitude = np.arcsin(rng.uniform(math.sin(lowest), 1, count))
    return np.stack([rng.uniform(0, 2 * math.pi, count), latitude, rng.uniform(0, 1, count)], axis=1)


def draw_tissue(heart: Heart, pose: Pose, scanner: Scanner, rng: np.random.Generator) -> list[Tissue]:
    """Scatterers of all tissues near the plane at end-diastole; amplitudes are relative to myocardium."""
    rest = shape_at(heart, 0.0)
    found = []

    def keep(kind: str, material: Points, level: float, positions: Points) -> None:
        near = np.abs(pose.project(positions)[2]) < HALF_SLICE + 2
        found.append(Tissue(kind, material[near], level * rng.rayleigh(0.8, int(near.sum()))))

    wall = sphere_material(rng, WALL_SCATTERERS, -math.asin(TRUNCATION))
    keep("wall", wall, 1.0, wall_points(wall, rest))
    for edge, level in ((0.0, 2.0), (1.0, 3.0)):
        lining = sphere_material(rng, 6000, -math.asin(TRUNCATION))
        lining[:, 2] = edge + (0.04 if edge == 0 else -0.04) * lining[:, 2]
        keep("wall", lining, level, wall_points(lining, rest))
    leaflets = sphere_material(rng, 5000)
    leaflets[:, 1] = rng.uniform(0, 1, len(leaflets))
    keep("leaflet", leaflets, 1.6, leaflet_points(leaflets, rest))
    for kind, count, level in (("la", 9000, 1.3), ("rv", 14000, 1.0), ("ra", 8000, 1.2), ("ao", 6000, 1.5)):
        shell = sphere_material(rng, count)
        keep(kind, shell, level, chambers(rest)[kind].surface(shell, 3.0))
    count = 9000
    ranges = scanner.depth * np.sqrt(rng.uniform(0, 1, count))
    angles = rng.uniform(-scanner.half_angle, scanner.half_angle, count)
    elevation = rng.uniform(-HALF_SLICE, HALF_SLICE, count)
    fixed = pose.place(ranges, angles, elevation)
    patches = 0.12 + 0.4 * (1 + np.sin(fixed @ rng.normal(0, 0.05, 3) + rng.uniform(0, 6)))
    found.append(Tissue("surroundings", fixed, patches * rng.rayleigh(0.8, count)))
    return found


def place_tissue(tissue: Tissue, shape: Shape) -> tuple[Points, NDArray[np.bool_]]:
    """Positions (n, 3) in mm at one instant, and which scatterers are there at all.

    Chambers overlap where ellipsoids are a poor likeness of a heart; the left ventricle wins, then its wall.
    """
    if tissue.kind == "wall":
        positions = wall_points(tissue.material, shape)
        root = chambers(shape)["ao"].contains(positions) & (positions[:, 2] < shape.base + 8)
        return positions, ~root
    if tissue.kind == "leaflet":
        return leaflet_points(tissue.material, shape), np.ones(len(tissue.material), dtype=bool)
    around = chambers(shape)
    ventricle = around["lv"]
    if tissue.kind == "surroundings":
        inside = ventricle.contains(tissue.material, shape.thickness)
        for name in ("la", "rv", "ra", "ao"):
            inside |= around[name].contains(tissue.material, 3.0)
        return tissue.material, ~inside
    positions = around[tissue.kind].surface(tissue.material, 3.0)
    hidden = ventricle.contains(positions, shape.thickness) & (positions[:, 2] > shape.base)
    if tissue.kind in ("la", "ra", "ao"):
        hidden |= in_ventricle(positions, shape, 2.0)
        for other in {"la": ("ra",), "ra": ("la",), "ao": ("la", "ra")}[tissue.kind]:
            hidden |= around[other].contains(positions)
    if tissue.kind == "rv":
        hidden |= positions[:, 2] < shape.base
    return positions, ~hidden


class PolarImager:
    """Turns scatterers into envelopes on a (range, angle) grid, and those into pictures."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.ranges = np.arange(0.0, scanner.depth, RANGE_STEP)
        self.angles = np.linspace(-scanner.half_angle, scanner.half_angle, 112)
        self.step = self.angles[1] - self.angles[0]
        self.wavenumber = 4 * math.pi * scanner.frequency / SOUND_SPEED / 1000
        rows, columns = np.mgrid[0 : scanner.height, 0 : scanner.width]
        x = (columns - scanner.width // 2) * scanner.mm_per_pixel
        y = (rows + 0.5) * scanner.mm_per_pixel
        reach, angle = np.hypot(x, y), np.arctan2(x, y)
        self.sector = (reach < scanner.depth) & (np.abs(angle) < scanner.half_angle) & (reach > 2.0)
        self.lookup = np.stack([reach / RANGE_STEP, (angle + scanner.half_angle) / self.step])[:, self.sector]
        unfocused = np.abs(self.ranges - scanner.focus) / scanner.focus
        self.blur = np.clip(unfocused, 0, 1)[:, None]

    def echoes(self, ranges: Points, angles: Points, amplitude: Points) -> NDArray[np.complex128]:
        """Complex echoes on the grid before the point-spread function: each scatterer with its phase."""
        rows = np.rint(ranges / RANGE_STEP).astype(np.int64)
        columns = np.rint((angles - self.angles[0]) / self.step).astype(np.int64)
        shape = (len(self.ranges), len(self.angles))
        seen = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        flat = rows[seen] * shape[1] + columns[seen]
        phase = self.wavenumber * ranges[seen]
        size = shape[0] * shape[1]
        real = np.bincount(flat, amplitude[seen] * np.cos(phase), size)
        imaginary = np.bincount(flat, amplitude[seen] * np.sin(phase), size)
        return (real + 1j * imaginary).reshape(shape)

    def noise(self, decibel: float, level: float, rng: np.random.Generator) -> NDArray[np.complex128]:
        """Complex white noise on the grid, its root mean square `decibel` above `level`."""
        shape = (len(self.ranges), 2 * len(self.angles))
        parts = rng.standard_normal(shape, dtype=np.float32).astype(np.float64)
        return parts.view(np.complex128) * (level * 10 ** (decibel / 20) / math.sqrt(2))

    def spread(self, echoes: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Apply the separable point-spread function, wider away from the focus."""
        pulse = gaussian_filter1d(echoes, self.scanner.axial_sigma / RANGE_STEP, axis=0, mode="constant")
        narrow = self.scanner.beam_sigma / self.step
        sharp = gaussian_filter1d(pulse, narrow, axis=1, mode="constant")
        wide = gaussian_filter1d(pulse, 2.0 * narrow, axis=1, mode="constant")
        return np.asarray((1 - self.blur) * sharp + self.blur * math.sqrt(2.0) * wide, dtype=np.complex128)

    def picture(self, envelope: Points) -> NDArray[np.uint8]:
        """Log compression and scan conversion: envelope relative to myocardium -> (H, W) uint8."""
        scanner = self.scanner
        decibel = 20 * np.log10(np.maximum(envelope, 1e-6)) + scanner.gain
        decibel -= scanner.slope * self.ranges[:, None] / scanner.depth
        grey = 255 * (0.72 + decibel / scanner.dynamic_range)
        out = np.zeros(self.sector.shape, dtype=np.uint8)
        out[self.sector] = np.clip(map_coordinates(grey, self.lookup, order=1, mode="nearest"), 1, 255)
        return out


def reference_level(imager: PolarImager) -> float:
    """Root mean square envelope of myocardium seen by this imager, so that levels are in decibels of it."""
    density = WALL_SCATTERERS / WALL_VOLUME
    cell = RANGE_STEP * imager.step * imager.scanner.focus * 2 * imager.scanner.elevation_sigma
    scanner = imager.scanner
    gain = 1 / (4 * math.pi * (scanner.axial_sigma / RANGE_STEP) * (scanner.beam_sigma / imager.step))
    return math.sqrt(density * cell * 2 * 0.8**2 * gain)


def record(
    heart: Heart, pose: Pose, scanner: Scanner, frames: int, start: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Record `frames` pictures (T, H, W) from `start` s after an R wave; also the sector mask (H, W).

    The plane stays where the sonographer holds it while the heart moves through it.
    """
    imager, tissues = PolarImager(scanner), draw_tissue(heart, pose, scanner, rng)
    level = reference_level(imager)
    loop = np.empty((frames, *imager.sector.shape), dtype=np.uint8)
    for number in range(frames):
        shape = shape_at(heart, start + number / scanner.frame_rate)
        parts = []
        for tissue in tissues:
            positions, there = place_tissue(tissue, shape)
            ranges, angles, elevation = pose.project(positions[there])
            weight = np.exp(-(elevation**2) / (2 * scanner.elevation_sigma**2))
            parts.append((ranges, angles, tissue.amplitude[there] * weight))
        ranges, angles, amplitude = (np.concatenate(column) for column in zip(*parts, strict=True))
        blood = 4 * imager.noise(scanner.blood, level, rng)
        field = imager.spread(imager.echoes(ranges, angles, amplitude) + blood)
        loop[number] = imager.picture(np.abs(field + imager.noise(scanner.noise, level, rng)) / level)
    return loop, imager.sector
