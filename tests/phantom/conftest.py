"""Scenes of the tests' own: no heart, and nothing that the phantom computes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from echojepa.phantom.planes import Pose
from echojepa.phantom.scene import Flow, Tissue

POSE = Pose(np.zeros(3), np.array([1.0, 0, 0]), np.array([0.0, 0, 1]))
HALF_ANGLE = 0.7


class Uniform:
    """Scatterers spread evenly over a sector 16 mm thick, at rest, without blood."""

    def __init__(self, depth: float, count: int, amplitude: float = 1.0) -> None:
        rng = np.random.default_rng(7)
        ranges = depth * np.sqrt(rng.uniform(0, 1, count))
        angles = rng.uniform(-HALF_ANGLE - 0.1, HALF_ANGLE + 0.1, count)
        self.positions = POSE.place(ranges, angles, rng.uniform(-8, 8, count))
        self.amplitude = np.full(count, amplitude)
        self.density = count / ((HALF_ANGLE + 0.1) * depth**2 * 16)

    def tissue(self, time: float) -> Tissue:
        return Tissue(self.positions, self.amplitude)

    def flow(self, points: np.ndarray, time: float) -> Flow:
        nothing = np.zeros(len(points))
        return Flow(np.zeros((len(points), 3)), nothing, nothing > 0)


class Stream(Uniform):
    """Blood everywhere, moving at one velocity in m/s along the axis of the sector (positive: away)."""

    def __init__(self, away: float, spread: float = 0.0) -> None:
        super().__init__(100.0, 500, 0.0)
        self.away, self.spread = away, spread

    def flow(self, points: np.ndarray, time: float) -> Flow:
        velocity = np.zeros((len(points), 3))
        velocity[:, 2] = self.away
        return Flow(velocity, np.full(len(points), self.spread), np.ones(len(points), dtype=bool))


class Disc(Uniform):
    """A bright ring around a dark disc in grey surroundings, beating once a second."""

    def __init__(self, depth: float = 120.0, count: int = 8000) -> None:
        super().__init__(depth, count)
        self.centre = np.array([0.0, 0, 0.55 * depth])
        offset = self.positions - self.centre
        offset[:, 1] = 0
        self.radius = np.linalg.norm(offset, axis=1)
        self.outward = offset / self.radius[:, None]
        self.hole = 0.25 * depth
        ring = (self.radius >= self.hole) & (self.radius < self.hole + 12)
        self.amplitude = np.where(ring, 1.0, 0.3) * (self.radius >= self.hole)

    def tissue(self, time: float) -> Tissue:
        near = np.exp(-(((self.radius - self.hole) / 20) ** 2))
        moved = -6 * math.sin(math.pi * time) ** 2 * near
        return Tissue(self.positions + moved[:, None] * self.outward, self.amplitude)


@pytest.fixture(scope="session")
def scenes() -> SimpleNamespace:
    """The scenes, and the pose that looks down their z axis."""
    return SimpleNamespace(Uniform=Uniform, Stream=Stream, Disc=Disc, pose=POSE, half_angle=HALF_ANGLE)
