"""How the whole heart moves: a map of space that is solved for at each instant, and its inverse.

The map carries every point of the body from where it lies at end-diastole (rest) to where it is at a time:
the ventricles' layers (`ventricles`), the base drawn towards a still apex, twist, atria that swell and
shrink, and surroundings that follow less with distance. Walls, blood and vessels all ride on the one map, so
nothing overlaps or tears. Leaflets swing between a closed and an open position that both ride on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from echojepa.phantom.heart.anatomy import Anatomy
from echojepa.phantom.heart.rhythm import Instant
from echojepa.phantom.heart.ventricles import RELAXED, Columns, Floats, Squeeze

FLATTEST = 0.42
"""Septal flattening that the model does not exceed."""


@dataclass(frozen=True)
class State:
    """Everything that positions depend on at one instant."""

    squeeze: Squeeze
    left: float
    """Swelling of the left atrium, 0 at rest."""
    right: float
    """Swelling of the right atrium."""


def flattening(rvsp: float, pressure: float) -> float:
    """Septal flattening under a right ventricular pressure; `pressure` runs 0 to 1 through the beat.

    None up to 30 mmHg. Scaled so that the systolic eccentricity index is about 1.4 at 80 mmHg, as in right
    ventricular pressure overload (Ryan 1985, JACC 5:918); the line itself is assumed.
    """
    return min(max(rvsp - 30, 0.0) / 50 * 0.32, FLATTEST) * (0.25 + 0.75 * pressure)


@dataclass(frozen=True)
class Motion:
    """The motion of one patient's heart."""

    anatomy: Anatomy

    @cached_property
    def sums(self) -> tuple[float, float, float, float]:
        """Over both ventricles: left share of contraction, right span, and what flattening adds."""
        columns = self.anatomy.ventricles.grid_columns
        inner, hollow = columns.inner, columns.inner * columns.hollow
        share = float((inner * columns.share).sum() / inner.sum())
        right = float(columns.crescent.sum())
        return share, right, float(hollow.sum()), float((hollow * columns.share).sum())

    @property
    def right_stroke(self) -> float:
        """What the right ventricle ejects, ml: as much as the left, as there are no shunts, if it can."""
        patient = self.anatomy.patient
        return min(patient.edv * patient.ejection, 0.7 * patient.rv_edv)

    def state(self, instant: Instant) -> State:
        """Solve for the state in which both ventricles have the volumes they should, in closed form."""
        patient, apex = self.anatomy.patient, self.anatomy.ventricles.apex
        share, crescent, hollow, shared = self.sums
        contraction = instant.contraction
        length = 1 - patient.shortening * contraction
        squeeze = (1 - (1 - patient.ejection * contraction) / length) / share
        bend = flattening(patient.rvsp, instant.pressure)
        target = (1 - self.right_stroke / patient.rv_edv * contraction) / length * crescent
        right = max((target - bend * (hollow - squeeze * shared)) / crescent, 0.05)
        largest = 1 / (1 - patient.atrial_emptying)
        volume = 1 + (largest - 1) * instant.reservoir
        stretch = 1 + 0.5 * apex * (1 - length) / self.anatomy.roof
        swell = 1.15 * ((volume / stretch) ** (1 / 2.6) - 1)
        twist = patient.twist * contraction
        return State(Squeeze(squeeze, length, right, bend, twist), swell, swell)

    def place(self, rest: Floats, state: State) -> Floats:
        """Points (n, 3) at rest, mm -> where they are in this state."""
        return Material.describe(self.anatomy, rest).place(state)

    def rest(self, points: Floats, state: State) -> Floats:
        """The inverse of `place`, by three rounds: exact inside the ventricles, 0.1 mm where atria swell."""
        points = np.asarray(points, dtype=np.float32)
        outcome, follow = points, np.ones(len(points), dtype=np.float32)
        for _ in range(3):
            outcome, follow = unload(
                self.anatomy, points - swelling(self.anatomy, outcome, state), state, follow
            )
        return outcome

    def in_cavity(self, points: Floats, state: State) -> NDArray[np.bool_]:
        """Whether points (n, 3), mm, lie in the left ventricular cavity in this state.

        All of it follows the base and nothing in it swells: one step finds what `rest` needs rounds for.
        """
        anatomy, points = self.anatomy, np.asarray(points, dtype=np.float32).astype(np.float64)
        azimuth, z = unwound(anatomy, points, state.squeeze, 1.0)
        cavity = anatomy.ventricles.cavity(azimuth, z / anatomy.ventricles.length)
        return (z >= 0) & (points[:, 0] ** 2 + points[:, 1] ** 2 < cavity.square(state.squeeze))


