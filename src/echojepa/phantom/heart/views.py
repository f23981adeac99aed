"""The thirteen views: each a plane through the same heart, as well as an operator finds it.

Positions follow the usual windows: apical (from the apex), parasternal (from the front, over the septum),
subcostal (from below, through the liver), suprasternal (down onto the arch), and the oesophagus for TEE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from echojepa.phantom.heart.anatomy import ANTERIOR, APEXWARD, RIGHTWARD, SUPERIOR, Anatomy, direction
from echojepa.phantom.heart.ventricles import Floats
from echojepa.phantom.planes import Pose, rotation
from echojepa.vocabulary import View

PARASTERNAL = 120.0
"""Azimuth from which the parasternal window looks."""
APICAL = {View.A4C: 0.0, View.A2C: 60.0, View.A3C: 120.0}
"""Azimuth to the right of the picture in each apical view."""
SHORT_AXIS = {View.PSAX_MV: 0.20, View.PSAX_PM: 0.58, View.PSAX_AP: 0.84}
"""Level of the left ventricle, of its length, that each short-axis view cuts."""


@dataclass(frozen=True)
class Operator:
    """How well a sonographer finds planes: standard deviations."""

    turn: float = 6.0
    """Rotation about the beam, degrees."""
    tilt: float = 3.5
    """Out of the plane, degrees."""
    rock: float = 5.0
    """Within the plane, degrees."""
    offset: float = 3.0
    """Of the probe on the skin, mm in a large adult."""
    foreshortening: float = 6.0
    """Mean distance of an apical probe from the true apex, mm in a large adult; exponential."""


def unit(vector: Floats) -> Floats:
    """Scale to length 1."""
    return vector / np.linalg.norm(vector)


def facing(probe: Floats, target: Floats, right: Floats) -> Pose:
    """A pose that looks from a probe at a target, the picture's right as near to `right` as can be."""
    depth = unit(target - probe)
    lateral = unit(right - depth * (right @ depth))
    return Pose(*(np.asarray(part, dtype=np.float64) for part in (probe, lateral, depth)))


def standard_pose(view: View, anatomy: Anatomy, other: int = 0) -> Pose:
    """The textbook plane of a view at end-diastole; `other` picks among the planes that have no name here."""
    if view in APICAL or view == View.A5C:
        return apical(view, anatomy)
    if view in SHORT_AXIS or view in (View.PLAX, View.PSAX_AV):
        return parasternal(view, anatomy)
    if view == View.OTHER:
        return unnamed(anatomy, other % OTHERS)
    return distant(view, anatomy)


def apical(view: View, anatomy: Anatomy) -> Pose:
    """From the apex towards the base, apex at the top of the picture."""
    probe = APEXWARD * (anatomy.ventricles.apex + 0.75 * anatomy.patient.chest)
    if view == View.A5C:
        return facing(probe, 0.6 * anatomy.aorta.nodes[1] + 0.4 * anatomy.aorta.nodes[2], direction(0))
    if view == View.A4C:
        return facing(probe, anatomy.left.valve * np.array([0.0, 1.0, 0.0]), direction(0))
    return facing(probe, np.zeros(3), direction(APICAL[view]))


def window(anatomy: Anatomy, azimuth: float, level: float) -> Floats:
    """Where a probe stands in front of the heart: its outer surface at a level, and the chest on top."""
    columns = anatomy.ventricles.columns(np.array([math.radians(azimuth)]), np.array([level]))
    edge = math.sqrt(sum(float(part[0]) for part in (columns.inner, columns.wall, columns.crescent)))
    height = APEXWARD * level * anatomy.ventricles.length
    return direction(azimuth) * (edge + 4 + anatomy.patient.chest) + height


