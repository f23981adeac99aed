"""Blood velocities: what colour Doppler listens to.

Physical: the flow through each valve is the rate at which its ventricle's volume changes (continuity), so
speeds follow from volumes and areas; the tricuspid jet has the speed that right ventricular pressure gives it
(RVSP = 4 v^2 + RAP), keeps it for five diameters and then slows as 1 / distance while it widens, as a free
round turbulent jet does. Not physical: profiles are prescribed, nothing solves the equations of motion, the
returning vortex is a sketch, pulse waves arrive everywhere at once, and where blood is follows the heart in
`LEVELS` steps of its contraction (so that a colour box costs little).
"""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from echojepa.phantom.heart.anatomy import APEXWARD, Anatomy, Atrium, direction
from echojepa.phantom.heart.motion import Motion
from echojepa.phantom.heart.organs import BLOOD, Organ, find_organs
from echojepa.phantom.heart.ventricles import Floats
from echojepa.phantom.heart.vessels import Tube
from echojepa.phantom.scene import Flow

STEP = 0.004
"""Seconds over which volumes are differenced."""
CORE = 5.0
"""Diameters over which a free jet keeps its speed."""
WIDENING = 0.11
"""Growth of a free jet's half width with distance."""
DOWNSTREAM = 0.8
"""Share of the heart's output that passes the arch's branches."""
JET_LEAN = 0.3
"""Tangent of the tricuspid jet's lean to the back, where the short axis over the aortic valve can see it."""
TURBULENCE = 0.28
"""Spread of velocities in the jet over its mean speed, as on the axis of free turbulent jets."""
VENOUS = 0.3
"""Mean speed in veins, m/s."""


LEVELS = 8
"""Steps of contraction in which the borders of moving blood follow the heart."""
RESTING = 0.03
"""Spread of velocities in still blood, m/s."""


class Source(IntEnum):
    """What drives blood; velocities are linear in each."""

    FILL_LEFT = 0
    FILL_RIGHT = 1
    EJECT_LEFT = 2
    EJECT_RIGHT = 3
    VEINS = 4
    JET = 5


class Field:
    """Velocities (6, n, 3) at n points at rest for one ml/s of flow, or one m/s of jet, from each source."""

    def __init__(self, anatomy: Anatomy, rest: Floats) -> None:
        self.anatomy, self.rest = anatomy, rest
        self.organ = find_organs(anatomy, rest).organ
        self.inside = self.organ <= BLOOD
        self.velocity = np.zeros((len(Source), len(rest), 3), dtype=np.float32)
        left, right = (Organ.LEFT_ATRIUM, Organ.LEFT_VENTRICLE), (Organ.RIGHT_ATRIUM, Organ.RIGHT_VENTRICLE)
        self.inflow(Source.FILL_LEFT, anatomy.left, left)
        self.inflow(Source.FILL_RIGHT, anatomy.right, right)
        self.sink(Source.EJECT_LEFT, Organ.LEFT_VENTRICLE, anatomy.aorta)
        self.sink(Source.EJECT_RIGHT, Organ.RIGHT_VENTRICLE, anatomy.outflow)
        self.along(Source.EJECT_LEFT, Organ.AORTA, anatomy.aorta, 1.0)
        self.along(Source.EJECT_RIGHT, Organ.PULMONARY, anatomy.outflow, 1.0)
        for branch in anatomy.branches:
            share = DOWNSTREAM * float(branch.radii[0] / anatomy.aorta.radii[0]) ** 2
            self.along(Source.EJECT_LEFT, Organ.AORTA, branch, share)
        for vein in anatomy.veins:
            self.along(Source.VEINS, Organ.VEIN, vein, VENOUS * math.pi * float(vein.radii[0]) ** 2)
        self.jet()

    def add(self, source: Source, chosen: NDArray[np.intp], velocity: Floats) -> None:
        """Add velocities (k, 3) at the chosen points."""
        self.velocity[source, chosen] += velocity

    def inflow(self, source: Source, atrium: Atrium, organs: tuple[Organ, Organ]) -> None:
        """Filling through a mitral or tricuspid valve: a jet towards the apex, a slow return beside it."""
        chosen = np.flatnonzero((self.organ == organs[0]) | (self.organ == organs[1]))
        relative = self.rest[chosen] - atrium.valve
        away, z, ring = np.hypot(relative[:, 0], relative[:, 1]), relative[:, 2], atrium.annulus
        width = 0.72 * ring * np.where(z > 0, 1 + 0.12 * z / ring, np.sqrt(1 + (z / ring) ** 2))
        # The profile exp(-(r / w)^4) carries sqrt(pi) / 2 of what a flat one of radius w would.
        speed = 1 / (math.pi * width**2 * math.sqrt(math.pi) / 2)
        length = self.anatomy.ventricles.length
        ahead = np.where(z > 0, np.exp(-((z / (0.6 * length)) ** 2)), 1.0)
        core = np.exp(-((away / width) ** 4))
        back = 0.2 * speed * (1 - core) * np.sin(math.pi * np.clip(z / (0.7 * length), 0, 1))
        self.add(source, chosen, (speed * ahead * core - back)[:, None] * APEXWARD)

    def sink(self, source: Source, organ: Organ, tube: Tube) -> None:
        """Ejection from a ventricle: towards the mouth of a tube, across ever smaller half spheres."""
        chosen = np.flatnonzero(self.organ == organ)
        relative, radius = tube.nodes[1] - self.rest[chosen], float(tube.radii[1])
        distance = np.linalg.norm(relative, axis=1) + 1e-6
        area = math.pi * radius**2 + 2 * math.pi * np.maximum(distance - radius, 0) ** 2
        self.add(source, chosen, relative / (area * distance)[:, None])

    def along(self, source: Source, organ: Organ, tube: Tube, share: float) -> None:
        """Flow of `share` ml/s along a vessel, nearly the same over its section."""
        close = tube.close(self.rest, 0.0)
        close = close[self.organ[close] == organ]
        if not len(close):
            return
        near = tube.near(self.rest[close])
        inside = near.distance < 0
        reach = np.clip(near.distance / near.radius + 1, 0, 1)
        # A profile 1 - (r / R)^8 carries 0.8 of what a flat one would.
        speed = share / (0.8 * math.pi * near.radius**2) * (1 - reach**8)
        self.add(source, close[inside], (speed[:, None] * near.direction)[inside])

    def jet(self) -> None:
        """The tricuspid jet into the right atrium, and the blood that gathers before it."""
        anatomy, width = self.anatomy, self.anatomy.patient.regurgitation
        origin = anatomy.right.valve + APEXWARD * 3.0 * anatomy.scale
        axis = anatomy.right.centre - origin
        axis = axis / np.linalg.norm(axis) + JET_LEAN * direction(300)
        axis = axis / np.linalg.norm(axis)
        chosen = np.flatnonzero((self.organ == Organ.RIGHT_ATRIUM) | (self.organ == Organ.RIGHT_VENTRICLE))
        relative = self.rest[chosen] - origin
        forward, distance = relative @ axis, np.linalg.norm(relative, axis=1) + 1e-6
        away = np.sqrt(np.maximum(distance**2 - forward**2, 0))
        broad = 0.5 * width + WIDENING * np.maximum(forward, 0)
        centre = np.minimum(1.0, CORE * width / np.maximum(forward, 1e-3))
        ahead = np.where(forward > 0, centre * np.exp(-((away / broad) ** 2)), 0.0)
        # Upstream, the same flow crosses ever smaller half spheres.
        gather = np.where(forward <= 0, np.minimum(1.0, (width / 2) ** 2 / (2 * distance**2)), 0.0)
        self.add(Source.JET, chosen, ahead[:, None] * axis - relative * (gather / distance)[:, None])


