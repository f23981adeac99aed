"""A four-dimensional heart in millimetres and seconds, with an ejection fraction from its own volumes.

Physical: volumes, the volume curve's phases, base-to-apex shortening, twist, a wall of constant volume
that therefore thickens, atria that fill while the ventricle empties, tissue that is carried by the motion.
Not physical: chambers are (truncated) ellipsoids, the right heart and the valves are sketches without
mechanics of their own, the myocardium has no fibres, and parameters are plausible draws, not a
population study.

Heart coordinates: z runs from the mitral plane (near 0) to the apex, x from the septum (negative) to the
lateral wall; azimuth 0 is lateral. The epicardial apex stays where it is and the base moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
TRUNCATION = 0.3
"""The ventricle is an ellipsoid cut this share of its half length below its widest part."""
SHAPE = math.pi * (2 / 3 + TRUNCATION - TRUNCATION**3 / 3)
"""Volume of a truncated ellipsoid over the product of its semi-axes: the integral of 1 - z^2."""


@dataclass(frozen=True)
class Heart:
    """One synthetic patient's anatomy; lengths in mm, volumes in ml."""

    edv: float
    """Left ventricular end-diastolic volume."""
    ef: float
    """Ejection fraction that the volume curve is drawn with, 0 to 1."""
    heart_rate: float
    """Beats a minute."""
    sphericity: float
    """Width over length of the cavity at end-diastole."""
    ovality: float
    """Ratio of the two short axes."""
    wall: float
    """Wall thickness at end-diastole."""
    twist: float
    """Rotation of the apex against the base at end-systole, radians."""
    longitudinal: float
    """Share of the cavity's length lost at end-systole, for each unit of ejection fraction."""
    atrium: float
    """Left atrial volume at the end of systole."""
    right_scale: float
    """Width of the right ventricle over that of the left."""

    @property
    def esv(self) -> float:
        """End-systolic volume, ml."""
        return self.edv * (1 - self.ef)

    @property
    def period(self) -> float:
        """Length of a beat, s."""
        return 60.0 / self.heart_rate

    def contraction(self, time: float) -> float:
        """0 at end-diastole, 1 at end-systole, as a function of time in s since the R wave.

        Systole lasts about 0.1 s + 0.25 of the beat; then early filling (two thirds), a pause, and the
        atrial kick. Half cosines, so speed is continuous.
        """
        phase = (time % self.period) / self.period
        systole = min(0.55, 0.25 + 0.10 / self.period)
        early, kick = systole + 0.55 * (1 - systole), 1 - 0.25 * (1 - systole)
        if phase < systole:
            return 0.5 - 0.5 * math.cos(math.pi * phase / systole)
        if phase < early:
            return 0.35 + 0.65 * (0.5 + 0.5 * math.cos(math.pi * (phase - systole) / (early - systole)))
        if phase < kick:
            return 0.35
        return 0.35 * (0.5 + 0.5 * math.cos(math.pi * (phase - kick) / (1 - kick)))

    def volume(self, time: float) -> float:
        """Left ventricular cavity volume at a time, ml."""
        return self.edv - (self.edv - self.esv) * self.contraction(time)


@dataclass(frozen=True)
class Shape:
    """The heart's geometry at one instant; lengths in mm."""

    axes: tuple[float, float, float]
    """Semi-axes (x, y, z) of the left ventricular cavity."""
    thickness: float
    """Wall thickness."""
    twist: float
    """Rotation of the apex against the base, radians."""
    centre: float
    """z of the ventricle's widest part; what keeps the epicardial apex in place."""
    atrium: tuple[float, float, float]
    """Semi-axes of the left atrium."""
    right: tuple[float, float, float]
    """Semi-axes of the right ventricle."""
    opening: float
    """Opening of the mitral leaflets, 0 shut to 1 wide."""

    @property
    def base(self) -> float:
        """z of the mitral plane."""
        return self.centre - TRUNCATION * self.axes[2]