def unload(anatomy: Anatomy, points: Floats, state: State, follow: Floats) -> tuple[Floats, Floats]:
    """Undo the ventricles' motion given how much each point (n, 3) follows it; also a better such share."""
    squeeze, (azimuth, z) = state.squeeze, unwound(anatomy, points, state.squeeze, follow)
    layers = Layers(anatomy, azimuth, z)
    layer, share = layers.locate(points[:, 0] ** 2 + points[:, 1] ** 2, squeeze)
    radius = np.sqrt(layers.radius(layer, share, RELAXED))
    rest = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=1)
    return rest, followed(layer, share)


def unwound(
    anatomy: Anatomy, points: Floats, squeeze: Squeeze, follow: Floats | float
) -> tuple[Floats, Floats]:
    """Azimuth and z (n,) at rest of points (n, 3) that follow the base's motion and twist so much."""
    apex = anatomy.ventricles.apex
    moved = apex * (1 - squeeze.length) * follow
    z = (points[:, 2] - moved) / np.where(points[:, 2] > moved, 1 - moved / apex, 1 + moved / anatomy.roof)
    z = np.where((points[:, 2] > apex) | (points[:, 2] < -anatomy.roof), points[:, 2], z)
    azimuth = np.arctan2(points[:, 1], points[:, 0]) - squeeze.twist * twist_share(z, anatomy) * follow
    return azimuth, z


def followed(layer: NDArray[np.intp], share: Floats) -> Floats:
    """How much of the base's motion and of twist a point takes part in: less with distance from the heart."""
    return np.where(layer < 4, 1.0, np.where(layer == 4, (1 - np.minimum(share, 1)) ** 2, 0.0))


def swelling(anatomy: Anatomy, rest: Floats, state: State) -> Floats:
    """Displacement (n, 3) by which the atria swell, mm."""
    return state.left * anatomy.left.swell(rest) + state.right * anatomy.right.swell(rest)


def twist_share(z: Floats, anatomy: Anatomy) -> Floats:
    """Rotation at a z of rest for each radian of twist: the base turns against the apex, the atria less."""
    level = np.clip(z / anatomy.ventricles.apex, 0, 1)
    return (level - 0.25) * np.clip(1 + z / anatomy.roof, 0, 1)


class Layers:
    """The layers at n azimuths and z of rest, the ventricles' fading below the base."""

    def __init__(self, anatomy: Anatomy, azimuth: Floats, z: Floats) -> None:
        self.columns: Columns = anatomy.ventricles.columns(azimuth, z / anatomy.ventricles.length)
        relaxed = self.columns.knots(RELAXED)
        far = (np.sqrt(relaxed[4]) + anatomy.reach) ** 2
        self.relaxed = np.concatenate([relaxed, far[None]])
        self.fade = np.exp(np.minimum(z, 0.0) / (0.35 * anatomy.roof))

    def knots(self, squeeze: Squeeze) -> Floats:
        """Squared radii (6, n) where layers meet; the last is where surroundings stand still."""
        moved = self.columns.knots(squeeze)
        inside = self.relaxed[:5] + self.fade * (moved - self.relaxed[:5])
        return np.concatenate([inside, self.relaxed[5:]])

    def locate(self, square: Floats, squeeze: Squeeze) -> tuple[NDArray[np.intp], Floats]:
        """Layer (n,) 0 to 5 and share of its span for squared radii; layer 5 is beyond, share in mm^2."""
        knots = self.knots(squeeze)
        layer = np.minimum((square >= knots[1:]).sum(axis=0), 5)
        index = np.arange(len(square))
        low = knots[layer, index]
        span = np.where(layer < 5, knots[np.minimum(layer + 1, 5), index] - low, 1.0)
        return layer, (square - low) / np.maximum(span, 1e-6)

    def radius(self, layer: NDArray[np.intp], share: Floats, squeeze: Squeeze) -> Floats:
        """Squared radii of the points that `locate` described."""
        knots, index = self.knots(squeeze), np.arange(len(layer))
        low = knots[layer, index]
        span = np.where(layer < 5, knots[np.minimum(layer + 1, 5), index] - low, 1.0)
        return np.maximum(low + share * span, 0.0)


OF_POINTS = ("along", "z", "slope", "turn", "weights", "swells")
"""Fields of `Material` whose last axis is that of the points."""


