"""The anatomy of one patient at rest (end-diastole), in heart coordinates (see `ventricles`).

The body's directions in heart coordinates follow from a left ventricle whose apex points left, forward and
down, and whose septum faces forward and right (assumed, one attitude for all patients). Sizes without a
parameter of their own scale with `Patient.scale`; proportions are assumed after normal adult pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from echojepa.phantom.heart.patients import Patient
from echojepa.phantom.heart.ventricles import Floats, Ventricles
from echojepa.phantom.heart.vessels import Tube, arc


def direction(degrees: float, z: float = 0.0) -> Floats:
    """Unit vector at an azimuth, raised by z."""
    vector = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), z])
    return vector / np.linalg.norm(vector)


APEXWARD = np.array([0.0, 0.0, 1.0])
SUPERIOR = 0.707 * direction(30) + 0.34 * direction(120) - 0.62 * APEXWARD
ANTERIOR = 0.878 * direction(120) + 0.48 * APEXWARD
RIGHTWARD = -0.707 * direction(30) + 0.34 * direction(120) - 0.62 * APEXWARD
"""The body's directions in heart coordinates; z is (-0.62, 0.48, -0.62) to (right, front, above)."""


@dataclass(frozen=True)
class Atrium:
    """An ellipsoid with a short funnel to its valve."""

    centre: Floats
    axes: Floats
    """Semi-axes along `frame`, mm."""
    frame: Floats
    """(3, 3) rows: directions of the axes."""
    valve: Floats
    """Centre of the annulus."""
    annulus: float
    """Radius of the annulus, mm."""

    def near(self, points: Floats) -> tuple[Floats, Floats]:
        """Distance (n,) in mm from the lumen's surface, negative inside, and the outward normal (n, 3)."""
        local = (points - self.centre) @ self.frame.T / self.axes
        size = np.sqrt(np.einsum("ij,ij->i", local, local)) + 1e-6
        gradient = local / self.axes
        steep = np.sqrt(np.einsum("ij,ij->i", gradient, gradient)) + 1e-9
        distance, normal = (size - 1) * size / steep, (gradient / steep[:, None]) @ self.frame
        away = points - self.valve
        ring = np.hypot(away[:, 0], away[:, 1])
        funnel = np.maximum(
            ring - self.annulus, np.abs(away[:, 2] + 0.3 * self.annulus) - 0.45 * self.annulus
        )
        closer = funnel < distance
        rim = np.stack([away[:, 0] / (ring + 1e-6), away[:, 1] / (ring + 1e-6), np.zeros(len(ring))], axis=1)
        return np.where(closer, funnel, distance), np.where(closer[:, None], rim, normal)

    def swell(self, points: Floats) -> Floats:
        """Motion (n, 3) for a unit of swelling: away from the centre, fading outside and to the base."""
        relative = points - self.centre
        local = relative @ self.frame.T / self.axes
        size = np.einsum("ij,ij->i", local, local)
        fade = np.exp(-np.maximum(size - 1, 0) / 1.2) * np.clip(-points[:, 2] / 8, 0, 1)
        return relative * np.where(size < 12, fade, 0.0)[:, None]


