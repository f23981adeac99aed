"""Where a probe is and how its picture lies in space."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from echojepa.phantom.scene import Points


@dataclass(frozen=True)
class Pose:
    """Where the probe is and how the picture lies in space."""

    probe: Points
    """(3,) position of the beam's origin, mm."""
    lateral: Points
    """(3,) unit vector towards the right of the picture."""
    depth: Points
    """(3,) unit vector down the picture."""

    def project(self, points: Points) -> tuple[Points, Points, Points]:
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
