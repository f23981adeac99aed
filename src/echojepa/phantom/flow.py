"""Blood velocities: what colour Doppler listens to.

Physical: the flow through each valve is the rate at which its ventricle's volume changes (continuity), so
speeds follow from volumes and areas; the tricuspid jet has the speed that right ventricular pressure gives it
(RVSP = 4 v^2 + RAP), keeps it for five diameters and then slows as 1 / distance while it widens, as a free
round turbulent jet does. Not physical: profiles are prescribed, nothing solves the equations of motion, the
returning vortex is a sketch, and pulse waves arrive everywhere at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from echojepa.phantom.anatomy import APEXWARD, Anatomy, Atrium
from echojepa.phantom.motion import Motion
from echojepa.phantom.organs import BLOOD, Organ, find_organs
from echojepa.phantom.scene import Flow
from echojepa.phantom.ventricles import Floats
from echojepa.phantom.vessels import Tube

STEP = 0.004
"""Seconds over which volumes are differenced."""
CORE = 5.0
"""Diameters over which a free jet keeps its speed."""
WIDENING = 0.11
"""Growth of a free jet's half width with distance."""
DOWNSTREAM = 0.8
"""Share of the heart's output that passes the arch's branches."""
VENOUS = 0.3
"""Mean speed in veins, m/s."""


@dataclass
class Field:
    """Velocities under construction at n points at rest."""

    rest: Floats
    organ: np.ndarray
    velocity: Floats
    spread: Floats

    def add(self, chosen: np.ndarray, velocity: Floats) -> None:
        """Add velocities (k, 3), m/s, at the chosen points."""
        self.velocity[chosen] += velocity


@dataclass(frozen=True)
class Blood:
    """The moving blood of one patient."""

    motion: Motion

    @property
    def anatomy(self) -> Anatomy:
        """Where it runs."""
        return self.motion.anatomy

    def rates(self, time: float) -> tuple[float, float]:
        """How fast the left and right ventricle grow at a time, ml/s; negative in ejection."""
        patient = self.anatomy.patient
        after, before = (patient.rhythm.at(time + step).contraction for step in (STEP, -STEP))
        rate = -(after - before) / (2 * STEP)
        return rate * patient.edv * patient.ejection, rate * self.motion.right_stroke

    def jet_speed(self, time: float) -> float:
        """Speed of the tricuspid jet at a time, m/s: its peak, times the root of the relative pressure."""
        instant = self.anatomy.patient.rhythm.at(time)
        return 0.0 if instant.filling else self.anatomy.patient.jet_speed * math.sqrt(instant.pressure)

    def at(self, points: Floats, time: float) -> Flow:
        """Blood at points (n, 3), mm, at a time, s."""
        state = self.motion.state(self.anatomy.patient.rhythm.at(time))
        rest = self.motion.rest(points, state)
        organ = find_organs(self.anatomy, rest).organ
        field = Field(rest, organ, np.zeros((len(rest), 3)), np.full(len(rest), 0.03))
        left, right = self.rates(time)
        pairs = (
            (self.anatomy.left, Organ.LEFT_ATRIUM, Organ.LEFT_VENTRICLE, left),
            (self.anatomy.right, Organ.RIGHT_ATRIUM, Organ.RIGHT_VENTRICLE, right),
        )
        for atrium, above, below, rate in pairs:
            inflow(field, atrium, (above, below), max(rate, 0.0), self.anatomy.ventricles.length)
        self.arteries(field, max(-left, 0.0), max(-right, 0.0))
        self.veins(field)
        self.jet(field, self.jet_speed(time))
        inside = organ <= BLOOD
        speed = np.linalg.norm(field.velocity, axis=1)
        spread = np.maximum(field.spread, 0.03 + 0.08 * speed)
        return Flow(field.velocity * inside[:, None], spread * inside, inside)

    def arteries(self, field: Field, left: float, right: float) -> None:
        """Ejection through outflow tracts and along the great vessels; ml/s."""
        aorta, outflow = self.anatomy.aorta, self.anatomy.outflow
        sink(field, Organ.LEFT_VENTRICLE, aorta.nodes[1], left, float(aorta.radii[1]))
        sink(field, Organ.RIGHT_VENTRICLE, outflow.nodes[1], right, float(outflow.radii[1]))
        along(field, Organ.PULMONARY, outflow, right)
        along(field, Organ.AORTA, aorta, left)
        for branch in self.anatomy.branches:
            area = math.pi * float(branch.radii[0]) ** 2 / (math.pi * float(aorta.radii[0]) ** 2)
            along(field, Organ.AORTA, branch, left * area * DOWNSTREAM)

    def veins(self, field: Field) -> None:
        """A steady return through the veins."""
        for vein in self.anatomy.veins:
            along(field, Organ.VEIN, vein, VENOUS * math.pi * float(vein.radii[0]) ** 2)

    def jet(self, field: Field, speed: float) -> None:
        """The tricuspid jet into the right atrium, and the blood that gathers before it."""
        if speed < 0.2:
            return
        right, width = self.anatomy.right, self.anatomy.patient.regurgitation
        origin = right.valve + APEXWARD * 3.0 * self.anatomy.scale
        axis = right.centre - origin
        axis = axis / np.linalg.norm(axis)
        chosen = np.flatnonzero((field.organ == Organ.RIGHT_ATRIUM) | (field.organ == Organ.RIGHT_VENTRICLE))
        relative = field.rest[chosen] - origin
        forward = relative @ axis
        away = np.sqrt(np.maximum(np.einsum("ij,ij->i", relative, relative) - forward**2, 0))
        broad = 0.5 * width + WIDENING * np.maximum(forward, 0)
        centre = speed * np.minimum(1.0, CORE * width / np.maximum(forward, 1e-3))
        local = np.where(forward > 0, centre * np.exp(-((away / broad) ** 2)), 0.0)
        field.add(chosen, local[:, None] * axis)
        field.spread[chosen] = np.maximum(field.spread[chosen], 0.28 * local)
        # Upstream, the same flow crosses ever smaller half spheres.
        distance = np.hypot(forward, away)
        gather = np.where(
            forward <= 0, speed * np.minimum(1.0, (width / 2) ** 2 / (2 * distance**2 + 1e-6)), 0.0
        )
        field.add(chosen, -relative * (gather / (distance + 1e-6))[:, None])


