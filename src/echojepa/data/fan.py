"""A sector's shape: two straight edges that meet in the apex, a far arc and a near arc around it.

Fitted to pixels known to be alive only here and there: edges by consensus, so that dark beams, an ECG
that crosses the rim or letters beside it do not pull at them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Floats = NDArray[np.floating]
RUN, DENSE = 6, 0.6
"""An edge is where this share of the next RUN pixels inwards is alive."""
POINTS = 48
"""Edge points that lines are tried through, in pairs."""
NEAR = 1.5
"""Pixels from a line or arc within which a point supports it."""
SUPPORT = 0.3
"""Share of points that must support a line or an arc."""
MIN_OPENING, MAX_OPENING = math.radians(20), math.radians(175)
"""Between the edges; what opens less is no fan (a linear array), and is not fitted."""


@dataclass(frozen=True)
class Fan:
    """A sector of a ring; pixels, angles from straight down."""

    x: float
    y: float
    left: float
    """Angle of the left edge, radians, negative where it leans left."""
    right: float
    near: float
    far: float

    def mask(self, shape: tuple[int, ...], margin: float = 0.0) -> Mask:
        """(H, W) pixels inside by at least `margin` pixels from every edge."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        down, across = (y - self.y).astype(np.float32), (x - self.x).astype(np.float32)
        reach = np.hypot(across, down)
        inside = (reach <= self.far - margin) & (reach >= (self.near + margin if self.near else 0))
        inside &= across * math.cos(self.left) - down * math.sin(self.left) >= margin
        return inside & (down * math.sin(self.right) - across * math.cos(self.right) >= margin)


def first_dense(alive: Mask) -> NDArray[np.int64]:
    """For each row of (N, L): the first alive pixel from which alive ones are dense, or -1."""
    total = np.cumsum(np.pad(alive, ((0, 0), (1, RUN))), axis=1, dtype=np.int32)
    dense = alive & (total[:, RUN:-1] - total[:, : -1 - RUN] >= DENSE * RUN)
    return np.where(dense.any(1), dense.argmax(1), -1)


def fit_line(rows: Floats, columns: Floats, sign: int) -> tuple[float, float] | None:
    """The line column = a + b row that most points support, and leans to `sign`; None without support."""
    if len(rows) < 8:
        return None
    chosen = np.linspace(0, len(rows) - 1, min(POINTS, len(rows))).astype(int)
    first, second = np.triu_indices(len(chosen), k=4)
    first, second = chosen[first], chosen[second]
    slope = (columns[second] - columns[first]) / (rows[second] - rows[first])
    slope, first = slope[sign * slope > 0.1], first[sign * slope > 0.1]
    if not len(slope):
        return None
    start = columns[first] - slope * rows[first]
    off = np.abs(columns - start[:, None] - slope[:, None] * rows) / np.hypot(1, slope)[:, None]
    best = int((off < NEAR).sum(1).argmax())
    line = np.array([start[best], slope[best]])
    near = off[best] < NEAR
    for _ in range(3):
        if near.sum() < max(8, SUPPORT * len(rows) / 2):
            return None
        line = np.polynomial.polynomial.polyfit(rows[near], columns[near], 1)
        near = np.abs(columns - line[0] - line[1] * rows) / math.hypot(1, line[1]) < NEAR
    return float(line[0]), float(line[1])


def common_value(values: Floats) -> tuple[float, float]:
    """The value that most of `values` agree on within NEAR, and the share that does."""
    if not len(values):
        return 0.0, 0.0
    agree = np.abs(values - values[:, None]) <= NEAR
    best = agree[int(agree.sum(1).argmax())]
    return float(values[best].mean()), float(best.mean())


def fit_edges(alive: Mask) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Left and right edge of the alive pixels (H, W) as lines column = a + b row."""
    lines = []
    width = alive.shape[1]
    for sign in (-1, 1):
        columns = first_dense(alive if sign < 0 else alive[:, ::-1])
        rows = np.flatnonzero(columns > 0)
        found = columns[rows] - 0.5
        line = fit_line(rows.astype(float), found if sign < 0 else width - 1 - found, sign)
        if line is None:
            return None
        lines.append(line)
    return lines[0], lines[1]


def fit_fan(alive: Mask) -> Fan | None:
    """The fan around the alive pixels (H, W) of one piece; None where they are no fan."""
    edges = fit_edges(alive)
    if edges is None:
        return None
    (a, b), (c, d) = edges
    left, right = math.atan(b), math.atan(d)
    if not MIN_OPENING < right - left < MAX_OPENING:
        return None
    y = (a - c) / (d - b)
    x = a + b * y
    height, width = alive.shape
    angles = np.linspace(left, right, 202)[10:-10, None]
    longest = math.ceil(math.hypot(max(abs(x), abs(width - x)), max(abs(y), abs(height - y))))
    reaches = np.arange(longest)
    rows = np.rint(y + reaches * np.cos(angles)).astype(int)
    columns = np.rint(x + reaches * np.sin(angles)).astype(int)
    on_screen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    seen = on_screen & alive[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    near, far = first_dense(seen), longest - 1 - first_dense(seen[:, ::-1])
    there = near >= 0
    last = on_screen.shape[1] - 1 - on_screen[:, ::-1].argmax(1)
    ends = far[there & (far < last - 1)] + 0.5
    reach, share = common_value(ends)
    if share < SUPPORT:
        reach = float(far[there].max()) + 1
    face, agreed = common_value(near[there] - 0.5)
    return Fan(x, y, left, right, max(0.0, face) if agreed >= SUPPORT else 0.0, reach)
