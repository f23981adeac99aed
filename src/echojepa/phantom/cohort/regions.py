"""What lies where in the picture of a stored loop, exactly: regions of every frame, from its row of the
truth.

A pixel's centre is carried back to where it lies at rest, by the inverse of the heart's motion, and asked for
its organ there. Leaflets are where points of them lie within the slice that the beam sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.data.sector.sector import Sector
from echojepa.errors import UserError
from echojepa.files.records import decode_plain
from echojepa.phantom.cohort.study import Drawn
from echojepa.phantom.heart.body import Drift
from echojepa.phantom.heart.motion import Material
from echojepa.phantom.heart.organs import Organ, find_organs
from echojepa.phantom.heart.patients import Patient
from echojepa.phantom.heart.truth import Truth
from echojepa.phantom.heart.valves import Leaflets, draw_leaflets
from echojepa.phantom.planes import Pose
from echojepa.phantom.scanner.artefacts import Artefacts
from echojepa.phantom.scanner.beam import Beam
from echojepa.phantom.scanner.display import ScanConverter
from echojepa.phantom.scanner.recording import Draws
from echojepa.phantom.scanner.settings import Scanner
from echojepa.randomness import derive_seed

Mask = NDArray[np.bool_]


class RegionName(StrEnum):
    """What a part of the picture shows. The heart is cavity, wall, other chambers, other walls and valves."""

    HEART = "heart"
    CAVITY = "left ventricular cavity"
    """Papillary muscles are in it, as in the phantom's volume."""
    WALL = "left ventricular wall"
    CHAMBERS = "other chambers"
    WALLS = "other walls"
    VALVES = "valves"
    ARTEFACTS = "artefacts"
    """Where less than half of an echo arrives, or clutter is half as strong as myocardium or more."""


PARTS = {
    RegionName.CAVITY: (Organ.LEFT_VENTRICLE, Organ.PAPILLARY),
    RegionName.WALL: (Organ.MYOCARDIUM,),
    RegionName.CHAMBERS: (Organ.RIGHT_VENTRICLE, Organ.LEFT_ATRIUM, Organ.RIGHT_ATRIUM),
    RegionName.WALLS: (Organ.RIGHT_WALL, Organ.ATRIAL_WALL, Organ.FIBROUS),
}
"""Organs of each region that is made of such, all of the heart."""
HALF = 0.5
"""Of the amplitude of myocardium's echo."""
LEAFLET_DENSITY = 1.0
"""Points of leaflets in a mm^3 (`draw_leaflets` takes several times as many): no pixel of one is missed."""


def with_arrays(struct: dict[str, Any]) -> dict[str, Any]:
    """A struct of `truth.parquet`, its lists as arrays."""
    return {name: np.array(value) if isinstance(value, list) else value for name, value in struct.items()}


