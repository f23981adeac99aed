"""Everything that is drawn, apart from what is made of it: a loop's pixels are a function of one value here.

Each draw has a seed of its own name, so that moving one thing leaves every other draw bit for bit as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from echojepa.phantom.cohort.habits import OESOPHAGUS, draw_scanner, with_colour
from echojepa.phantom.cohort.presets import ALL_SITES, Order
from echojepa.phantom.cohort.sites import SITES, Planned, Site, draw_site
from echojepa.phantom.heart.anatomy import Anatomy
from echojepa.phantom.heart.body import Drift, draw_drift
from echojepa.phantom.heart.patients import Patient, draw_patient
from echojepa.phantom.heart.views import draw_pose
from echojepa.phantom.planes import Pose
from echojepa.phantom.scanner.recording import Draws
from echojepa.phantom.scanner.settings import SOUND_SPEED, Colour, Scanner, at_level
from echojepa.randomness import derive_seed
from echojepa.vocabulary import View

DEPTHS = {
    View.PLAX: (120.0, 160.0), View.PSAX_AV: (110.0, 150.0), View.PSAX_MV: (110.0, 150.0),
    View.PSAX_PM: (110.0, 150.0), View.PSAX_AP: (100.0, 145.0), View.SUBCOSTAL: (150.0, 200.0),
    View.SSN: (90.0, 140.0), View.TEE: (90.0, 140.0), View.OTHER: (120.0, 180.0),
}  # fmt: skip
"""Depths of the picture that a view is recorded at in a large adult, mm; they go with the body's size, not
with the heart's, so that depth does not tell a failing heart."""
COLOUR_LIMIT = 20.0
"""Frames a second at which loops with colour are stored at most."""
JET_VIEWS = (View.A4C, View.PSAX_AV)
"""Views in which colour is put on the tricuspid valve."""
APICAL_DEPTH = 140.0, 180.0
BEGINS = 2.0, 22.0
"""When loops begin, s after the clock of the R waves starts."""


@dataclass(frozen=True)
class Drawn:
    """All that is drawn for one cine loop."""

    seed: int
    ordinal: int
    """Which patient of the seed."""
    number: int
    """Which loop of the patient's study."""
    view: View
    site: str
    patient: Patient
    pose: Pose
    scanner: Scanner
    start: float
    """When the loop begins, s on the clock of the patient's R waves."""
    seconds: float
    density: float
    """Scatterers, as a share of the full number."""
    drift: Drift
    """Breathing, and the sway of the hand."""
    chance: Draws
    """Seeds of what chance decides in the recording."""
    heart: bool = True
    """Whether there is one; without, layered tissue lies where it was."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return max(2, round(self.seconds * self.scanner.frame_rate))

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers of this loop's own, for one purpose."""
        return np.random.default_rng(derive_seed(self.seed, purpose, self.ordinal, self.number))


def study_uid(seed: int, ordinal: int, factor: str | None, step: int, *loop: int) -> str:
    """A DICOM UID of an examination, or of one of its loops; below 2.25, whose UIDs are just numbers."""
    moved = "" if factor is None else f"/{factor}/{step}"
    return f"2.25.{derive_seed(seed, ('instance' if loop else 'study') + moved, ordinal, *loop)}"


@dataclass(frozen=True)
class Study:
    """One patient's examination."""

    seed: int
    ordinal: int
    site: Site
    loops: tuple[Drawn, ...]
    factor: str | None = None
    """What was moved, in a set of counterfactuals."""
    step: int = 0
    """Which step of it."""
    value: float = 0.0
    """How far, in the factor's unit."""

    @property
    def patient_id(self) -> str:
        """Identifier of the person, the same at every step of a factor."""
        return f"PHANTOM-{self.seed}-{self.ordinal:05d}"

    @property
    def study_id(self) -> str:
        """A DICOM UID of the examination."""
        return study_uid(self.seed, self.ordinal, self.factor, self.step)

    def loop_id(self, drawn: Drawn) -> str:
        """A DICOM UID of one loop."""
        return study_uid(self.seed, self.ordinal, self.factor, self.step, drawn.number)

    def names(self) -> list[str]:
        """A name of each loop within its study: view, and its number among those of the view."""
        seen: dict[View, int] = {}
        names = []
        for drawn in self.loops:
            number = seen[drawn.view] = seen.get(drawn.view, -1) + 1
            names.append(f"{drawn.view}_{number}")
        return names


