"""Leaflets: sheets hinged on their annuli, described at rest and moved by how far their valve is open.

Not physical: leaflets swing and do not bend under pressure; chords are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echojepa.phantom.heart.anatomy import APEXWARD, Anatomy, Atrium, direction
from echojepa.phantom.heart.ventricles import Floats

CROWDING = 5.0
"""Scatterers of a leaflet over those of as much muscle, each weaker: so thin sheets look whole."""
THICKNESS = 1.3
"""Of a leaflet, mm in a large adult."""


@dataclass(frozen=True)
class Leaflets:
    """Points on leaflets, closed and open; all (n, 3) at rest, mm."""

    hinge: Floats
    """Where the leaflet under each point meets the annulus."""
    closed: Floats
    """From there to the point, with the valve closed."""
    opened: Floats
    """From there to the point, with the valve wide open."""
    arterial: NDArray[np.bool_]
    """(n,) whether on the aortic or pulmonary valve; else on the mitral or tricuspid one."""

    @property
    def ends(self) -> Floats:
        """All points three times (3n, 3): on the annulus, with valves closed, and open."""
        return np.concatenate([self.hinge, self.hinge + self.closed, self.hinge + self.opened])

    def swing(self, ends: Floats, openings: tuple[float, float]) -> Floats:
        """Positions (n, 3) between closed and open ones, keeping each point's distance from its hinge.

        `ends` is where the heart's motion has carried those of rest. `openings` are those of the mitral and
        tricuspid, and of the aortic and pulmonary valves, 0 to 1.
        """
        hinge, closed, opened = np.split(ends, 3)
        share = np.where(self.arterial, np.float32(openings[1]), np.float32(openings[0]))[:, None]
        start, end = closed - hinge, opened - hinge
        way = start + share * (end - start)
        length = np.sqrt((way * way).sum(axis=1, keepdims=True)) + np.float32(1e-6)
        reach = np.sqrt((start * start).sum(axis=1, keepdims=True))
        return hinge + np.where(self.arterial[:, None], way, way * (reach / length))


def inflow_leaflets(
    atrium: Atrium, long_side: float, reach: float, scale: float, count: int, rng: np.random.Generator
) -> Leaflets:
    """Two leaflets of a mitral or tricuspid valve; the longer one hangs at azimuth `long_side`."""
    around, along = rng.uniform(0, 2 * math.pi, count), np.sqrt(rng.uniform(0, 1, count))
    depth = (rng.uniform(-0.5, 0.5, count) * THICKNESS * scale)[:, None]
    rim = np.stack([np.cos(around), np.sin(around), np.zeros(count)], axis=1)
    hinge = atrium.valve + atrium.annulus * rim
    angle = (around - math.radians(long_side) + math.pi) % (2 * math.pi) - math.pi
    # Closed edges meet along a curve displaced away from the longer leaflet.
    sideways = direction(long_side + 90) * (0.8 * np.sin(angle))[:, None]
    meeting = atrium.annulus * (sideways - direction(long_side) * (0.25 + 0.2 * np.cos(angle) ** 2)[:, None])
    tip = atrium.valve + meeting + APEXWARD * 4.5 * scale
    length = np.linalg.norm(tip - hinge, axis=1, keepdims=True) * reach
    length = np.maximum(length, 0.55 * atrium.annulus)
    inward = tip - hinge
    inward = inward / (np.linalg.norm(inward, axis=1, keepdims=True) + 1e-6)
    share = along[:, None]
    sag = APEXWARD * (2.2 * scale * np.sin(math.pi * along))[:, None]
    closed = inward * length * share + sag + APEXWARD * depth
    lean = np.where(np.abs(angle) < math.radians(72), 0.30, 0.12)[:, None]
    opened = length * share * (APEXWARD - lean * rim) / np.sqrt(1 + lean**2) + rim * depth
    return Leaflets(hinge, closed, opened, np.zeros(count, dtype=bool))


def arterial_cusps(
    centre: Floats, up: Floats, radius: float, count: int, rng: np.random.Generator
) -> Leaflets:
    """Three cusps in a vessel that runs along `up`: a three-pointed star when closed, a tube when open."""
    up = up / np.linalg.norm(up)
    across = np.cross(up, direction(120))
    across = across / np.linalg.norm(across)
    other = np.cross(up, across)
    cusp, place = rng.integers(0, 3, count), rng.uniform(-1, 1, count)
    along = np.sqrt(rng.uniform(0, 1, count))[:, None]

    def ring(angle: Floats) -> Floats:
        return np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * other

    middle = cusp * (2 * math.pi / 3)
    angle = middle + place * math.pi / 3
    commissure = ring(middle + np.sign(place) * math.pi / 3)
    hinge = centre + radius * ring(angle) + up * (0.9 * radius * place**2)[:, None]
    closed = centre + 0.97 * radius * commissure * np.abs(place)[:, None] + up * 0.85 * radius - hinge
    opened = centre + 0.86 * radius * ring(angle) + up * 1.05 * radius - hinge
    belly = up * (0.25 * radius * np.sin(math.pi * along[:, 0]) * (1 - np.abs(place)))[:, None]
    return Leaflets(hinge, closed * along - belly, opened * along, np.ones(count, dtype=bool))


def draw_leaflets(anatomy: Anatomy, density: float, rng: np.random.Generator) -> Leaflets:
    """Points on the leaflets of all four valves; `density` is that of muscle, a mm^3."""
    s, outflow = anatomy.scale, anatomy.outflow

    def count(radius: float, share: float) -> int:
        return max(24, round(density * CROWDING * share * math.pi * radius**2 * THICKNESS * s))

    left, right, valve = anatomy.left, anatomy.right, 0.5 * anatomy.patient.aorta
    up = anatomy.aorta.nodes[2] - anatomy.aorta.nodes[1]
    onward = outflow.nodes[3] - outflow.nodes[2]
    valves = (
        inflow_leaflets(left, 120.0, 1.12, s, count(left.annulus, 2.0), rng),
        inflow_leaflets(right, 60.0, 1.05, s, count(right.annulus, 1.6), rng),
        arterial_cusps(anatomy.root + 2 * s * up / np.linalg.norm(up), up, valve, count(valve, 2.0), rng),
        arterial_cusps(outflow.nodes[2], onward, float(outflow.radii[2]), count(outflow.radii[2], 1.6), rng),
    )
    names = ("hinge", "closed", "opened", "arterial")
    return Leaflets(*(np.concatenate([getattr(part, name) for part in valves]) for name in names))