@dataclass(frozen=True)
class Recorded:
    """What the regions of a loop depend on."""

    patient: Patient
    pose: Pose
    scanner: Scanner
    drift: Drift
    start: float
    """When the loop begins, s on the clock of the patient's R waves."""
    artefacts: int
    """Seed of where artefacts lie."""

    @classmethod
    def of(cls, drawn: Drawn) -> Recorded:
        """Of what was drawn; UserError for a loop without a heart, whose regions have no names."""
        if not drawn.heart:
            raise UserError("a loop without a heart has no regions; leave it out")
        return cls(drawn.patient, drawn.pose, drawn.scanner, drawn.drift, drawn.start, drawn.chance.artefacts)

    @classmethod
    def of_row(cls, row: dict[str, Any], seed: int) -> Recorded:
        """Of a row of `truth.parquet`, whose cohort has this seed; UserError for a loop without a heart.

        ConfigError where the row is not one that this version writes.
        """
        if row["volume"] is None:
            raise UserError("a loop without a heart has no regions; leave it out")
        chance = Draws.of(derive_seed(seed, "chance", row["ordinal"], row["number"]))
        patient, scanner = decode_plain(Patient, row["patient"]), decode_plain(Scanner, row["scanner"])
        pose, drift = Pose(**with_arrays(row["pose"])), Drift(**with_arrays(row["drift"]))
        return cls(patient, pose, scanner, drift, row["start"], chance.artefacts)

    @cached_property
    def truth(self) -> Truth:
        """What is true of the heart."""
        return Truth(self.patient)

    @cached_property
    def beam(self) -> Beam:
        """The scanner's beams; their density of scatterers plays no part here."""
        return Beam(self.scanner, 1.0)

    @cached_property
    def converter(self) -> ScanConverter:
        """From beams to pixels."""
        return ScanConverter(self.scanner, self.beam)

    @cached_property
    def spoiled(self) -> Artefacts:
        """The artefacts."""
        return Artefacts(self.beam, self.artefacts)

    @cached_property
    def leaflets(self) -> Leaflets:
        """Points on all valves."""
        return draw_leaflets(self.truth.motion.anatomy, LEAFLET_DENSITY, np.random.default_rng(0))

    @cached_property
    def sheets(self) -> Material:
        """The `ends` of these points."""
        return Material.describe(self.truth.motion.anatomy, self.leaflets.ends)

    def regions(self, frames: NDArray[np.integer]) -> dict[RegionName, Mask]:
        """Masks (n, H, W) of some frames at the geometry of a stored loop: the bare picture, cut to its
        sector's box. Regions but artefacts and the heart do not overlap; none reaches out of the sector."""
        sector = self.converter.sector
        rows, columns = Sector(sector).box
        found: dict[RegionName, list[Mask]] = {name: [] for name in RegionName}
        for number in frames:
            time = self.start + int(number) / self.scanner.frame_rate
            here = self.organs(time) | {RegionName.ARTEFACTS: self.spoiled_at(time)}
            for name, inside in here.items():
                picture = np.zeros(sector.shape, dtype=bool)
                picture[sector] = inside
                found[name].append(picture[rows, columns])
        return {name: np.stack(masks) for name, masks in found.items()}

    def organs(self, time: float) -> dict[RegionName, Mask]:
        """Which pixels (n,) of the sector show what of the heart."""
        reach, angle = self.converter.reach, self.converter.angle
        points = self.pose.place(reach, angle, np.zeros(len(reach))) - self.drift.at(time)
        motion = self.truth.motion
        organ = find_organs(motion.anatomy, motion.rest(points, self.truth.state(time))).organ
        valves = self.valves(time)
        found = {name: np.isin(organ, kinds) & ~valves for name, kinds in PARTS.items()}
        found[RegionName.VALVES] = valves
        return {RegionName.HEART: np.any(list(found.values()), axis=0)} | found

    def valves(self, time: float) -> Mask:
        """Which pixels (n,) of the sector show leaflets: those within one standard deviation of the beam
        through the slice."""
        ends, openings = self.sheets.place(self.truth.state(time)), self.patient.rhythm.openings(time)
        placed = self.leaflets.swing(ends, openings) + self.drift.at(time)
        reach, angle, away = self.pose.project(placed)
        seen = np.abs(away) < self.beam.elevation(np.maximum(reach, 1.0))
        size, sector = self.scanner.mm_per_pixel, self.converter.sector
        column = np.rint(reach[seen] * np.sin(angle[seen]) / size).astype(int) + self.scanner.width // 2
        row = np.floor(reach[seen] * np.cos(angle[seen]) / size).astype(int)
        within = (row >= 0) & (row < sector.shape[0]) & (column >= 0) & (column < sector.shape[1])
        picture = np.zeros(sector.shape, dtype=bool)
        picture[row[within], column[within]] = True
        return picture[sector]

    def spoiled_at(self, time: float) -> Mask:
        """Which pixels (n,) of the sector are `RegionName.ARTEFACTS`."""
        passing, clutter = self.spoiled.passing(time), np.abs(self.spoiled.clutter(time))
        weak, strong = (self.converter.matrix @ field.ravel() for field in (passing, clutter))
        return (weak < HALF) | (strong >= HALF)
