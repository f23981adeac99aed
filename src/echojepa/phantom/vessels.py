"""Tubes: great vessels, veins and the right ventricle's outflow, as chains of balls joined along lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echojepa.phantom.ventricles import Floats


@dataclass(frozen=True)
class Near:
    """Where n points lie against a tube."""

    distance: Floats
    """(n,) mm from the lumen's surface, negative inside."""
    outward: Floats
    """(n, 3) unit vector away from the centre line."""
    along: Floats
    """(n,) mm along the tube from its start."""
    direction: Floats
    """(n, 3) unit vector along the tube."""
    radius: Floats
    """(n,) the lumen's radius there, mm."""


@dataclass(frozen=True)
class Tube:
    """A vessel: nodes (k, 3) and radii (k,) in mm, in the direction that blood flows, and its wall."""

    nodes: Floats
    radii: Floats
    wall: float

    @property
    def length(self) -> float:
        """Of the centre line, mm."""
        return float(np.linalg.norm(np.diff(self.nodes, axis=0), axis=1).sum())

    def close(self, points: Floats, margin: float) -> np.ndarray:
        """Indices of the points in the tube's box and `margin` mm around; what is elsewhere costs nothing."""
        reach = self.radii.max() + margin
        low, high = self.nodes.min(axis=0) - reach, self.nodes.max(axis=0) + reach
        return np.flatnonzero(((points > low) & (points < high)).all(axis=1))

    def near(self, points: Floats) -> Near:
        """Relate points (n, 3) to the closest part of the tube."""
        count = len(points)
        best = np.full(count, np.inf)
        outward, direction = np.zeros((count, 3)), np.zeros((count, 3))
        along, radius = np.zeros(count), np.zeros(count)
        passed = 0.0
        for number in range(len(self.nodes) - 1):
            start, step = self.nodes[number], self.nodes[number + 1] - self.nodes[number]
            length = float(np.linalg.norm(step))
            relative = points - start
            share = np.clip(relative @ step / length**2, 0, 1)
            offset = relative - share[:, None] * step
            away = np.sqrt(np.einsum("ij,ij->i", offset, offset))
            lumen = self.radii[number] + share * (self.radii[number + 1] - self.radii[number])
            better = away - lumen < best
            best = np.where(better, away - lumen, best)
            outward[better] = offset[better] / (away[better, None] + 1e-6)
            direction[better] = step / length
            along[better] = passed + share[better] * length
            radius[better] = lumen[better]
            passed += length
        return Near(best, outward, along, direction, radius)


def arc(centre: Floats, start: Floats, middle: Floats, radius: float, count: int = 9) -> Floats:
    """Half a circle (count, 3) of which `start` and `middle` are unit vectors from its centre."""
    angles = np.linspace(0, np.pi, count)[:, None]
    return centre + radius * (np.cos(angles) * start + np.sin(angles) * middle)