def parasternal(view: View, anatomy: Anatomy) -> Pose:
    """From the front: along the long axis (apex left, aorta right), or across it (right ventricle left)."""
    length = anatomy.ventricles.length
    if view == View.PLAX:
        probe = window(anatomy, PARASTERNAL, 0.2)
        return facing(probe, APEXWARD * 0.10 * length, -APEXWARD)
    level = -9.0 * anatomy.scale / length if view == View.PSAX_AV else SHORT_AXIS[view]
    probe = window(anatomy, PARASTERNAL, max(level, 0.0))
    probe[2] = level * length
    # Over the aortic valve the plane leans along the outflow tract, and meets the tricuspid jet.
    lean = 0.2 if view == View.PSAX_AV else 0.0
    right = direction(PARASTERNAL - 90) - lean * APEXWARD
    return facing(probe, APEXWARD * level * length, right)


def distant(view: View, anatomy: Anatomy) -> Pose:
    """Subcostal four chambers, the arch, and the four chambers seen from the oesophagus."""
    s, length = anatomy.scale, anatomy.ventricles.length
    if view == View.SUBCOSTAL:
        middle = APEXWARD * 0.22 * length
        away = unit(direction(192) + 0.42 * APEXWARD)
        surface = window(anatomy, 192, 0.2) @ direction(192) - anatomy.patient.chest
        return facing(middle + away * (surface + 22 * s + anatomy.patient.chest), middle, APEXWARD)
    if view == View.SSN:
        top = anatomy.aorta.nodes[5:14].mean(axis=0)
        probe = top + (SUPERIOR * 52 + ANTERIOR * 4) * s
        return facing(probe, top, anatomy.arch_side)
    left = anatomy.left
    probe = left.centre - APEXWARD * (left.axes[2] + 7 * s)
    return facing(probe, APEXWARD * 0.6 * length, direction(0))


OTHERS = 4
"""Planes without a class of their own: vena cava, right inflow, right-sided apical, oblique short axis."""


def unnamed(anatomy: Anatomy, which: int) -> Pose:
    """A plane that laboratories record and the thirteen classes do not name."""
    s, length = anatomy.scale, anatomy.ventricles.length
    if which == 0:
        entry = anatomy.right.centre - SUPERIOR * anatomy.right.axes[2]
        probe = entry - SUPERIOR * 45 * s + ANTERIOR * 75 * s
        return facing(probe, entry - SUPERIOR * 12 * s, SUPERIOR)
    if which == 1:
        probe = window(anatomy, 135, 0.3)
        return facing(probe, anatomy.right.valve, -APEXWARD)
    if which == 2:
        probe = window(anatomy, 165, 0.75)
        return facing(probe, 0.5 * (anatomy.right.valve + anatomy.left.centre), -RIGHTWARD)
    probe = window(anatomy, PARASTERNAL, 0.35)
    return facing(probe, APEXWARD * 0.15 * length, unit(direction(30) - APEXWARD))


def draw_pose(view: View, anatomy: Anatomy, operator: Operator, rng: np.random.Generator) -> Pose:
    """The plane that one operator finds: turned, tilted, rocked, shifted, and apically foreshortened."""
    pose = standard_pose(view, anatomy, int(rng.integers(OTHERS)))
    if view in APICAL or view == View.A5C:
        slip = rng.exponential(operator.foreshortening) * anatomy.scale
        target = pose.probe + pose.depth * (anatomy.ventricles.apex + 20 * anatomy.scale)
        front = unit(np.cross(pose.lateral, pose.depth))
        front = front if front @ direction(PARASTERNAL) > 0 else -front
        pose = facing(pose.probe + slip * unit(front + 0.4 * pose.lateral), target, pose.lateral)
    normal = np.cross(pose.lateral, pose.depth)
    turn = rotation(pose.depth, math.radians(rng.normal(0, operator.turn)))
    tilt = rotation(pose.lateral, math.radians(rng.normal(0, operator.tilt)))
    rock = rotation(normal, math.radians(rng.normal(0, operator.rock)))
    matrix = rock @ tilt @ turn
    across, out, down = rng.normal(0, operator.offset * anatomy.scale, 3)
    shift = pose.lateral * across + 0.7 * normal * out + 0.5 * pose.depth * down
    return Pose(pose.probe + shift, matrix @ pose.lateral, matrix @ pose.depth)
