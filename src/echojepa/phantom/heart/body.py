"""The Scene of a beating heart in a chest, as one plane sees it; and one without a heart.

Scatterers are drawn once, at rest, wherever they come near the plane at some time of the beat, and then ride
on the heart's motion. Their strength is that of their organ, larger where a border faces the beam.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from echojepa.phantom.heart.anatomy import SUPERIOR, Anatomy
from echojepa.phantom.heart.flow import Blood
from echojepa.phantom.heart.motion import Material, Motion, State
from echojepa.phantom.heart.organs import BLOOD, Organ, Place, find_organs
from echojepa.phantom.heart.patients import Patient
from echojepa.phantom.heart.rhythm import timing_of
from echojepa.phantom.heart.valves import CROWDING, Leaflets, draw_leaflets
from echojepa.phantom.heart.ventricles import Floats
from echojepa.phantom.planes import Pose
from echojepa.phantom.scene import Flow, Tissue

STRENGTH = {
    Organ.MYOCARDIUM: 1.0,
    Organ.PAPILLARY: 1.15,
    Organ.RIGHT_WALL: 0.95,
    Organ.ATRIAL_WALL: 1.1,
    Organ.VESSEL_WALL: 1.7,
    Organ.FIBROUS: 1.9,
    Organ.PERICARDIUM: 3.2,
    Organ.FAT: 0.32,
    Organ.LUNG: 0.08,
    Organ.LIVER: 0.65,
}
"""Amplitude of an organ's scatterers against myocardium (assumed; the order is what pictures show)."""
ALONG = 0.5
"""Amplitude of muscle and borders that run along the beam, against those across it."""
LEAFLET = 1.6
"""Amplitude of leaflets."""
PHASES = 5
"""Times of systole at which scatterers may come near the plane."""


@dataclass(frozen=True)
class Slab:
    """The part of space that a recording can see."""

    depth: float
    """mm."""
    half_angle: float
    """Half the sector's opening, radians."""
    half_thickness: float
    """Scatterers further from the plane are left out, mm."""

    def holds(self, pose: Pose, points: Floats, margin: float = 0.0) -> np.ndarray:
        """Whether points (n, 3) lie in it, or within `margin` mm."""
        relative = points - pose.probe
        across, down = relative @ pose.lateral, relative @ pose.depth
        away = np.abs(relative @ np.cross(pose.lateral, pose.depth)) < self.half_thickness + margin
        edge = np.abs(across) * math.cos(self.half_angle) - down * math.sin(self.half_angle)
        return away & (edge < margin + 2) & (np.hypot(across, down) < self.depth + margin) & (down > -margin)


@dataclass(frozen=True)
class Drift:
    """Slow rigid motion of the body against the probe: breathing and the hand's sway."""

    breath: Floats
    """(3,) half the travel of a breath, mm."""
    rate: float
    """Breaths a second."""
    sway: Floats
    """(3, 3) amplitudes, mm, of three slow waves."""
    phases: Floats
    """(4,) radians."""

    def at(self, time: float) -> Floats:
        """Displacement (3,) at a time, mm."""
        waves = np.sin(2 * math.pi * time * np.array([0.11, 0.23, 0.41]) + self.phases[1:])
        breath = self.breath * math.sin(2 * math.pi * self.rate * time + float(self.phases[0]))
        return (breath + waves @ self.sway).astype(np.float32)


@dataclass(frozen=True)
class HeartScene:
    """A patient's chest in front of one probe; a `Scene`."""

    motion: Motion
    material: Material
    """All tissue, then the leaflets' `ends`."""
    leaflets: Leaflets
    amplitude: Floats
    drift: Drift

    def tissue(self, time: float) -> Tissue:
        """All scatterers at a time, s."""
        rhythm = self.motion.anatomy.patient.rhythm
        placed = self.material.place(self.motion.state(rhythm.at(time)))
        solid, ends = np.split(placed, [len(placed) - 3 * len(self.leaflets.arterial)])
        sheets = self.leaflets.swing(ends, rhythm.openings(time))
        return Tissue(np.concatenate([solid, sheets]) + self.drift.at(time), self.amplitude)

    def flow(self, points: Floats, time: float) -> Flow:
        """Blood at points (n, 3) at a time; quick if they stay the same. Leaves out the body's slow drift."""
        return self.blood.at(np.asarray(points, dtype=np.float32), time)

    @cached_property
    def blood(self) -> Blood:
        """The moving blood."""
        return Blood(self.motion)


