"""Tubes: great vessels, veins and the right ventricle's outflow, as chains of balls joined along lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echojepa.phantom.heart.ventricles import Floats


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

    def close(self, points: Floats, margin: float) -> np.ndarray:
        """Indices of the points in the tube's box and `margin` mm around; what is elsewhere costs nothing."""
        reach = self.radii.max() + margin
        low, high = self.nodes.min(axis=0) - reach, self.nodes.max(axis=0) + reach
        x, y, z = points.T
        level = np.flatnonzero((z > low[2]) & (z < high[2]))
        x, y = x[level], y[level]
        return level[(x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])]

    def near(self, points: Floats) -> Near:
        """Relate points (n, 3) to the closest part of the tube."""
        starts, steps = self.nodes[:-1], np.diff(self.nodes, axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        dot = points @ steps.T - (starts * steps).sum(axis=1)
        share = np.clip(dot / lengths**2, 0, 1)
        square = (
            (points * points).sum(axis=1, keepdims=True) - 2 * points @ starts.T + (starts**2).sum(axis=1)
        )
        away = np.sqrt(np.maximum(square - 2 * share * dot + (share * lengths) ** 2, 0))
        lumens = self.radii[:-1] + share * np.diff(self.radii)
        part = np.argmin(away - lumens, axis=1)
        row = np.arange(len(points))
        share, away, lumen = share[row, part], away[row, part], lumens[row, part]
        offset = points - starts[part] - share[:, None] * steps[part]
        passed = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        return Near(
            distance=away - lumen,
            outward=offset / (away[:, None] + 1e-6),
            along=passed[part] + share * lengths[part],
            direction=(steps / lengths[:, None])[part],
            radius=lumen,
        )


def arc(centre: Floats, start: Floats, middle: Floats, radius: float, count: int = 9) -> Floats:
    """Half a circle (count, 3) of which `start` and `middle` are unit vectors from its centre."""
    angles = np.linspace(0, np.pi, count)[:, None]
    return centre + radius * (np.cos(angles) * start + np.sin(angles) * middle)
