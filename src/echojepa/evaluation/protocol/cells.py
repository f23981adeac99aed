"""A cell of a plan with the samples that it means in a cohort, and the sites that a plan has there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from echojepa.config import ConfigError, PlanConfig
from echojepa.errors import UserError
from echojepa.evaluation.protocol.cohort import Cohort, whole_patients
from echojepa.evaluation.protocol.plans import Cell, Condition, Plan, Sites
from echojepa.evaluation.protocol.samples import Address, ClipSamples, training_samples
from echojepa.evaluation.statistics.conformal import calibrates
from echojepa.vocabulary import Split


@dataclass(frozen=True, order=True)
class Presentation:
    """How loops are shown to a backbone: evenly spaced clips of each, and how they are perturbed."""

    clips_per_loop: int
    perturbation: str = ""
    severity: int = 0


@dataclass(frozen=True)
class CellSamples:
    """A cell, the samples it is trained on and the test samples it may be tested on."""

    cell: Cell
    samples: ClipSamples
    trained: NDArray[np.bool_]
    """(n,): they train the probe or choose its head."""
    calibrating: NDArray[np.bool_]
    """(n,): validation samples that calibrate intervals in place of choosing."""
    tested: NDArray[np.bool_]
    """(n,): test samples, of all sites, or a subset of them."""
    presentation: Presentation
    """Of unperturbed clips."""

    def under(self, condition: Condition) -> NDArray[np.bool_]:
        """Test samples of a condition's site that have a clip of one of the views it shows."""
        here = self.samples.at(condition.site)
        if condition.views:
            slots = self.samples.clips[..., 0].reshape(len(here), len(self.cell.task.slots), -1)
            here &= (slots[:, list(condition.views)] >= 0).any(axis=(1, 2))
        return self.tested & here

    def possible(self) -> list[Condition]:
        """Conditions with a test sample (some views may be in no test study), the unperturbed first."""
        return sorted(condition for condition in self.cell.conditions if self.under(condition).any())

    def predicted(self, condition: Condition) -> NDArray[np.bool_]:
        """What a condition's predictions are of: its test samples; unperturbed and whole, the others too."""
        chosen = self.under(condition)
        if condition.site == self.cell.trained_on and condition.plain:
            chosen = chosen | self.trained | self.calibrating
        return chosen

    def shown(self, condition: Condition) -> Presentation:
        """How loops are shown under a condition."""
        return replace(self.presentation, perturbation=condition.perturbation, severity=condition.severity)

    def needs(self) -> dict[Presentation, set[Address]]:
        """Every clip that this cell reads, by how it is shown."""
        found: dict[Presentation, set[Address]] = defaultdict(set)
        found[self.presentation] |= self.samples.select(self.trained | self.calibrating).addresses()
        for condition in self.cell.conditions:
            found[self.shown(condition)] |= self.samples.select(self.under(condition)).addresses()
        return found


def cell_samples(
    cell: Cell, samples: ClipSamples, cohort: Cohort, clips_per_loop: int, test_loops: int = 0
) -> CellSamples:
    """The samples of a cell; `test_loops` at most are tested, of whole patients, 0 for all.

    UserError for a site without test patients, and where too few patients are left to choose and calibrate.
    """
    trained = training_samples(samples, cell.task, cell.trained_on, cell.fraction, cell.seed)
    held = np.zeros_like(trained)
    if cell.calibrated:
        val = trained & (samples.splits == Split.VAL)
        held = val & calibrates(samples.patients, cell.seed)
        if not held.any() or not (val & ~held).any():
            raise UserError(
                f"task {cell.task.name}: there are too few validation patients to choose a head and to "
                "calibrate; ingest more"
            )
    tested = samples.splits == Split.TEST
    loops = (cohort.loops[place] for place in samples.select(tested).loops())
    tested &= np.isin(samples.patients, sorted(whole_patients(loops, test_loops)))
    shown = Presentation(cell.task.clips if cell.task.slots else clips_per_loop)
    made = CellSamples(cell, samples, trained & ~held, held, tested, shown)
    for site in {condition.site for condition in cell.conditions}:
        if not made.under(Condition(site)).any():
            where = f"site '{site}'" if site else "the data"
            raise UserError(
                f"task {cell.task.name}: {where} has no labelled test patient; leave the task out"
            )
    return made


def children_of(cohort: Cohort, config: PlanConfig, plan: Plan) -> str:
    """The paediatric site: the one that was named, or in a plan of transfer alone the only site of the second
    of two data sets; empty for none. ConfigError for unknown names."""
    known = cohort.sites()
    named = (*config.sites, *((config.children,) if config.children else ()))
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise ConfigError(f"unknown sites {unknown}; this data has {list(known)}")
    second = {*cohort.loops.sites(1)}
    if not config.children and plan.only_transfer and len(config.data) == 2 and len(second) == 1:
        return second.pop()
    return config.children


def sites_of(samples: ClipSamples, order: Sequence[str]) -> Sites:
    """Which of the sites, in this order, a task can be tested and trained at."""
    found = {split: set(samples.sites[samples.splits == split].tolist()) for split in Split}
    tested = tuple(site for site in order if site in found[Split.TEST])
    trained = tuple(site for site in tested if all(site in sites for sites in found.values()))
    return Sites(tested, trained, samples.children)