def beat_states(motion: Motion) -> list[State]:
    """The heart at times from an R wave to the end of systole; diastole leads back the same way."""
    rhythm = motion.anatomy.patient.rhythm
    start, end = float(rhythm.r_waves[1]), float(rhythm.r_waves[2])
    times = np.linspace(start, start + timing_of(end - start).closing, PHASES)
    return [motion.state(rhythm.at(float(time))) for time in times]


def draw_rest(
    motion: Motion, pose: Pose, slab: Slab, density: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Uniform points at rest (n, 3) that may come into the slab in a beat, and a Rayleigh draw (n,) for each.

    Cells of a coarse grid that never come near are dropped after the draw, so that the same generator gives
    the same scatterers to a patient whose heart moves differently.
    """
    scale, normal = motion.anatomy.scale, np.cross(pose.lateral, pose.depth)
    wide, deep = slab.depth * math.sin(slab.half_angle) + 4, 0.5 * slab.depth
    half = np.array([wide, deep + 4, slab.half_thickness + 18 * scale])
    frame, middle = np.stack([pose.lateral, pose.depth, normal]), np.array([0.0, deep, 0.0])
    cells = np.maximum(np.ceil(half / (3.5 * scale)), 2).astype(int)
    ticks = [(np.arange(count) + 0.5) / count * 2 - 1 for count in cells]
    grid = np.stack([part.ravel() for part in np.meshgrid(*ticks, indexing="ij")], axis=1)
    coarse = Material.describe(motion.anatomy, pose.probe + (middle + grid * half) @ frame)
    heights = [(coarse.place(state) - pose.probe) @ normal for state in beat_states(motion)]
    margin = slab.half_thickness + 3.5 * scale
    useful = (np.min(heights, axis=0) < margin) & (np.max(heights, axis=0) > -margin)
    cell = np.repeat(np.arange(len(grid)), rng.poisson(8 * density * np.prod(half / cells), len(grid)))
    spread = rng.random((len(cell), 3), dtype=np.float32)
    fading = np.sqrt(rng.standard_exponential(len(cell), dtype=np.float32))
    chosen = useful[cell]
    local = grid[cell[chosen]] + (2 * spread[chosen] - 1) / cells
    return (pose.probe + (middle + local * half) @ frame).astype(np.float32), fading[chosen]


def strength(place: Place, rest: Floats, pose: Pose, patient: Patient, rng: np.random.Generator) -> Floats:
    """Strength (n,) of what lies where, 1 in muscle that the beam meets squarely."""
    beam = rest - pose.probe
    reach = np.linalg.norm(beam, axis=1)
    facing = np.abs(np.einsum("ij,ij->i", place.normal, beam)) / (reach + 1e-6)
    table = np.array([STRENGTH.get(organ, 0.0) for organ in Organ])
    level = table[place.organ]
    structured = (place.organ > BLOOD) & (place.organ < Organ.FAT)
    level = np.where(structured, level * (ALONG + (1 - ALONG) * facing), level)
    level = level * (1 + 1.5 * facing**2 * (place.border < 1.0) * structured)
    texture = np.sin(rest @ rng.normal(0, 0.12 / patient.scale, (3, 4)) + rng.uniform(0, 6.3, 4)).mean(axis=1)
    level = level * (1 + np.where(structured, 0.3, 0.8) * texture)
    chest = (reach < patient.chest) & (place.organ >= Organ.FAT)
    sheets = 0.45 + 0.45 * np.sin(reach * 2 * math.pi / (5.0 * patient.scale) + 0.5 * texture) ** 2
    level = np.where(chest, sheets, level)
    return np.maximum(level, 0.0).astype(np.float32)


def heart_scene(
    patient: Patient, pose: Pose, slab: Slab, density: float, rng: np.random.Generator
) -> HeartScene:
    """A patient seen in one plane, with `density` scatterers a mm^3 of tissue; blood holds none."""
    motion = Motion(Anatomy(patient))
    rest, fading = draw_rest(motion, pose, slab, density, rng)
    place = find_organs(motion.anatomy, rest)
    solid = place.organ > BLOOD
    rest, fading = rest[solid], fading[solid]
    place = Place(place.organ[solid], place.normal[solid], place.border[solid])
    material, seen = Material.describe(motion.anatomy, rest), np.zeros(len(rest), dtype=bool)
    for state in beat_states(motion):
        seen |= slab.holds(pose, material.place(state), 1.5)
    level = strength(place, rest, pose, patient, rng)
    sheets = draw_leaflets(motion.anatomy, density, rng)
    thin = LEAFLET / math.sqrt(CROWDING) * rng.rayleigh(math.sqrt(0.5), len(sheets.hinge))
    return HeartScene(
        motion=motion,
        material=Material.joined([material.take(seen), Material.describe(motion.anatomy, sheets.ends)]),
        leaflets=sheets,
        amplitude=np.concatenate([(level * fading)[seen], thin]).astype(np.float32),
        drift=draw_drift(patient, pose, rng),
    )


def draw_drift(patient: Patient, pose: Pose, rng: np.random.Generator) -> Drift:
    """Breathing along the body's axis, and a hand that wanders on the skin."""
    sway = rng.normal(0, patient.sway, (3, 2)) @ np.stack([pose.lateral, np.cross(pose.lateral, pose.depth)])
    breath = -SUPERIOR / np.linalg.norm(SUPERIOR) * patient.breath_depth
    return Drift(breath, patient.breathing, sway, rng.uniform(0, 2 * math.pi, 4))


@dataclass(frozen=True)
class EmptyScene:
    """Layered tissue without a heart; a `Scene`. A soft lump may slide up and down in it."""

    rest: Floats
    amplitude: Floats
    depth: Floats
    """(3,) direction in which the lump slides."""
    lump: Floats
    """(n,) how much each scatterer takes part in that, 0 to 1."""
    travel: float
    """mm."""
    rate: float
    """Slides a second."""

    def tissue(self, time: float) -> Tissue:
        """All scatterers at a time, s."""
        shift = self.travel * math.sin(2 * math.pi * self.rate * time)
        return Tissue(
            self.rest + (shift * self.lump)[:, None] * self.depth.astype(np.float32), self.amplitude
        )

    def flow(self, points: Floats, time: float) -> Flow:
        """No blood anywhere."""
        count = len(points)
        return Flow(np.zeros((count, 3)), np.zeros(count), np.zeros(count, dtype=bool))


def empty_scene(pose: Pose, slab: Slab, density: float, rng: np.random.Generator) -> EmptyScene:
    """A phantom without a heart: layers, and a lump that slides slowly."""
    half = np.array([slab.depth * math.sin(slab.half_angle) + 4, 0.5 * slab.depth + 4, slab.half_thickness])
    count = rng.poisson(8 * np.prod(half) * density)
    local = rng.uniform(-1, 1, (count, 3)) * half + np.array([0.0, 0.5 * slab.depth, 0.0])
    wave = local[:, 1] + 6 * np.sin(local[:, 0] / rng.uniform(15, 40) + rng.uniform(0, 6.3))
    edges = np.sort(rng.uniform(0, slab.depth, 5))
    level = rng.uniform(0.15, 1.1, 6)[np.searchsorted(edges, wave)]
    centre = np.array([rng.uniform(-20, 20), rng.uniform(0.35, 0.7) * slab.depth, 0.0])
    away = np.linalg.norm(local - centre, axis=1) / rng.uniform(0.1, 0.2) / slab.depth
    lump = np.exp(-(away**4)).astype(np.float32)
    level = level * (1 - lump) + rng.uniform(0.1, 1.5) * lump
    frame = np.stack([pose.lateral, pose.depth, np.cross(pose.lateral, pose.depth)])
    return EmptyScene(
        rest=(pose.probe + local @ frame).astype(np.float32),
        amplitude=(level * rng.rayleigh(math.sqrt(0.5), count)).astype(np.float32),
        depth=pose.depth,
        lump=lump,
        travel=float(rng.uniform(0, 4)),
        rate=float(rng.uniform(0.1, 0.6)),
    )