@dataclass(frozen=True)
class Material:
    """Points of the body described once, then placed at any instant at little cost; all float32."""

    apex: float
    """z of the epicardial apex, mm."""
    along: Floats
    """(2, n) cosine and sine of the azimuth at rest."""
    z: Floats
    """(n,) at rest, mm."""
    slope: Floats
    """(n,) z displacement for each mm that the base moves."""
    turn: Floats
    """(n,) rotation for each radian of twist."""
    weights: Floats
    """(6, n) coefficients of the squared radius on `basis`."""
    swells: Floats
    """(6, n) displacements, mm, for a unit of swelling of the left and of the right atrium."""

    @classmethod
    def describe(cls, anatomy: Anatomy, rest: Floats) -> Material:
        """Describe points (n, 3) at rest, mm."""
        apex = anatomy.ventricles.apex
        x, y, z = np.asarray(rest, dtype=np.float32).T
        square = x * x + y * y
        layers = Layers(anatomy, np.arctan2(y, x), z)
        layer, share = layers.locate(square, RELAXED)
        radius = np.sqrt(square) + np.float32(1e-6)
        follow = followed(layer, share)
        slope = np.clip(np.where(z > 0, 1 - z / apex, 1 + z / anatomy.roof), 0, 1)
        swells = np.concatenate([anatomy.left.swell(rest).T, anatomy.right.swell(rest).T])
        return cls(
            apex,
            along=np.stack([x, y]) / radius,
            z=z,
            slope=(slope * follow).astype(np.float32),
            turn=(twist_share(z, anatomy) * follow).astype(np.float32),
            weights=linear(layers, layer, share).astype(np.float32),
            swells=swells.astype(np.float32),
        )

    def take(self, chosen: NDArray[np.bool_]) -> Material:
        """The chosen of these points."""
        return replace(self, **{name: getattr(self, name)[..., chosen] for name in OF_POINTS})

    @classmethod
    def joined(cls, parts: list[Material]) -> Material:
        """Several descriptions of one body as one."""
        arrays = {name: [getattr(part, name) for part in parts] for name in OF_POINTS}
        return replace(parts[0], **{name: np.concatenate(each, axis=-1) for name, each in arrays.items()})

    @cached_property
    def moving(self) -> NDArray[np.intp]:
        """Points that the atria's swelling reaches."""
        return np.flatnonzero(np.abs(self.swells).max(axis=0) > 1e-3)

    @cached_property
    def moving_swells(self) -> Floats:
        """`swells` of those, (n, 6)."""
        return np.ascontiguousarray(self.swells[:, self.moving].T)

    def place(self, state: State) -> Floats:
        """Positions (n, 3), float32, mm."""
        squeeze = state.squeeze
        radius = np.sqrt(np.maximum(basis(squeeze) @ self.weights, 0.0))
        turn = np.float32(squeeze.twist) * self.turn
        # Twist stays below half a radian: these terms of the series are good to a hundredth of a mm.
        half = turn * turn
        cosine, sine = 1 - half / 2 + half * half / 24, turn - turn * half / 6
        out = np.empty((len(radius), 3), dtype=np.float32)
        out[:, 0] = radius * (self.along[0] * cosine - self.along[1] * sine)
        out[:, 1] = radius * (self.along[1] * cosine + self.along[0] * sine)
        out[:, 2] = self.z + np.float32(self.apex * (1 - squeeze.length)) * self.slope
        left, right = self.moving_swells[:, :3], self.moving_swells[:, 3:]
        out[self.moving] += np.float32(state.left) * left + np.float32(state.right) * right
        return out


def basis(squeeze: Squeeze) -> Floats:
    """What squared radii are linear in, (6,)."""
    flat = squeeze.flattening
    parts = [1.0, squeeze.squeeze, 1 / squeeze.length - 1, squeeze.right - 1, flat, flat * squeeze.squeeze]
    return np.array(parts, dtype=np.float32)


def linear(layers: Layers, layer: NDArray[np.intp], share: Floats) -> Floats:
    """Coefficients (6, n) of the squared radii of located points on `basis`: `Columns.knots` taken apart."""
    columns = layers.columns
    zero = np.zeros_like(columns.inner)
    squeezed = -columns.inner * columns.share * (1 + columns.defect)
    bent, kept = columns.inner * columns.bend, columns.inner * columns.hollow
    inner = np.stack([zero, squeezed, zero, zero, bent, -bent * columns.share])
    septum = inner + np.stack([zero, zero, columns.wall, zero, zero, zero])
    right = septum + np.stack([zero, zero, zero, columns.crescent, kept, -kept * columns.share])
    outside = right + np.stack([zero, zero, columns.right_wall, zero, zero, zero])
    knots = [np.zeros_like(inner), inner, septum, right, outside, np.zeros_like(inner)]
    found = np.zeros_like(inner)
    for number in range(5):
        here = np.flatnonzero(layer == number)
        part = share[here]
        found[:, here] = knots[number][:, here] * (1 - part) + knots[number + 1][:, here] * part
    found *= layers.fade
    found[0] += layers.radius(layer, share, RELAXED)
    return found