@dataclass(frozen=True)
class Anatomy:
    """Everything inside one chest, at rest."""

    patient: Patient

    @cached_property
    def ventricles(self) -> Ventricles:
        """Both ventricles."""
        return Ventricles(self.patient)

    @property
    def scale(self) -> float:
        """Size against a large adult."""
        return self.patient.scale

    @cached_property
    def roof(self) -> float:
        """mm from the base to where great vessels hold the heart still."""
        return 75.0 * self.scale

    @property
    def reach(self) -> float:
        """mm around the heart that its motion drags along."""
        return 30.0 * self.scale

    @cached_property
    def rim(self) -> float:
        """Radius of the left ventricle's cavity at its base."""
        ventricles = self.ventricles
        return float(np.sqrt(ventricles.columns(np.zeros(1), np.zeros(1)).inner[0]))

    @cached_property
    def root(self) -> Floats:
        """Centre of the aortic annulus."""
        return direction(120) * (self.rim - 0.22 * self.patient.aorta)

    @cached_property
    def left(self) -> Atrium:
        """Left atrium, behind the aortic root."""
        size = ellipsoid_size(self.patient.la_volume * (1 - self.patient.atrial_emptying), (1.1, 0.85, 1.1))
        annulus = min(0.62 * self.rim, 15.5 * self.scale)
        valve = direction(300) * (self.rim - annulus - 0.5)
        front = float(self.root @ direction(120)) - 0.5 * self.patient.aorta - 2.0
        centre = direction(120) * (front - size[1]) - direction(30) * 2.0 * self.scale
        frame = np.stack([direction(30), direction(120), APEXWARD])
        return Atrium(centre - APEXWARD * 0.96 * size[2], size, frame, valve, annulus)

    @cached_property
    def right(self) -> Atrium:
        """Right atrium, behind the tricuspid valve and beside the left atrium."""
        size = ellipsoid_size(self.patient.ra_volume * (1 - self.patient.atrial_emptying), (1.0, 0.95, 1.1))
        ventricles = self.ventricles
        columns = ventricles.columns(np.array([math.radians(183)]), np.array([0.03]))
        inner = math.sqrt(float(columns.inner[0] + columns.wall[0]))
        span = math.sqrt(inner**2 + float(columns.crescent[0])) - inner
        valve = direction(183) * (inner + 0.5 * span) + APEXWARD * 4.0 * self.scale
        annulus = min(0.44 * span, 19.0 * self.scale)
        edge = float(self.left.centre[0]) - float(self.left.axes[0]) - 2.5
        x = min(edge - size[0], float(valve[0]) + 0.45 * size[0])
        centre = np.array([x, float(self.left.centre[1]) * 0.6 - 2.0, -0.88 * float(size[2])])
        return Atrium(centre, size, np.eye(3), valve, annulus)

    @cached_property
    def aorta(self) -> Tube:
        """From the outflow tract through root, ascending aorta and arch to the descending aorta."""
        s, r = self.scale, self.patient.aorta / 2
        up = -0.86 * APEXWARD + 0.42 * direction(120) + 0.25 * direction(30)
        up = up / np.linalg.norm(up)
        rising = [self.root - up * 5 * s, self.root, self.root + up * 13 * s, self.root + up * 23 * s]
        top = self.root + up * 36 * s + SUPERIOR * 22 * s
        radius = 27.0 * s
        bend = arc(top + self.arch_side * radius, -self.arch_side, SUPERIOR, radius)
        falling = [bend[-1] - (SUPERIOR * 38 * k + ANTERIOR * (8 + 3 * k)) * s for k in (1, 2, 3, 4)]
        nodes = np.stack([*rising, self.root + up * 36 * s, *bend, *falling])
        radii = np.array([0.98 * r, r, 1.42 * r, 1.2 * r, 1.3 * r, *np.linspace(1.25, 1.02, 9) * r, *[r] * 4])
        return Tube(nodes, radii, 1.8 * math.sqrt(s))

    @property
    def arch_side(self) -> Floats:
        """Unit vector from the ascending to the descending aorta: left and backward, level."""
        side = -0.6 * RIGHTWARD - 0.8 * ANTERIOR
        side = side - SUPERIOR * (side @ SUPERIOR) / (SUPERIOR @ SUPERIOR)
        return side / np.linalg.norm(side)

    @cached_property
    def branches(self) -> tuple[Tube, ...]:
        """Vessels of the arch: brachiocephalic trunk, left carotid, left subclavian artery."""
        s, nodes = self.scale, self.aorta.nodes[5:14]
        found = []
        for index, radius, lean in ((3, 6.0, -0.35), (4, 3.8, 0.05), (5, 4.6, 0.3)):
            start = nodes[index]
            way = SUPERIOR + lean * self.arch_side
            found.append(Tube(np.stack([start, start + way * 50 * s]), np.array([radius, radius]) * s, 1.2))
        return tuple(found)

    @cached_property
    def outflow(self) -> Tube:
        """Right outflow tract in front of the aorta, pulmonary trunk and right pulmonary artery."""
        s, r = self.scale, 0.55 * self.patient.aorta
        front = float(self.root @ direction(120)) + 1.42 * self.patient.aorta / 2
        grown = 1 + 0.15 * self.patient.load
        way = [
            direction(150) * (front + 0.9 * r) + APEXWARD * 10 * s,
            direction(128) * (front + 1.15 * r) - APEXWARD * 5 * s,
            direction(102) * (front + 1.1 * r) - APEXWARD * 11 * s,
            direction(76) * (front + 0.7 * r) - APEXWARD * 15 * s,
            direction(50) * (front + 0.1 * r) - APEXWARD * 22 * s,
            direction(22) * (front - 0.2 * r) - APEXWARD * 33 * s,
        ]
        away = RIGHTWARD - 0.45 * ANTERIOR
        end = way[-1] + away * 55 * s / np.linalg.norm(away)
        radii = np.array(
            [1.15 * r, 1.15 * r, 1.0 * r, 1.05 * r * grown, 1.1 * r * grown, r * grown, 0.75 * r]
        )
        return Tube(np.stack([*way, end]), radii, 1.5)

    @cached_property
    def veins(self) -> tuple[Tube, ...]:
        """Inferior and superior vena cava, a hepatic vein, two pulmonary veins."""
        s, right, left = self.scale, self.right, self.left
        wide = {3.0: 8.0, 8.0: 10.0, 15.0: 12.5}[self.patient.rap] * s
        low = right.centre - SUPERIOR * 0.75 * right.axes[2] - 0.2 * ANTERIOR * right.axes[1]
        far = low - SUPERIOR * 110 * s
        middle = low - SUPERIOR * 30 * s
        caval = Tube(np.stack([far, low, right.centre]), np.array([wide, wide, wide]), 1.0)
        upper = Tube(
            np.stack([right.centre + SUPERIOR * 90 * s, right.centre + 8 * s * SUPERIOR]),
            np.full(2, 7.5 * s),
            1.0,
        )
        hepatic = Tube(
            np.stack([middle + ANTERIOR * 60 * s - SUPERIOR * 30 * s, middle]), np.array([2.0, 4.5]) * s, 0.6
        )
        found = [caval, upper, hepatic]
        for side in (1.0, -1.0):
            out = side * direction(20) - 0.8 * APEXWARD - 0.35 * direction(120)
            mouth = left.centre + 0.75 * out / np.linalg.norm(out) * left.axes.min()
            found.append(Tube(np.stack([mouth + out * 28 * s, mouth]), np.full(2, 4.8 * s), 1.0))
        return tuple(found)


def ellipsoid_size(volume: float, shape: tuple[float, float, float]) -> Floats:
    """Semi-axes, mm, of an ellipsoid of this volume, ml, and these proportions."""
    return np.array(shape) * (3000 * volume / (4 * math.pi * math.prod(shape))) ** (1 / 3)
