"""Counterfactual sets: the same patient and the same recording with one factor moved.

A factor moves what was drawn, before anything is made of it; every other draw stays bit for bit what it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from echojepa.errors import UserError
from echojepa.phantom.cohort.presets import Order
from echojepa.phantom.cohort.sites import SITES, Planned
from echojepa.phantom.cohort.study import Drawn, Study, draw_loop
from echojepa.phantom.heart.patients import with_defect, with_ejection, with_rvsp
from echojepa.phantom.planes import Pose, rotation
from echojepa.randomness import derive_seed
from echojepa.vocabulary import View


@dataclass(frozen=True)
class Factor:
    """What can be moved."""

    unit: str
    """Of its steps."""
    steps: tuple[float, ...]
    """How far it is moved, or to what."""
    move: Callable[[Drawn, float, Order], Drawn]
    """A loop's draws with the factor moved by a step."""


def move_ejection(drawn: Drawn, percent: float, order: Order) -> Drawn:
    """Another LVEF at the same end-diastole, with what follows from it."""
    return replace(drawn, patient=with_ejection(drawn.patient, percent / 100))


def move_pressure(drawn: Drawn, pressure: float, order: Order) -> Drawn:
    """Another RVSP, mmHg, with what follows from it."""
    return replace(drawn, patient=with_rvsp(drawn.patient, pressure))


def move_rate(drawn: Drawn, factor: float, order: Order) -> Drawn:
    """Another heart rate."""
    patient = replace(drawn.patient, heart_rate=factor * drawn.patient.heart_rate)
    return replace(drawn, patient=patient)


def move_speckle(drawn: Drawn, number: float, order: Order) -> Drawn:
    """Other scatterers' interference; 0 is the patient's own."""
    if number == 0:
        return drawn
    speckle = derive_seed(drawn.chance.speckle, "other", int(number))
    return replace(drawn, chance=replace(drawn.chance, speckle=speckle))


def move_gain(drawn: Drawn, decibel: float, order: Order) -> Drawn:
    """More or less gain."""
    return replace(drawn, scanner=replace(drawn.scanner, gain=drawn.scanner.gain + decibel))


def move_depth(drawn: Drawn, factor: float, order: Order) -> Drawn:
    """A deeper or shallower picture; the frame rate stays unless physics forbids it."""
    scanner = drawn.scanner
    slow = replace(scanner, depth=factor * scanner.depth, frame_rate=1.0)
    rate = min(scanner.frame_rate, slow.fastest)
    return replace(drawn, scanner=replace(slow, frame_rate=rate))


def move_tilt(drawn: Drawn, degrees: float, order: Order) -> Drawn:
    """The probe tipped about the picture's lateral axis, so that the plane leaves the heart's middle."""
    pose = drawn.pose
    depth = rotation(pose.lateral, math.radians(degrees)) @ pose.depth
    return replace(drawn, pose=Pose(pose.probe, pose.lateral, depth))


def move_site(drawn: Drawn, number: float, order: Order) -> Drawn:
    """The same patient and view recorded at the n-th site: its scanner, its sonographer, its screen."""
    planned = Planned(drawn.view, drawn.scanner.colour is not None)
    site = list(SITES.values())[int(number)]
    return draw_loop(order, drawn.ordinal, drawn.number, planned, drawn.patient, site)


def move_heart(drawn: Drawn, there: float, order: Order) -> Drawn:
    """The same recording of a body without a heart, for what lies outside every distribution."""
    return drawn if there else replace(drawn, heart=False, view=View.OTHER)


def move_wall(drawn: Drawn, depth: float, order: Order) -> Drawn:
    """A part of the ventricle's wall that does not move, or none; LVEF stays."""
    return replace(drawn, patient=with_defect(drawn.patient, depth))


FACTORS: dict[str, Factor] = {
    "ef": Factor("%", (15, 25, 35, 45, 55, 65, 75), move_ejection),
    "rvsp": Factor("mmHg", (30, 45, 60, 75, 90), move_pressure),
    "heart-rate": Factor("x", (0.8, 0.9, 1.0, 1.15, 1.3), move_rate),
    "speckle": Factor("", (0, 1, 2, 3, 4), move_speckle),
    "gain": Factor("dB", (-8, -4, 0, 4, 8), move_gain),
    "depth": Factor("x", (0.85, 1.0, 1.15, 1.3), move_depth),
    "tilt": Factor("degrees", (-15, -10, -5, 0, 5, 10, 15), move_tilt),
    "heart": Factor("there", (1, 0), move_heart),
    "wall-motion": Factor("depth of the fault", (0, 1.2), move_wall),
    "site": Factor("number", tuple(float(number) for number in range(len(SITES))), move_site),
}
"""Steps to (ef, rvsp, heart, site, speckle, wall-motion) or by (the others) which each factor is moved."""


def factor_of(order: Order) -> Factor | None:
    """The factor that an order moves; UserError for one that is unknown."""
    if order.factor is not None and order.factor not in FACTORS:
        raise UserError(f"unknown factor '{order.factor}'; known: {', '.join(FACTORS)}")
    return FACTORS[order.factor] if order.factor else None


def counterfactual(study: Study, order: Order, step: int) -> Study:
    """A patient's study with the order's factor at one of its steps."""
    factor = FACTORS[str(order.factor)]
    value = factor.steps[step]
    loops = tuple(factor.move(drawn, value, order) for drawn in study.loops)
    site = SITES[loops[0].site]
    return replace(study, site=site, loops=loops, factor=order.factor, step=step, value=value)