def inflow(field: Field, atrium: Atrium, organs: tuple[Organ, Organ], rate: float, length: float) -> None:
    """Filling through a mitral or tricuspid valve at `rate` ml/s: a jet to the apex, slow return beside."""
    if rate <= 0:
        return
    chosen = np.flatnonzero((field.organ == organs[0]) | (field.organ == organs[1]))
    relative = field.rest[chosen] - atrium.valve
    away, z = np.hypot(relative[:, 0], relative[:, 1]), relative[:, 2]
    width = (
        0.72
        * atrium.annulus
        * np.where(z > 0, 1 + 0.12 * z / atrium.annulus, np.sqrt(1 + (z / atrium.annulus) ** 2))
    )
    # The profile exp(-(r / w)^4) carries sqrt(pi) / 2 of what a flat one of radius w would.
    speed = rate / (math.pi * width**2 * math.sqrt(math.pi) / 2)
    ahead = np.where(z > 0, np.exp(-((z / (0.6 * length)) ** 2)), 1.0)
    core = np.exp(-((away / width) ** 4))
    back = np.where((z > 0) & (z < 0.7 * length), 0.2 * speed * (1 - core), 0.0)
    field.add(chosen, (speed * ahead * core - back)[:, None] * APEXWARD)


def sink(field: Field, organ: Organ, mouth: Floats, rate: float, radius: float) -> None:
    """Ejection from a ventricle at `rate` ml/s: towards the outlet, across ever smaller half spheres."""
    if rate <= 0:
        return
    chosen = np.flatnonzero(field.organ == organ)
    relative = mouth - field.rest[chosen]
    distance = np.sqrt(np.einsum("ij,ij->i", relative, relative)) + 1e-6
    area = math.pi * radius**2 + 2 * math.pi * np.maximum(distance - radius, 0) ** 2
    field.add(chosen, relative * (rate / area / distance)[:, None])


def along(field: Field, organ: Organ, tube: Tube, rate: float) -> None:
    """Flow along a vessel at `rate` ml/s, nearly the same over its section."""
    if rate <= 0:
        return
    close = tube.close(field.rest, 0.0)
    close = close[field.organ[close] == organ]
    if not len(close):
        return
    near = tube.near(field.rest[close])
    inside = near.distance < 0
    share = np.clip((near.distance + near.radius) / near.radius, 0, 1)
    # A profile 1 - (r / R)^8 carries 0.8 of what a flat one would.
    speed = rate / (0.8 * math.pi * near.radius**2) * (1 - share**8)
    field.add(close[inside], (speed[:, None] * near.direction)[inside])
