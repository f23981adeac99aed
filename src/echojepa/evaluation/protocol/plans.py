"""Plans as values: which numbers make a table. Nothing here runs anything.

A plan is blocks; a block is the product of tasks, probes, label fractions and seeds under one protocol of
sites. Its cells are trained probes, each with the conditions it is then tested under. Cells that train the
same probe in two blocks are one cell, so that `paper`, which is every plan, trains nothing twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Literal

from echojepa.errors import ConfigError
from echojepa.evaluation.protocol.severities import SEVERITIES
from echojepa.tasks import LVEF, LVEF_BY_LOOP, RVSP, VIEW, Task

EVERYWHERE = ""
"""In place of a site: the loops of all sites together, but the children's."""


@dataclass(frozen=True)
class ProbeKind:
    """How frozen features are read out."""

    name: str
    """Name in tables."""
    depth: int | None = 1
    """0 linear, 1 attentive, more: transformer blocks before it; None for closed-form ridge."""
    position: bool = True
    """Whether the keys of the pooler get a fixed 3-D position."""
    width: int | None = None
    """Principal components that tokens are cut to first: every backbone the same width."""
    over_time: bool = False
    """Whether it is given each place's mean and spread over time in place of its tokens."""
    fusion: Literal["early", "late"] = "early"
    """Of a study's views: one probe over all their tokens, or the mean of one probe's predictions on each."""
    embeddings: bool = True
    """Whether slots are told apart by embeddings of their view and clip."""
    view_dropout: float = 0.1
    """Chance that a view of a training study is left out."""
    finetuned: bool = False
    """Whether the encoder is trained with it, and is not frozen."""


OWN_HEAD = "own head"
"""The probe that is not trained: the head that the weights come with."""
EQUAL_WIDTH = 64
"""Width of the PCA control."""
PROBES: dict[str, ProbeKind] = {
    kind.name: kind
    for kind in (
        ProbeKind("linear", depth=0),
        ProbeKind("attentive"),
        ProbeKind("attentive, no position", position=False),
        ProbeKind("attentive, depth 4", depth=4),
        ProbeKind("attentive, over time", over_time=True),
        ProbeKind("attentive, equal width", width=EQUAL_WIDTH),
        ProbeKind("ridge", depth=None),
        ProbeKind("ridge, equal width", depth=None, width=EQUAL_WIDTH),
        ProbeKind("ridge, over time", depth=None, over_time=True),
        ProbeKind("attentive, late fusion", fusion="late"),
        ProbeKind("attentive, no embeddings", embeddings=False),
        ProbeKind("attentive, no view dropout", view_dropout=0.0),
        ProbeKind("fine-tuned", finetuned=True),
        ProbeKind(OWN_HEAD, depth=0),
    )
}


@dataclass(frozen=True, order=True)
class Condition:
    """What a trained probe is tested on."""

    site: str = EVERYWHERE
    """Whose test patients."""
    perturbation: str = ""
    """What is done to the test clips; empty for nothing."""
    severity: int = 0
    """How much of it, 1 the least; 0 for none."""
    views: tuple[int, ...] = ()
    """Numbers of the slots' views that are shown; all that are there if empty."""

    @property
    def plain(self) -> bool:
        """Whether clips are as they are and whole studies shown."""
        return not self.perturbation and not self.views