def plan_study(order: Order, ordinal: int) -> tuple[Site, tuple[Planned, ...]]:
    """Where the n-th patient of a seed is examined, and what is recorded of them."""

    def own(purpose: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(order.seed, purpose, ordinal))

    site = draw_site(own("site")) if order.site == ALL_SITES else SITES[order.site]
    return site, (order.protocol or site.protocol).plan(own("protocol"))


def draw_study(order: Order, ordinal: int) -> Study:
    """The n-th patient of a seed with all that is drawn for each loop."""
    site, planned = plan_study(order, ordinal)
    rng = np.random.default_rng(derive_seed(order.seed, "patient", ordinal))
    patient = draw_patient(rng, site.population)
    loops = tuple(draw_loop(order, ordinal, number, one, patient, site) for number, one in enumerate(planned))
    return Study(order.seed, ordinal, site, loops)


def draw_loop(
    order: Order, ordinal: int, number: int, planned: Planned, patient: Patient, site: Site
) -> Drawn:
    """One loop of a patient: where the probe stands, how the scanner is set, when it begins."""

    def own(purpose: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(order.seed, purpose, ordinal, number))

    habits = OESOPHAGUS if planned.view == View.TEE else site.scanner
    low, high = DEPTHS.get(planned.view, APICAL_DEPTH)
    depth = float(own("depth").uniform(low, high)) * patient.scale
    scanner = draw_scanner(own("scanner"), habits, depth)
    pose = draw_pose(planned.view, Anatomy(patient), site.operator, own("pose"))
    if planned.colour:
        box = jet_box(scanner, pose, patient, own("box")) if planned.view in JET_VIEWS else None
        scanner = with_colour(scanner, own("colour"), box)
        scanner = replace(scanner, frame_rate=min(scanner.frame_rate, COLOUR_LIMIT))
    scanner = fitted(at_level(scanner, order.nuisance), order.side)
    return Drawn(
        seed=order.seed,
        ordinal=ordinal,
        number=number,
        view=planned.view,
        site=site.name,
        patient=patient,
        pose=pose,
        scanner=scanner,
        start=float(own("start").uniform(*BEGINS)),
        seconds=order.seconds,
        density=order.density,
        drift=draw_drift(patient, pose, own("drift")),
        chance=Draws.of(derive_seed(order.seed, "chance", ordinal, number)),
    )


def jet_box(scanner: Scanner, pose: Pose, patient: Patient, rng: np.random.Generator) -> Colour:
    """A box around the tricuspid valve and where its jet goes, as one looks for RVSP."""
    valve = Anatomy(patient).right.valve[None]
    (reach,), (angle,), _ = pose.project(valve)
    share, size, edge = rng.random(4), patient.scale, 0.97 * scanner.half_angle
    near = float(np.clip(reach - (15 + 15 * share[0]) * size, 0.1 * scanner.depth, 0.6 * scanner.depth))
    far = float(
        np.clip(reach + (35 + 20 * share[1]) * size, near + 0.2 * scanner.depth, 0.97 * scanner.depth)
    )
    half = 0.2 + 0.15 * share[2]
    middle = float(np.clip(angle, half - edge, edge - half))
    return Colour(
        near=near,
        far=far,
        left=middle - half,
        right=middle + half,
        frequency=0.8 * min(scanner.frequency, 4e6),
        repetition=(0.75 + 0.25 * share[3]) * 1000 * SOUND_SPEED / (2 * far),
    )


def fitted(scanner: Scanner, side: int) -> Scanner:
    """The scanner with a picture whose longer side is at most `side` pixels."""
    height = side
    while replace(scanner, height=height).width > side:
        height -= 1
    return replace(scanner, height=height)
