"""Which organ lies where at rest: blood, walls and surroundings, by one fixed order of precedence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from echojepa.phantom.heart.anatomy import ANTERIOR, RIGHTWARD, SUPERIOR, Anatomy
from echojepa.phantom.heart.motion import Layers
from echojepa.phantom.heart.ventricles import RELAXED, Floats


class Organ(IntEnum):
    """What a point belongs to; blood first."""

    LEFT_VENTRICLE = 0
    RIGHT_VENTRICLE = 1
    LEFT_ATRIUM = 2
    RIGHT_ATRIUM = 3
    AORTA = 4
    PULMONARY = 5
    VEIN = 6
    MYOCARDIUM = 7
    PAPILLARY = 8
    RIGHT_WALL = 9
    ATRIAL_WALL = 10
    VESSEL_WALL = 11
    FIBROUS = 12
    PERICARDIUM = 13
    FAT = 14
    LUNG = 15
    LIVER = 16


BLOOD = Organ.VEIN
"""Organs up to this one are blood."""
PAPILLARY_AZIMUTHS = math.radians(-27), math.radians(224)
"""Anterolateral and posteromedial papillary muscle."""


@dataclass(frozen=True)
class Place:
    """What n points at rest belong to."""

    organ: np.ndarray
    """(n,) `Organ` as int8."""
    normal: Floats
    """(n, 3) of the nearest border, a unit vector."""
    border: Floats
    """(n,) mm from tissue to that border; large deep inside an organ."""


class Finder:
    """Fills in a `Place` step by step; later steps overwrite earlier ones."""

    def __init__(self, anatomy: Anatomy, points: Floats) -> None:
        self.anatomy, self.points = anatomy, points
        count = len(points)
        self.organ = np.full(count, Organ.FAT, dtype=np.int8)
        self.normal, self.border = np.zeros((count, 3)), np.full(count, 99.0)

    def put(self, chosen: np.ndarray, organ: Organ, normal: Floats, border: Floats) -> None:
        """Assign indices `chosen` to an organ."""
        self.organ[chosen], self.normal[chosen], self.border[chosen] = organ, normal, border

    def place(self) -> Place:
        """Do everything in order."""
        self.surroundings()
        self.ventricles()
        self.atria()
        self.vessels()
        return Place(self.organ, self.normal, self.border)

    def surroundings(self) -> None:
        """Lung to the left and behind, liver below and right, fat between."""
        s, points = self.anatomy.scale, self.points
        down, right, front = -(points @ SUPERIOR), points @ RIGHTWARD, points @ ANTERIOR
        self.organ[(right < -45 * s) & (front < 60 * s)] = Organ.LUNG
        self.organ[(front < -52 * s) & (np.abs(right) > 25 * s)] = Organ.LUNG
        self.organ[(right > 78 * s) & (down < 30 * s)] = Organ.LUNG
        self.organ[(down > 42 * s) & (right > -35 * s) & (front > -70 * s)] = Organ.LIVER

    def ventricles(self) -> None:
        """The nested layers at and beyond the base."""
        anatomy = self.anatomy
        near = np.flatnonzero((self.points[:, 2] > 0) & (self.points[:, 2] < anatomy.ventricles.apex + 4))
        points = self.points[near]
        x, y, z = points.T
        radius = np.hypot(x, y)
        layers = Layers(anatomy, np.arctan2(y, x), z)
        edges = np.sqrt(layers.relaxed)
        layer, _ = layers.locate(radius**2, RELAXED)
        slope = -np.gradient(
            np.sqrt(anatomy.ventricles.outer(np.linspace(0, 1, 60) * anatomy.ventricles.end))
        )
        rise = np.interp(
            z, np.linspace(0, anatomy.ventricles.apex, 60), slope / (anatomy.ventricles.apex / 59)
        )
        normal = np.stack([x / (radius + 1e-6), y / (radius + 1e-6), rise], axis=1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        flat = 1 / np.sqrt(1 + rise**2)
        for number, organ in ((0, Organ.LEFT_VENTRICLE), (2, Organ.RIGHT_VENTRICLE)):
            chosen = layer == number
            self.put(near[chosen], organ, normal[chosen], np.full(chosen.sum(), 99.0))
        covered = edges[3] - edges[2] > 0.5
        for number, organ in ((1, Organ.MYOCARDIUM), (3, Organ.RIGHT_WALL)):
            chosen = layer == number
            low, high = radius - edges[number], edges[number + 1] - radius
            border = np.where(covered | (number == 3), np.minimum(low, high), low)[chosen]
            self.put(near[chosen], organ, normal[chosen], border * flat[chosen])
        beyond = (layer == 4) & ((radius - edges[4]) * flat < 1.6)
        self.put(near[beyond], Organ.PERICARDIUM, normal[beyond], (radius - edges[4])[beyond])
        self.papillary(near, np.arctan2(y, x), radius, edges[1])

    def papillary(self, near: np.ndarray, azimuth: Floats, radius: Floats, edge: Floats) -> None:
        """Two muscles on the inside of the left wall."""
        ventricles, s = self.anatomy.ventricles, self.anatomy.scale
        level = self.points[near, 2] / ventricles.length
        for middle in PAPILLARY_AZIMUTHS:
            turn = (azimuth - middle + math.pi) % (2 * math.pi) - math.pi
            lift = (1.5 + 6.0 * np.clip(1 - (level - 0.45) / 0.35, 0, 1)) * s
            size = np.clip((level - 0.36) / 0.12, 0.3, 1)
            away = ((edge - radius - lift) / (5.6 * s * size)) ** 2 + (turn * radius / (5.2 * s * size)) ** 2
            inside = (away < 1) & (level > 0.40) & (level < 0.78) & (radius < edge)
            turned = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(len(azimuth))], axis=1)
            self.put(near[inside], Organ.PAPILLARY, turned[inside], (5.6 * s * (1 - np.sqrt(away)))[inside])

    def atria(self) -> None:
        """Both atria behind the base, their walls, and the fibrous ring between."""
        anatomy = self.anatomy
        behind = np.flatnonzero(self.points[:, 2] < 8 * anatomy.scale)
        points = self.points[behind]
        ring = (points[:, 2] < 0) & (points[:, 2] > -3 * anatomy.scale)
        radius = np.hypot(points[:, 0], points[:, 1])
        layers = Layers(anatomy, np.arctan2(points[:, 1], points[:, 0]), np.zeros(len(points)))
        ring &= radius < np.sqrt(layers.relaxed[4])
        up = np.tile([0.0, 0.0, 1.0], (int(ring.sum()), 1))
        self.put(behind[ring], Organ.FIBROUS, up, -points[ring, 2])
        found = [(anatomy.left, Organ.LEFT_ATRIUM), (anatomy.right, Organ.RIGHT_ATRIUM)]
        for atrium, _ in found:
            distance, normal = atrium.near(points)
            wall = (distance < 2.6 * math.sqrt(anatomy.scale)) & (points[:, 2] < 0)
            self.put(behind[wall], Organ.ATRIAL_WALL, normal[wall], np.maximum(distance[wall], 0))
        for atrium, organ in found:
            distance, normal = atrium.near(points)
            inside = (distance < 0) & (self.organ[behind] > BLOOD) & (points[:, 2] < atrium.valve[2] + 2)
            self.put(behind[inside], organ, normal[inside], np.full(inside.sum(), 99.0))

    def vessels(self) -> None:
        """Tubes: walls first where there is no blood, then lumens; the aorta wins over the atria."""
        anatomy = self.anatomy
        arteries = [(tube, Organ.AORTA) for tube in (anatomy.aorta, *anatomy.branches)]
        veins = [(tube, Organ.VEIN) for tube in anatomy.veins]
        for tube, organ in [*veins, (anatomy.outflow, Organ.PULMONARY), *arteries]:
            close = tube.close(self.points, tube.wall)
            if not len(close):
                continue
            near, kind = tube.near(self.points[close]), self.organ[close]
            free = kind > BLOOD
            if organ == Organ.AORTA:
                free |= (kind >= Organ.LEFT_ATRIUM) & (near.along > 8 * anatomy.scale) & (kind != Organ.AORTA)
            # Beyond the base there are no arteries, only the ventricles that they rise from.
            free &= (self.points[close, 2] < 0) | (organ == Organ.VEIN)
            wall = free & (near.distance > 0) & (near.distance < tube.wall)
            self.put(close[wall], Organ.VESSEL_WALL, near.outward[wall], near.distance[wall])
            kept = kind <= BLOOD if organ == Organ.VEIN else kind <= Organ.RIGHT_VENTRICLE
            lumen = (near.distance < 0) & ~kept
            self.put(close[lumen], organ, near.outward[lumen], np.full(lumen.sum(), 99.0))


def find_organs(anatomy: Anatomy, rest: Floats) -> Place:
    """What points (n, 3) at rest, mm, belong to."""
    return Finder(anatomy, np.asarray(rest)).place()
