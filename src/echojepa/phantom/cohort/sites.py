"""Where a recording is made: its patients, its people, its scanners and what they are asked to record.

Three hospitals stand for the paper's three columns (its own, another one, a collection of A4C alone) and one
for children. A site is a value: nothing else in the package knows one by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from echojepa.data.reading.dicom.writer import Syntax
from echojepa.phantom.cohort import habits
from echojepa.phantom.cohort.habits import PLAIN, SHARP, SMOOTH, Preset
from echojepa.phantom.heart.patients import Population
from echojepa.phantom.heart.views import Operator
from echojepa.phantom.screen.layouts import LAYOUTS
from echojepa.phantom.screen.screens import ScreenLayout
from echojepa.vocabulary import View


@dataclass(frozen=True)
class Planned:
    """One cine loop that a study asks for."""

    view: View
    colour: bool = False
    """Whether colour Doppler is on."""


def twice(view: View) -> tuple[Planned, Planned]:
    """Two loops of a view with colour, as probes of RVSP want them."""
    return Planned(view, colour=True), Planned(view, colour=True)


@dataclass(frozen=True)
class Protocol:
    """What studies hold: some loops always, some groups often, and a few of the remaining views."""

    always: tuple[Planned, ...]
    often: tuple[tuple[float, tuple[Planned, ...]], ...] = ()
    """(share of studies, loops that come together)."""
    others: tuple[View, ...] = ()
    """Views of which each study holds some."""
    some: int = 0
    """How many of `others`."""

    def plan(self, rng: np.random.Generator) -> tuple[Planned, ...]:
        """The loops of one study, in the order of recording."""
        chosen = list(self.always)
        for share, loops in self.often:
            if rng.random() < share:
                chosen += loops
        picked = rng.permutation(len(self.others))[: self.some]
        return (*chosen, *(Planned(self.others[number]) for number in sorted(picked)))


HOSPITAL = Protocol(
    always=(Planned(View.A4C), Planned(View.A2C)),
    often=(
        (0.6, (Planned(View.PLAX),)),
        (0.35, (Planned(View.PSAX_AV),)),
        (0.75, (*twice(View.A4C), *twice(View.PSAX_AV))),
        *((0.12, (Planned(view, colour=True),)) for view in (View.PLAX, View.A5C, View.A2C, View.SUBCOSTAL)),
    ),
    others=(
        View.A3C, View.A5C, View.PSAX_MV, View.PSAX_PM, View.PSAX_AP, View.SUBCOSTAL, View.SSN, View.TEE,
        View.OTHER,
    ),
    some=2,
)  # fmt: skip
"""The paper's RVSP task wants two loops each of A4C with colour and of PSAX-AV; three studies in four have
them. Colour in other views keeps a colour box from naming the view."""
CHILDREN = Protocol(
    always=(Planned(View.A4C), Planned(View.PSAX_PM)),
    often=((0.6, (Planned(View.A2C),)), (0.5, (*twice(View.A4C), *twice(View.PSAX_AV)))),
    others=(View.PLAX, View.SUBCOSTAL, View.SSN, View.PSAX_MV),
    some=2,
)
"""EchoNet-Pediatric has A4C and PSAX; suprasternal and subcostal windows are routine in children."""
APICAL = Protocol(always=(Planned(View.A4C), Planned(View.A4C)))
"""A collection of one view, as EchoNet-Dynamic is."""
APICAL_PAIR = Protocol(always=(Planned(View.A4C), Planned(View.A2C)))
"""The two views of the biplane rule."""
BRIEF = Protocol(
    always=(Planned(View.A4C), Planned(View.A2C)),
    others=(View.PLAX, View.PSAX_AV, View.PSAX_PM, View.SUBCOSTAL),
    some=1,
)
"""Three loops a patient, for the demo: enough views to tell apart, no more frames than it has time for."""
SAMPLE = Protocol(
    always=(Planned(View.A4C), Planned(View.A4C, colour=True)),
    others=tuple(view for view in View if view != View.A4C),
    some=1,
)
"""Three loops a patient, one in colour, every view in turn: for tests."""
EXPERT = Operator(turn=4.0, tilt=2.5, rock=4.0, offset=2.0, foreshortening=4.0)
USUAL = Operator()
NOVICE = Operator(turn=9.0, tilt=5.0, rock=7.0, offset=4.5, foreshortening=9.0)
"""How well a site's people find planes."""


@dataclass(frozen=True)
class Site:
    """One hospital."""

    name: str
    population: Population
    """Which patients come."""
    scanner: Preset
    """The habits of its scanners, frame rate among them."""
    operator: Operator
    """How well its sonographers find a plane."""
    layouts: tuple[ScreenLayout, ...]
    """The screens of its scanners."""
    syntaxes: tuple[Syntax, ...]
    """Transfer syntaxes that its archive holds."""
    protocol: Protocol


SITES: dict[str, Site] = {
    "teaching": Site(
        "teaching", Population.ADULT, replace(SHARP, limit=40.0), EXPERT,
        (LAYOUTS[0], LAYOUTS[2], LAYOUTS[5]), ("jpeg", "explicit", "rle"), HOSPITAL,
    ),
    "community": Site(
        "community", Population.ADULT, replace(PLAIN, limit=30.0), NOVICE,
        (LAYOUTS[1], LAYOUTS[3]), ("jpeg", "jpeg-2000"), HOSPITAL,
    ),
    "apical": Site(
        "apical", Population.ADULT, SMOOTH, USUAL, (LAYOUTS[4],), ("jpeg", "implicit"), APICAL,
    ),
    "children": Site(
        "children", Population.CHILD, replace(habits.CHILDREN, limit=70.0), USUAL,
        (LAYOUTS[2], LAYOUTS[4]), ("jpeg-ls", "deflated"), CHILDREN,
    ),
}  # fmt: skip
"""The paper's columns: its own hospital (Toronto, which trains), another (Chicago), and a set of A4C alone
(Stanford's EchoNet-Dynamic); and a children's hospital."""
SHARES = {"teaching": 0.68, "community": 0.16, "apical": 0.06, "children": 0.10}
"""Of a cohort of all sites, the share of patients of each."""


def draw_site(rng: np.random.Generator) -> Site:
    """One patient's site in a cohort of all."""
    return SITES[str(rng.choice(list(SHARES), p=list(SHARES.values())))]
