"""Both ventricles at rest and in motion, as nested layers about the left ventricle's long axis.

Heart coordinates, mm: z runs from the mitral plane (0 at end-diastole) to the apex; azimuth 0 is the
anterolateral wall, 60 degrees anterior, 120 anteroseptal, 180 inferoseptal, 240 inferior, 300 inferolateral.

At an azimuth and a level zeta = z / length, squared radii run outward through five layers: left cavity, left
wall, right cavity (a crescent over the septum), right wall, surroundings. Squared radii make volumes linear:
a layer's volume is half the integral of its span over azimuth and z. So the left cavity has exactly the
volume that the rhythm asks for (`Motion` solves for it), muscle is exactly incompressible at every point (a
wall's span grows as the heart shortens), and layers never overlap. Regional defects and septal flattening
have mean zero around each level and change no volume.

Not physical: no fibres, no mechanics (shapes are prescribed), papillary muscles and trabeculae are squeezed
with the blood around them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from echojepa.phantom.heart.patients import REGION_MEAN, Patient

Floats = NDArray[np.floating]

WIDEST = 0.24
"""Level at which the left ventricle is widest."""
BLUNTNESS = 2.3
"""Exponent of its profile: 2 would be an ellipsoid, more is blunter."""
SEPTUM = math.radians(150)
"""Azimuth of the septum's middle."""
CRESCENT = math.radians(72)
"""Half the arc that the right ventricle covers."""
RIGHT_END = 0.90
"""Level at which the right ventricle ends, short of the left one's apex."""
BASE_SHARE = 0.55
"""Radial contraction of the annulus over that of the middle: the annulus is stiff."""
FLAT_TILT = 0.7
"""How one-sided septal flattening is: 0 would flatten the free wall as much."""


@dataclass(frozen=True)
class Cavity:
    """The left cavity at n pairs of azimuth and level: what does not change with time."""

    inner: Floats
    """Squared radius, mm^2."""
    share: Floats
    """Radial contraction over that of the middle."""
    defect: Floats
    """Relative change of contraction by a regional defect; mean zero around a level."""
    bend: Floats
    """Septal flattening of the squared radius; mean zero around a level."""

    def alive(self, state: Squeeze) -> Floats:
        """What contraction leaves of the squared radius (n,), without defects and flattening."""
        return 1 - state.squeeze * self.share

    def square(self, state: Squeeze) -> Floats:
        """Squared radius (n,), mm^2."""
        alive = self.alive(state)
        moved = alive - state.squeeze * self.share * self.defect
        return self.inner * (moved + state.flattening * alive * self.bend)


@dataclass(frozen=True)
class Columns(Cavity):
    """All layers there; squared radii in mm^2."""

    wall: Floats
    """Span of the left wall."""
    crescent: Floats
    """Span of the right cavity."""
    right_wall: Floats
    """Span of the right wall."""
    hollow: Floats
    """What a flattened septum leaves to the right cavity, so that the right free wall stays where it is."""

    def knots(self, state: Squeeze) -> Floats:
        """Squared radii (5, n) where layers meet: axis, left wall, right cavity, right wall, outside."""
        inner, alive = self.square(state), self.alive(state)
        septum = inner + self.wall / state.length
        right = septum + self.crescent * state.right + self.inner * alive * self.hollow * state.flattening
        return np.stack([np.zeros_like(inner), inner, septum, right, right + self.right_wall / state.length])


@dataclass(frozen=True)
class Squeeze:
    """The ventricles' state at one instant."""

    squeeze: float
    """Share of the left cavity's cross-section lost."""
    length: float
    """Length over that at end-diastole."""
    right: float
    """Right cavity's span over that at end-diastole."""
    flattening: float
    """Septal flattening, 0 none."""
    twist: float
    """Rotation of the apex against the base, radians, counterclockwise seen from the apex."""


RELAXED = Squeeze(0.0, 1.0, 1.0, 0.0, 0.0)
"""The state at which anatomy is described."""


def profile(level: Floats, end: float = 1.0) -> Floats:
    """Squared radius over its largest along a ventricle that closes at level `end`."""
    away = np.abs(np.asarray(level) - WIDEST) / (end - WIDEST)
    return np.maximum(1 - away**BLUNTNESS, 0.0)


PROFILE_MEAN = 1 - (1 - WIDEST) / (BLUNTNESS + 1) * (1 + (WIDEST / (1 - WIDEST)) ** (BLUNTNESS + 1))
"""Integral of `profile` from base to apex."""