def draw_heart(rng: np.random.Generator) -> Heart:
    """Draw a patient. Four in ten have a normal ejection fraction, the others are spread from 12 to 72 %.

    Failing ventricles are larger on average (with much scatter), as in the clinic; heart rate, wall and
    size do not otherwise depend on the ejection fraction.
    """
    normal = rng.random() < 0.4
    ef = float(np.clip(rng.normal(0.62, 0.05), 0.5, 0.75) if normal else rng.uniform(0.12, 0.72))
    edv = float(np.clip(rng.normal(115 + 90 * max(0.0, 0.5 - ef), 28), 55, 260))
    return Heart(
        edv=edv,
        ef=ef,
        heart_rate=float(np.clip(rng.normal(72, 12), 48, 110)),
        sphericity=float(rng.uniform(0.50, 0.64) + 0.12 * max(0.0, 0.5 - ef)),
        ovality=float(rng.uniform(0.9, 1.1)),
        wall=float(np.clip(rng.normal(9.0, 1.2), 6.5, 13)),
        twist=float(np.clip(rng.normal(0.2, 0.05), 0.05, 0.35)) * ef / 0.6,
        longitudinal=float(rng.uniform(0.22, 0.32)),
        atrium=float(np.clip(rng.normal(52, 14), 25, 110)),
        right_scale=float(rng.uniform(0.75, 1.05)),
    )


def cavity_axes(heart: Heart, contraction: float) -> tuple[float, float, float]:
    """Semi-axes of the cavity, mm, such that its volume is that of the volume curve."""
    volume = 1000 * (heart.edv - (heart.edv - heart.esv) * contraction)
    long_ed = (1000 * heart.edv / (SHAPE * (heart.sphericity * (1 + TRUNCATION) / 2) ** 2)) ** (1 / 3)
    length = long_ed * (1 - heart.longitudinal * heart.ef * contraction)
    short = math.sqrt(volume / (SHAPE * length))
    return short * math.sqrt(heart.ovality), short / math.sqrt(heart.ovality), length


def wall_thickness(heart: Heart, axes: tuple[float, float, float]) -> float:
    """Thickness that gives the wall the volume it has at end-diastole (muscle does not compress), mm."""
    end_diastole = cavity_axes(heart, 0.0)
    target = math.prod(a + heart.wall for a in end_diastole) - math.prod(end_diastole)
    a, b, c = axes
    roots = np.roots([1.0, a + b + c, a * b + b * c + a * c, -target])
    return float(max(root.real for root in roots if abs(root.imag) < 1e-6))


def shape_at(heart: Heart, time: float) -> Shape:
    """Geometry at a time in s since the R wave."""
    contraction = heart.contraction(time)
    axes = cavity_axes(heart, contraction)
    thickness = wall_thickness(heart, axes)
    atrial = 1000 * heart.atrium * (0.6 + 0.4 * contraction)
    radius = (atrial / (4 / 3 * math.pi * 1.15)) ** (1 / 3)
    end_diastole = cavity_axes(heart, 0.0)
    squeeze = 1 - 0.22 * min(1.0, heart.ef / 0.6) * contraction
    right = (end_diastole[0] * heart.right_scale * squeeze, end_diastole[1] * 1.05, axes[2] * 0.95)
    filling = heart.contraction(time - 0.01) - heart.contraction(time + 0.01)
    return Shape(
        axes=axes,
        thickness=thickness,
        twist=heart.twist * contraction,
        centre=-(axes[2] + thickness),
        atrium=(radius, radius, 1.15 * radius),
        right=right,
        opening=float(np.clip(0.25 * (filling > 1e-4) + 12 * max(filling, 0.0), 0.0, 1.0)),
    )


