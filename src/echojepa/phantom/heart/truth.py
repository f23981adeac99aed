"""What is true of one patient's heart, measured on the geometry that pictures are made from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from echojepa.phantom.heart.anatomy import Anatomy, Atrium
from echojepa.phantom.heart.motion import Motion, State
from echojepa.phantom.heart.patients import Patient
from echojepa.phantom.heart.ventricles import SEPTUM, Floats
from echojepa.phantom.planes import Pose

OUTLINE = 180
"""Points of a contour."""
ECCENTRICITY_LEVEL = 0.45
"""Level at which the eccentricity index is taken, between mitral tips and papillary muscles."""
STILL = np.zeros(3)
"""No displacement of the body."""


@dataclass(frozen=True)
class Volumes:
    """Of the chambers at one time, ml."""

    left_ventricle: float
    right_ventricle: float
    left_atrium: float


@dataclass(frozen=True)
class Contour:
    """The left ventricular cavity as one plane cuts it; mm in the picture (right, down from the probe)."""

    outline: Floats
    """(n, 2), once around; empty where the plane misses the cavity. Papillary muscles are inside."""
    annulus: Floats
    """(2, 2) where the outline meets the mitral plane; empty where it does not."""


@dataclass(frozen=True)
class Truth:
    """Everything measurable without a picture."""

    patient: Patient

    @cached_property
    def motion(self) -> Motion:
        """The heart's geometry over time."""
        return Motion(Anatomy(self.patient))

    def state(self, time: float) -> State:
        """Of the geometry at a time, s."""
        return self.motion.state(self.patient.rhythm.at(time))

    def phase(self, time: float) -> float:
        """Share of the beat gone by since its R wave."""
        return self.patient.rhythm.at(time).phase

    def volumes(self, time: float) -> Volumes:
        """Chamber volumes at a time, integrated over the geometry."""
        return self.volumes_in(self.state(time))

    def volumes_in(self, state: State) -> Volumes:
        """Chamber volumes in a state: ventricles by columns, the atrium by its surface."""
        ventricles = self.motion.anatomy.ventricles
        knots = ventricles.grid_columns.knots(state.squeeze)
        unit = ventricles.grid[2] * state.squeeze.length / 1000
        left, right = knots[1].sum() * unit, (knots[3] - knots[2]).sum() * unit
        return Volumes(float(left), float(right), atrial_volume(self.motion, self.motion.anatomy.left, state))

    @cached_property
    def extremes(self) -> tuple[Volumes, Volumes]:
        """At end-diastole and end-systole of a full beat."""
        instants = (self.patient.rhythm.full(contraction) for contraction in (0.0, 1.0))
        large, small = (self.volumes_in(self.motion.state(instant)) for instant in instants)
        return large, small

    @property
    def lvef(self) -> float:
        """Left ventricular ejection fraction of a full beat, %, from the geometry's volumes.

        In atrial fibrillation single beats eject less when they fill less; `volumes` tells.
        """
        large, small = self.extremes
        return 100 * (1 - small.left_ventricle / large.left_ventricle)

    @property
    def rvsp(self) -> float:
        """Right ventricular systolic pressure, mmHg, as the tricuspid jet's peak speed tells it."""
        return 4 * self.patient.jet_speed**2 + self.patient.rap

    def eccentricity(self, time: float) -> float:
        """Eccentricity index: the cavity's diameter along the septum over that across it (Ryan 1985)."""
        angles = SEPTUM + np.array([0.5, 1.5, 0.0, 1.0]) * math.pi
        columns = self.motion.anatomy.ventricles.columns(angles, np.full(4, ECCENTRICITY_LEVEL))
        radius = np.sqrt(columns.knots(self.state(time).squeeze)[1])
        return float((radius[0] + radius[1]) / (radius[2] + radius[3]))

    def landmarks(self, time: float) -> dict[str, Floats]:
        """Named points (3,), mm in heart coordinates: the apex, the annulus, and the other valves."""
        anatomy = self.motion.anatomy
        rim, length = anatomy.rim, anatomy.ventricles.length
        names = ("lateral", "anterior", "anteroseptal", "septal", "inferior", "inferolateral")
        rest = [[0.0, 0.0, length]]
        rest += [[rim * math.cos(k * math.pi / 3), rim * math.sin(k * math.pi / 3), 0.0] for k in range(6)]
        rest += [list(anatomy.left.valve), list(anatomy.root), list(anatomy.right.valve)]
        placed = self.motion.place(np.array(rest), self.state(time))
        keys = ["apex", *(f"{name} annulus" for name in names), "mitral", "aortic", "tricuspid"]
        return dict(zip(keys, placed, strict=True))

    def contour(self, pose: Pose, time: float, shift: Floats = STILL) -> Contour:
        """The cavity in a plane at a time, with the whole body displaced by `shift` mm.

        Each point is found by halving along a ray from the middle of the cavity, so a cut that a ray meets
        twice loses what lies beyond.
        """
        state, ventricles = self.state(time), self.motion.anatomy.ventricles
        middle = self.motion.place(np.array([[0.0, 0.0, 0.42 * ventricles.length]]), state)[0] + shift
        start = in_plane(pose, middle[None])[0]
        angles = np.linspace(0, 2 * math.pi, OUTLINE, endpoint=False)
        ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)

        def place(reach: Floats) -> Floats:
            flat = start + reach[:, None] * ways
            return pose.probe + flat @ np.stack([pose.lateral, pose.depth]) - shift

        low, high = np.zeros(OUTLINE), np.full(OUTLINE, 1.3 * ventricles.length)
        if not self.motion.in_cavity(place(low), state).all():
            return Contour(np.zeros((0, 2)), np.zeros((0, 2)))
        for _ in range(16):
            half = 0.5 * (low + high)
            inside = self.motion.in_cavity(place(half), state)
            low, high = np.where(inside, half, low), np.where(inside, high, half)
        based = self.motion.rest(place(low), state)[:, 2] < 0.3
        outline = start + low[:, None] * ways
        return Contour(outline, annulus_of(outline, based))