@dataclass(frozen=True)
class Ventricles:
    """The ventricles of one patient at end-diastole."""

    patient: Patient

    @cached_property
    def length(self) -> float:
        """Left cavity from mitral plane to apex, mm."""
        volume, width = 1000 * self.patient.edv, self.patient.sphericity / 2
        return (volume / (math.pi * PROFILE_MEAN * width**2)) ** (1 / 3)

    @cached_property
    def radius(self) -> float:
        """Left cavity's largest radius, mm."""
        return self.patient.sphericity / 2 * self.length

    @cached_property
    def end(self) -> float:
        """Level of the epicardial apex."""
        return 1 + 0.75 * self.patient.wall / self.length

    @property
    def apex(self) -> float:
        """z of the epicardial apex, which stays where it is."""
        return self.end * self.length

    @cached_property
    def width(self) -> float:
        """Thickness of the right ventricle's crescent at its thickest, such that it has its volume."""
        azimuth, level, area = self.grid
        span, outer = crescent_shape(azimuth, level), np.sqrt(self.outer(level))
        square, linear = (span**2).sum() * area, (2 * span * outer).sum() * area
        target = 1000 * self.patient.rv_edv
        return float((-linear + math.sqrt(linear**2 + 4 * square * target)) / (2 * square))

    @cached_property
    def grid(self) -> tuple[Floats, Floats, float]:
        """Azimuths, levels, and the mm by which a sum of squared radii over them becomes a volume in mm^3."""
        azimuths = (np.arange(96) + 0.5) * 2 * math.pi / 96
        levels = (np.arange(100) + 0.5) / 100
        azimuth, level = (part.ravel() for part in np.meshgrid(azimuths, levels))
        return azimuth, level, 0.5 * (2 * math.pi / 96) * self.length / 100

    @cached_property
    def grid_columns(self) -> Columns:
        """`columns` on `grid`."""
        return self.columns(*self.grid[:2])

    def outer(self, level: Floats) -> Floats:
        """Squared radius of the left ventricle's outer surface."""
        return (self.radius + self.patient.wall) ** 2 * profile(level, self.end)

    def cavity(self, azimuth: Floats, level: Floats) -> Cavity:
        """The left cavity at rest at n azimuths and levels (clipped to base and epicardial apex)."""
        patient = self.patient
        azimuth, level = np.asarray(azimuth), np.clip(level, 0.0, self.end)
        bump = (0.5 + 0.5 * np.cos(azimuth - patient.regional_azimuth)) ** 3
        where = np.clip(1.5 - np.abs(level - patient.regional_level) / 0.3, 0, 1)
        angle = azimuth - SEPTUM
        return Cavity(
            inner=self.radius**2 * profile(level) * (level < 1),
            share=BASE_SHARE + (1 - BASE_SHARE) * smooth(level / 0.35),
            defect=-patient.regional * where * (bump - REGION_MEAN),
            bend=-(np.cos(2 * angle) + FLAT_TILT * np.cos(angle)) * (1 - 0.6 * (2 * level - 1) ** 2),
        )

    def columns(self, azimuth: Floats, level: Floats) -> Columns:
        """All layers there."""
        patient, cavity = self.patient, self.cavity(azimuth, level)
        azimuth, level = np.asarray(azimuth), np.clip(level, 0.0, self.end)
        outer = np.maximum(self.outer(level), cavity.inner)
        span = crescent_shape(azimuth, level)
        edge = np.sqrt(outer) + self.width * span
        thick = 3.6 * patient.scale * (1 + 0.6 * patient.load) * np.minimum(1.0, 6 * span)
        septal = (np.cos(azimuth - SEPTUM) > 0) * np.clip((RIGHT_END - level) / 0.2, 0, 1)
        return Columns(
            **vars(cavity),
            wall=outer - cavity.inner,
            crescent=edge**2 - outer,
            right_wall=(edge + thick) ** 2 - edge**2,
            hollow=np.maximum(-cavity.bend, 0) * septal,
        )


def smooth(value: Floats) -> Floats:
    """0 below 0, 1 above 1, a cubic between."""
    value = np.clip(value, 0.0, 1.0)
    return value * value * (3 - 2 * value)


def crescent_shape(azimuth: Floats, level: Floats) -> Floats:
    """Thickness of the right ventricle's crescent over its greatest."""
    angle = (np.asarray(azimuth) - SEPTUM + math.pi) % (2 * math.pi) - math.pi
    around = np.maximum(np.cos(np.clip(angle / CRESCENT, -1, 1) * math.pi / 2), 0.0)
    along = np.maximum(1 - (np.clip(level, 0, RIGHT_END) / RIGHT_END) ** 1.9, 0.0)
    return around * along * (1 + 0.3 * np.sin(angle))