def wall_points(material: Points, shape: Shape) -> Points:
    """Carry myocardium: material coordinates (n, 3) = (azimuth, latitude, depth 0..1) -> mm (n, 3).

    Latitude pi/2 is the apex; depth 0 is the endocardium and 1 the epicardium.
    """
    azimuth, latitude, depth = material.T
    a, b, c = (axis + depth * shape.thickness for axis in shape.axes)
    z = c * np.sin(latitude)
    turned = azimuth + shape.twist * np.clip(z / (shape.axes[2] + shape.thickness), 0, 1)
    ring = np.cos(latitude)
    return np.stack([a * ring * np.cos(turned), b * ring * np.sin(turned), z + shape.centre], axis=1)


def leaflet_points(material: Points, shape: Shape) -> Points:
    """Carry mitral leaflets: material (azimuth, 0 at the annulus .. 1 at the tip, unused) -> mm (n, 3)."""
    azimuth, along, _ = material.T
    ring = math.sqrt(1 - TRUNCATION**2)
    tip = 0.08 + 0.5 * shape.opening
    radius = ring * (1 - along * (1 - tip))
    rise = along * (5.0 + 14.0 * shape.opening)
    x, y = shape.axes[0] * radius * np.cos(azimuth), shape.axes[1] * radius * np.sin(azimuth)
    return np.stack([x, y, shape.base + rise], axis=1)


@dataclass(frozen=True)
class Ellipsoid:
    """A chamber or its outer surface."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]

    def surface(self, material: Points, wall: float) -> Points:
        """Points (azimuth, latitude, depth 0..1) on a shell of the given thickness, mm."""
        azimuth, latitude, depth = material.T
        a, b, c = (axis + wall * depth for axis in self.axes)
        ring = np.cos(latitude)
        local = [a * ring * np.cos(azimuth), b * ring * np.sin(azimuth), c * np.sin(latitude)]
        return np.stack(local, axis=1) + np.array(self.centre)

    def contains(self, points: Points, margin: float = 0.0) -> NDArray[np.bool_]:
        """Whether points (n, 3) lie inside the ellipsoid grown by `margin` mm."""
        scaled = (points - np.array(self.centre)) / (np.array(self.axes) + margin)
        return np.einsum("ij,ij->i", scaled, scaled) < 1


def chambers(shape: Shape) -> dict[str, Ellipsoid]:
    """The cavities; the left ventricle's is an ellipsoid still to be cut at its base."""
    a, b, c = shape.axes
    ra, rb, rc = shape.right
    la, lb, lc = shape.atrium
    septum = a + shape.thickness
    aorta = (-0.55 * a * math.cos(math.pi / 3), -0.85 * b * math.sin(math.pi / 3), shape.base - 18.0)
    return {
        "lv": Ellipsoid((0.0, 0.0, shape.centre), (a, b, c)),
        "la": Ellipsoid((0.25 * a, 0.25 * b, shape.base - 0.98 * lc), (la, lb, lc)),
        "rv": Ellipsoid((-(septum + 0.35 * ra), -0.25 * b, shape.centre - 0.12 * c), (ra, rb, rc)),
        "ra": Ellipsoid((-(septum + 0.45 * ra), 0.0, shape.base - 0.95 * lc), (0.95 * la, lb, 0.95 * lc)),
        "ao": Ellipsoid(aorta, (11.0, 11.0, 26.0)),
    }


def in_ventricle(points: Points, shape: Shape, margin: float = 0.0) -> NDArray[np.bool_]:
    """Whether points (n, 3) lie in the left ventricular cavity grown by `margin` mm."""
    return chambers(shape)["lv"].contains(points, margin) & (points[:, 2] > shape.base)


def ejection_fraction(heart: Heart) -> float:
    """LVEF in %, from the volumes of the geometry itself at end-diastole and end-systole."""
    end_diastole, end_systole = (SHAPE * math.prod(cavity_axes(heart, c)) for c in (0.0, 1.0))
    return 100 * (end_diastole - end_systole) / end_diastole