def annulus_of(outline: Floats, based: np.ndarray) -> Floats:
    """The two ends (2, 2) of the stretch of an outline that lies on the mitral plane; empty without one."""
    if not based.any() or based.all():
        return np.zeros((0, 2))
    starts = np.flatnonzero(based & ~np.roll(based, 1))
    ends = np.flatnonzero(based & ~np.roll(based, -1))
    return outline[[starts[0], ends[ends >= starts[0]][0] if (ends >= starts[0]).any() else ends[0]]]


def in_plane(pose: Pose, points: Floats) -> Floats:
    """Points (n, 3) -> (n, 2) mm to the right and down in the picture."""
    relative = points - pose.probe
    return np.stack([relative @ pose.lateral, relative @ pose.depth], axis=1)


def atrial_volume(motion: Motion, atrium: Atrium, state: State) -> float:
    """Volume, ml, inside the moved surface of an atrium, from its triangles' signed pyramids."""
    rows, columns = 25, 40
    polar, azimuth = np.meshgrid(
        np.linspace(0, math.pi, rows), np.linspace(0, 2 * math.pi, columns + 1), indexing="ij"
    )
    ball = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1
    )
    rest = atrium.centre + (ball.reshape(-1, 3) * atrium.axes) @ atrium.frame
    surface = motion.place(rest, state).astype(np.float64).reshape(rows, columns + 1, 3)
    surface = surface - surface.mean(axis=(0, 1))
    a, b, c, d = surface[:-1, :-1], surface[1:, :-1], surface[1:, 1:], surface[:-1, 1:]
    pyramids = (a * np.cross(b, c)).sum() + (a * np.cross(c, d)).sum()
    return float(abs(pyramids) / 6 / 1000)
