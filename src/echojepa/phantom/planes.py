"""Standard views as planes through one heart, each with a sonographer's own tilt and offset."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echojepa.phantom.heart import Points, Shape
from echojepa.vocabulary import View

AZIMUTH = {View.A4C: 0.0, View.A2C: 60.0, View.PLAX: 120.0}
"""Rotation of each plane about the long axis, degrees; A4C cuts the septum and the lateral wall."""


@dataclass(frozen=True)
class Pose:
    """Where the probe is and how the picture lies in space."""

    probe: Points
    """(3,) position of the beam's origin, mm."""
    lateral: Points
    """(3,) unit vector towards the right of the picture."""
    depth: Points
    """(3,) unit vector down the picture."""

    def project(self, points: NDArray[np.floating]) -> tuple[Points, Points, Points]:
        """Points (n, 3) -> range mm, angle radians (right positive), distance from the plane mm."""
        relative = points - self.probe
        across, down = relative @ self.lateral, relative @ self.depth
        return np.hypot(across, down), np.arctan2(across, down), relative @ np.cross(self.lateral, self.depth)

    def place(self, ranges: Points, angles: Points, elevation: Points) -> Points:
        """The inverse of `project`."""
        across, down = ranges * np.sin(angles), ranges * np.cos(angles)
        normal = np.cross(self.lateral, self.depth)
        return (
            self.probe
            + np.outer(across, self.lateral)
            + np.outer(down, self.depth)
            + np.outer(elevation, normal)
        )


def rotation(axis: Points, angle: float) -> Points:
    """Rotation matrix about a unit axis (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def standard_pose(view: View, shape: Shape) -> Pose:
    """The textbook plane of a view for a heart of this end-diastolic shape.

    Apical views look from the apex down the long axis (apex at the top of the picture); PLAX looks at
    the long axis from the front, apex to the left.
    """
    azimuth = math.radians(AZIMUTH[view])
    outward = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    if view == View.PLAX:
        middle = np.array([0.0, 0.0, shape.base + 0.35 * shape.axes[2]])
        return Pose(
            middle + outward * -(shape.axes[0] + shape.thickness + 38.0), np.array([0.0, 0, -1]), outward
        )
    return Pose(np.array([0.0, 0.0, 12.0]), outward, np.array([0.0, 0.0, -1.0]))


def draw_pose(view: View, shape: Shape, rng: np.random.Generator) -> Pose:
    """The plane that one sonographer finds: turned, tilted, rocked and shifted a little."""
    pose = standard_pose(view, shape)
    normal = np.cross(pose.lateral, pose.depth)
    turn = rotation(pose.depth, math.radians(rng.normal(0, 7)))
    tilt = rotation(pose.lateral, math.radians(rng.normal(0, 4)))
    rock = rotation(normal, math.radians(rng.normal(0, 5)))
    matrix = rock @ tilt @ turn
    shift = pose.lateral * rng.normal(0, 4) + normal * rng.normal(0, 3) + pose.depth * rng.normal(0, 3)
    return Pose(pose.probe + shift, matrix @ pose.lateral, matrix @ pose.depth)