class Blood:
    """The moving blood of one patient, quick to ask again at the same points."""

    def __init__(self, motion: Motion) -> None:
        self.motion = motion
        self.points: Floats = np.zeros((0, 3))
        self.fields: dict[tuple[int, bool], Field] = {}

    def rates(self, time: float) -> tuple[float, float]:
        """How fast the left and right ventricle grow at a time, ml/s; negative in ejection."""
        patient = self.motion.anatomy.patient
        after, before = (patient.rhythm.at(time + step).contraction for step in (STEP, -STEP))
        rate = -(after - before) / (2 * STEP)
        return rate * patient.edv * patient.ejection, rate * self.motion.right_stroke

    def jet_speed(self, time: float) -> float:
        """Speed of the tricuspid jet at a time, m/s: its peak times the root of relative pressure."""
        instant = self.motion.anatomy.patient.rhythm.at(time)
        return 0.0 if instant.filling else self.motion.anatomy.patient.jet_speed * math.sqrt(instant.pressure)

    def field(self, points: Floats, time: float) -> Field:
        """Unit flows at points in the heart's state at a time, kept while the points stay the same."""
        if not np.array_equal(points, self.points):
            self.points, self.fields = np.array(points), {}
        instant = self.motion.anatomy.patient.rhythm.at(time)
        key = round(instant.contraction * LEVELS), instant.filling
        if key not in self.fields:
            rest = self.motion.rest(points, self.motion.state(instant))
            self.fields[key] = Field(self.motion.anatomy, rest)
        return self.fields[key]

    def at(self, points: Floats, time: float) -> Flow:
        """Blood at points (n, 3), mm, at a time, s."""
        field, (left, right), jet = self.field(points, time), self.rates(time), self.jet_speed(time)
        drive = [max(left, 0.0), max(right, 0.0), max(-left, 0.0), max(-right, 0.0), 1.0, jet]
        velocity = np.tensordot(np.array(drive, dtype=np.float32), field.velocity, axes=1)
        laminar = RESTING + 0.08 * np.linalg.norm(velocity, axis=1)
        turbulent = TURBULENCE * jet * np.linalg.norm(field.velocity[Source.JET], axis=1)
        return Flow(velocity, np.maximum(laminar, turbulent) * field.inside, field.inside)