@dataclass(frozen=True)
class Cell:
    """One trained probe of every backbone, and what it is tested on."""

    task: Task
    probe: ProbeKind
    trained_on: str
    """Site whose training and validation patients are used, or EVERYWHERE."""
    fraction: float
    """Share of those patients whose labels are used."""
    seed: int
    conditions: tuple[Condition, ...]
    calibrated: bool = False
    """Whether half of the validation patients choose nothing, and calibrate prediction intervals."""

    @property
    def key(self) -> str:
        """Twelve hex digits of what the training depends on; conditions do not."""
        facts = json.dumps(asdict(replace(self, conditions=())), sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()[:12]


Protocol = Literal["pooled", "sites", "external", "each", "transfer"]


@dataclass(frozen=True)
class Sites:
    """Which site plays which part for one task."""

    tested: tuple[str, ...]
    """Sites with a labelled test patient, A first: the one that probes are trained on."""
    trained: tuple[str, ...]
    """Those of them with labelled training and validation patients, too."""
    children: str = ""
    """The paediatric site; empty for none."""

    @property
    def adults(self) -> tuple[str, ...]:
        """Tested sites without the children's."""
        return tuple(site for site in self.tested if site != self.children)


SitesOf = Callable[[Task], Sites]


@dataclass(frozen=True)
class PlanBlock:
    """A product of settings."""

    tasks: tuple[Task, ...]
    probes: tuple[str, ...] = ("attentive", "ridge")
    protocol: Protocol = "pooled"
    """pooled: all sites of adults as one. sites: trained on A, tested on each, and every other site with its
    own probe. external: the first half of that. each: every site with its own probe alone. transfer: trained
    on A and tested on children as it is, and trained on children. Children are part of transfer alone."""
    fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    perturbations: tuple[str, ...] = ()
    """Each at all its severities, beside the clips as they are."""
    missing_views: bool = False
    """Also tested with every subset of the slots' views."""
    calibrated: bool = False
    """Only to measure prediction intervals: half of the validation patients calibrate and choose nothing."""

    def cells(self, sites_of: SitesOf) -> list[Cell]:
        """Trained probes of this block; ConfigError where the data has not the sites that it needs."""
        made = []
        for task, probe, fraction, seed in product(self.tasks, self.probes, self.fractions, self.seeds):
            for trained_on, tested_on in trainings(self.protocol, sites_of(task), task.name):
                conditions = tuple(test for site in tested_on for test in self.conditions(task, site))
                made.append(
                    Cell(task, PROBES[probe], trained_on, fraction, seed, conditions, self.calibrated)
                )
        return made

    def conditions(self, task: Task, site: str) -> list[Condition]:
        """Tests on one site: as it is, under each perturbation, with each subset of views."""
        tests = [Condition(site)]
        for name in self.perturbations:
            severities = range(1, len(SEVERITIES[name]) + 1)
            tests += [Condition(site, name, severity) for severity in severities]
        if self.missing_views:
            tests += [Condition(site, views=views) for views in subsets(len(task.slots))]
        return tests


def trainings(protocol: Protocol, sites: Sites, task: str) -> list[tuple[str, list[str]]]:
    """(site trained on, sites tested on) of a protocol; ConfigError where sites are missing."""
    if protocol == "pooled":
        return [(EVERYWHERE, [EVERYWHERE])]
    adults = sites.adults
    own = [site for site in adults if site in sites.trained]
    if protocol == "each":
        return [(site, [site]) for site in own]
    if protocol == "transfer" and (not adults or sites.children not in sites.trained):
        raise ConfigError(
            "transfer needs an adult site and a paediatric site, the latter with labelled patients in "
            f"every split. For {task} this data has {list(sites.tested)}; the paediatric site is "
            f"{sites.children or 'not named'}. Name it with --children, or give a second data set"
        )
    if protocol != "transfer" and len(adults) < 2:
        raise ConfigError(
            f"a comparison of sites needs at least two; for {task} this data has the adult sites "
            f"{list(adults)}. Ingest another site, or give a second data set"
        )
    if adults[0] not in own:
        raise ConfigError(
            f"site '{adults[0]}' has no labelled train and val patients for {task}, so no probe can be "
            f"trained there; put one of {own} first in --sites"
        )
    if protocol == "transfer":
        return [(adults[0], [adults[0], sites.children]), (sites.children, [sites.children])]
    first = [(adults[0], list(adults))]
    return first if protocol == "external" else first + [(site, [site]) for site in own[1:]]


def subsets(views: int) -> list[tuple[int, ...]]:
    """Every subset of view numbers that is neither empty nor whole, smallest first."""
    every = [tuple(v for v in range(views) if bits >> v & 1) for bits in range(1, 2**views - 1)]
    return sorted(every, key=lambda chosen: (len(chosen), chosen))


@dataclass(frozen=True)
class Plan:
    """A named table of numbers."""

    name: str
    blocks: tuple[PlanBlock, ...]
    mechanism: bool = False
    """Whether counterfactual sets are looked at, too, by every probe of LVEF."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task once."""
        return tuple(dict.fromkeys(task for block in self.blocks for task in block.tasks))

    def without(self, probes: Collection[str]) -> Plan:
        """The plan but for some probes; ConfigError for one that it does not have, and where none is left."""
        known = {probe for block in self.blocks for probe in block.probes}
        if set(probes) - known or not known - set(probes):
            raise ConfigError(
                f"--without {sorted(probes)} is not possible: plan {self.name} has the probes "
                f"{sorted(known)} and must keep one"
            )
        left = [replace(b, probes=tuple(p for p in b.probes if p not in probes)) for b in self.blocks]
        return replace(self, blocks=tuple(left))

    @property
    def only_transfer(self) -> bool:
        """Whether the plan is of adults and children and of nothing else."""
        return all(block.protocol == "transfer" for block in self.blocks)

    def cells(self, sites_of: SitesOf) -> list[Cell]:
        """Every trained probe once, with all conditions that any block tests it under."""
        return merged(cell for block in self.blocks for cell in block.cells(sites_of))


def merged(cells: Iterable[Cell]) -> list[Cell]:
    """Cells that train the same probe as one, their conditions together."""
    found: dict[str, Cell] = {}
    for cell in cells:
        before = found.get(cell.key)
        conditions = (before.conditions if before else ()) + cell.conditions
        found[cell.key] = replace(cell, conditions=tuple(dict.fromkeys(conditions)))
    return list(found.values())


FRACTIONS = (0.01, 0.1, 1.0)
SEEDS = (0, 1, 2)
BY_TOKEN = ("attentive", "ridge")
OVER_TIME = ("attentive, over time", "ridge, over time")
READ_OUTS = ("linear", *BY_TOKEN, *OVER_TIME)
FINETUNED = ("fine-tuned",)
HEAD_STARTS = ("attentive", "attentive, over time")
"""Frozen probes of which the head of a fine-tuned row starts as one: validation patients choose it."""
CONTROLS = ("attentive, no position", "attentive, equal width", "ridge, equal width", "attentive, depth 4")
FUSIONS = ("attentive, late fusion", "attentive, no embeddings", "attentive, no view dropout")
_TABLES: Sequence[Plan] = (
    Plan("demo", (PlanBlock((LVEF, VIEW), ("linear", *BY_TOKEN, "ridge, over time")),)),
    Plan("latent-vs-pixel", (PlanBlock((LVEF, VIEW), (*READ_OUTS, *CONTROLS)),)),
    Plan("lvef-sites", (PlanBlock((LVEF,), READ_OUTS, "sites"), PlanBlock((LVEF,), FINETUNED, "external"))),
    Plan("view-labels", (PlanBlock((VIEW,), READ_OUTS, fractions=FRACTIONS, seeds=SEEDS),)),
    Plan("rvsp", (PlanBlock((RVSP,), (*BY_TOKEN, *OVER_TIME, *FUSIONS), "each", missing_views=True),)),
    Plan("transfer", (PlanBlock((LVEF,), (*READ_OUTS, *FINETUNED), "transfer"),)),
    Plan("intervals", (PlanBlock((LVEF, LVEF_BY_LOOP), READ_OUTS, calibrated=True),)),
    Plan("robustness", (PlanBlock((LVEF,), (*BY_TOKEN, *OVER_TIME), perturbations=tuple(SEVERITIES)),)),
)
_OTHERS: Sequence[Plan] = (
    Plan("mechanism", (PlanBlock((LVEF,), READ_OUTS),), mechanism=True),
    Plan("learned", (
        PlanBlock((LVEF,), (*OVER_TIME, *BY_TOKEN)),
        PlanBlock((VIEW,), (*OVER_TIME, "attentive"), fractions=FRACTIONS[:2], seeds=SEEDS),
    )),
    Plan("compared", (
        PlanBlock((LVEF,), OVER_TIME), PlanBlock((VIEW,), OVER_TIME, fractions=FRACTIONS[1:2]),
    )),
    Plan("paper", tuple(block for plan in _TABLES[1:] for block in plan.blocks)),
)  # fmt: skip
PLANS: dict[str, Plan] = {plan.name: plan for plan in (*_TABLES, *_OTHERS)}
