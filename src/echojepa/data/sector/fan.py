"""A sector's shape: two straight edges that meet in the apex, a far arc and a near arc around it.

Fitted to pixels known to be alive only here and there: edges by consensus, so that dark beams, an ECG
that crosses the rim or letters beside it do not pull at them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
LOPSIDED, SHIFT = math.radians(3), 0.12
"""Angle by which the edges lean differently, and share of the depth by which a wrong edge moves the apex."""
SHORT = 0.2
"""Share of an edge or of the arc that must be on the screen to be asked whether alive pixels end there."""
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

    def rim_support(self, alive: Mask) -> float:
        """Share of the rim at which alive pixels (H, W) end, minus the share at which they continue outside,
        for the edge or far arc with the smallest value. If both sides are dark, the rim is unknown."""
        reach = np.arange(self.near + 4, self.far - 4)
        angle = np.arange(self.left, self.right, 1 / self.far)
        sides = []
        for inwards in (  # reach, angle, and pixels to the right of both edges, so far inside the rim
            lambda away: (reach, self.left, away),
            lambda away: (reach, self.right, -away),
            lambda away: (self.far - away, angle, 0),
        ):
            within, beyond = (
                self._half_alive(alive, [inwards(sign * away) for away in range(2, 6)]) for sign in (1, -1)
            )
            on_screen = within[1] & beyond[1]
            if on_screen.sum() >= SHORT * len(on_screen):
                inside, outside = within[0][on_screen], beyond[0][on_screen]
                sides.append(float((inside & ~outside).mean() - outside.mean()))
        return min(sides, default=0.0)

    def _half_alive(
        self, alive: Mask, lines: Sequence[tuple[Floats | float, Floats | float, int]]
    ) -> tuple[Mask, Mask]:
        """Along lines (reach, angle, pixels beside that): where half of them live; where all are seen."""
        lives, seen = [], []
        for reach, angle, aside in lines:
            rows = np.rint(self.y + reach * np.cos(angle) - aside * np.sin(angle)).astype(int)
            columns = np.rint(self.x + reach * np.sin(angle) + aside * np.cos(angle)).astype(int)
            seen.append((rows >= 0) & (rows < alive.shape[0]) & (columns >= 0) & (columns < alive.shape[1]))
            lives.append(alive[rows.clip(0, alive.shape[0] - 1), columns.clip(0, alive.shape[1] - 1)])
        return np.sum(lives, axis=0) >= len(lines) / 2, np.all(seen, axis=0)


def first_dense(alive: Mask) -> NDArray[np.int64]:
    """For each row of (N, L): the first alive pixel from which alive ones are dense, or -1."""
    total = np.cumsum(np.pad(alive, ((0, 0), (1, RUN))), axis=1, dtype=np.int32)
    dense = alive & (total[:, RUN:-1] - total[:, : -1 - RUN] >= DENSE * RUN)
    return np.where(dense.any(1), dense.argmax(1), -1)


def fit_line(rows: Floats, columns: Floats, sign: int) -> tuple[float, float] | None:
    """The line column = a + b row that most points support, and leans to `sign`; None without support.

    Points beyond it (further to `sign`) count against it: in a dark sector walls within end rows too.
    """
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
    off = sign * (columns - start[:, None] - slope[:, None] * rows) / np.hypot(1, slope)[:, None]
    best = int(((np.abs(off) < NEAR).sum(1) - (off >= NEAR).sum(1)).argmax())
    line = np.array([start[best], slope[best]])
    near = np.abs(off[best]) < NEAR
    for _ in range(3):
        if near.sum() < max(8, SUPPORT * len(rows) / 2):
            return None
        line = np.polynomial.polynomial.polyfit(rows[near], columns[near], 1)
        near = np.abs(columns - line[0] - line[1] * rows) / math.hypot(1, line[1]) < NEAR
    return float(line[0]), float(line[1])


def common_value(values: Floats, outwards: int) -> tuple[float, float]:
    """The value that most of `values` agree on within NEAR, and the share that does.

    Those beyond it (+1: larger ones, -1: smaller ones) count against it.
    """
    if not len(values):
        return 0.0, 0.0
    off = outwards * (values - values[:, None])
    agree = np.abs(off) <= NEAR
    best = agree[int((agree.sum(1) - (off > NEAR).sum(1)).argmax())]
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
    return between(alive, *edges) if edges else None


def mirrored(fan: Fan, alive: Mask) -> Fan | None:
    """The upright symmetric fan with the wider edge of a lopsided one; None of one that is not lopsided.

    Where one side of the picture is dark, the outermost walls there look like an edge. The far arc tells
    where on the other edge the apex stands.
    """
    wider = fan.left if -fan.left > fan.right else fan.right
    if abs(fan.left + fan.right) < LOPSIDED or abs(wider) < MIN_OPENING / 2 or abs(wider) > MAX_OPENING / 2:
        return None
    slope, start = math.tan(wider), fan.x - fan.y * math.tan(wider)
    best = None, 0.0
    for y in fan.y + np.arange(-SHIFT, SHIFT, 1 / 200) * fan.far:
        x = start + slope * y
        edges = (x + abs(slope) * y, -abs(slope)), (x - abs(slope) * y, abs(slope))
        tried = between(alive, *edges)
        if tried is not None and (support := tried.rim_support(alive)) > best[1]:
            best = tried, support
    return best[0]


def between(alive: Mask, left_edge: tuple[float, float], right_edge: tuple[float, float]) -> Fan | None:
    """The fan between two lines column = a + b row that ends where most beams' alive pixels (H, W) do."""
    (a, b), (c, d) = left_edge, right_edge
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
    reach, share = common_value(ends, 1)
    if share < SUPPORT:
        reach = float(far[there].max()) + 1
    face, agreed = common_value(near[there] - 0.5, -1)
    return Fan(x, y, left, right, max(0.0, face) if agreed >= SUPPORT else 0.0, reach)
