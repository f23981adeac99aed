"""From what was drawn to pixels: bare pictures, or a screen as a scanner stores it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.data.reading.cine import CineLoop, Region
from echojepa.phantom.cohort.presets import PRESETS
from echojepa.phantom.cohort.sites import Planned, Protocol
from echojepa.phantom.cohort.study import Drawn, Study, draw_study
from echojepa.phantom.heart.body import Slab, empty_scene, heart_scene
from echojepa.phantom.scanner.recording import Acquisition, record
from echojepa.phantom.screen.layouts import small_layout
from echojepa.phantom.screen.screens import Case, Identity, PlantedText, ScreenLayout, show
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, View

SLAB = 6.0
"""Scatterers of an adult further from the plane than this, mm, are not simulated."""


@dataclass(frozen=True)
class PhantomLoop:
    """One recording with its truth."""

    loop: CineLoop
    """As the scanner stores it: screen with overlays."""
    sector: NDArray[np.bool_]
    """(H, W) where on the screen the ultrasound truly is."""
    overlay: NDArray[np.bool_]
    """(T, H, W) pixels drawn by the screen, beside the ultrasound or over it."""


def record_loop(drawn: Drawn) -> Acquisition:
    """The pictures of one loop, nothing around them."""
    patient, scanner = drawn.patient, drawn.scanner
    density = drawn.density / patient.scale**3
    slab = Slab(scanner.depth, scanner.half_angle, SLAB * patient.scale)
    chance = drawn.generator("scatterers")
    if drawn.heart:
        scene = replace(heart_scene(patient, drawn.pose, slab, density, chance), drift=drawn.drift)
    else:
        scene = empty_scene(drawn.pose, slab, density, chance)
    return record(scene, drawn.pose, scanner, drawn.frames, drawn.start, drawn.chance, density)


def simulate_loop(
    study: Study,
    number: int,
    layout: ScreenLayout | None = None,
    planted: tuple[PlantedText, ...] = (),
) -> PhantomLoop:
    """One loop of a study as a scanner stores it; `planted` is burned into the picture.

    On a screen of this layout, which states the picture's height, or else on the small one.
    """
    drawn, patient = study.loops[number], study.loops[number].patient
    layout = layout or small_layout(drawn.scanner)
    scanner = replace(drawn.scanner, height=layout.picture)
    made = record_loop(replace(drawn, scanner=scanner))
    identity = Identity(f"PHANTOM {study.ordinal:05d}", f"ID {study.ordinal:05d}", "2026-01-01")
    nyquist = scanner.colour.nyquist if scanner.colour else None
    case = Case(scanner, patient.rhythm.r_waves, patient.heart_rate, drawn.start, identity, nyquist)
    screen = show(made.pictures, made.sector, layout, case, planted)
    facts = facts_of(study, drawn, len(screen.frames), screen.region)
    waves = patient.rhythm.r_waves - drawn.start
    shown = waves[(waves >= 0) & (waves <= facts["times"][-1])]
    loop = CineLoop(frames=screen.frames, r_waves=tuple(shown.tolist()), **facts)
    return PhantomLoop(loop, screen.sector, screen.overlay)


def facts_of(study: Study, drawn: Drawn, frames: int, region: Region) -> dict[str, Any]:
    """What a scanner states of so many frames, by the names of `LoopFacts`."""
    patient = drawn.patient
    return {
        "times": np.arange(frames) / drawn.scanner.frame_rate,
        "time_source": "simulated",
        "patient_id": study.patient_id,
        "study_id": study.study_id,
        "loop_id": study.loop_id(drawn),
        "view": drawn.view,
        "regions": (region,),
        "heart_rate": patient.heart_rate,
        "sex": "M" if patient.male else "F",
        "age": patient.age,
        "manufacturer": SYNTHETIC_MANUFACTURER,
    }


def one_loop(
    view: View,
    seconds: float,
    layout: ScreenLayout | None = None,
    planted: tuple[PlantedText, ...] = (),
    *,
    seed: int = 0,
    ordinal: int = 0,
) -> PhantomLoop:
    """A loop of one view of one patient, as the demo's site records it."""
    order = replace(PRESETS["demo"], seconds=seconds, seed=seed, protocol=Protocol((Planned(view),)))
    return simulate_loop(draw_study(order, ordinal), 0, layout, planted)
