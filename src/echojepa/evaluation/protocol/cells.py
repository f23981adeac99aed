"""A cell of a plan with the samples that it means in a cohort, and what its rows say of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echojepa.config import ConfigError, HarnessConfig
from echojepa.errors import UserError
from echojepa.evaluation.features.extraction import Look, Pair
from echojepa.evaluation.features.tokens import Features, Tokens
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.evaluation.protocol.plans import Cell, Condition, Plan, Sites
from echojepa.evaluation.protocol.samples import Labelled, Wanted, attach
from echojepa.evaluation.results import ALL_SITES, CONSTANT
from echojepa.tasks import Task
from echojepa.vocabulary import Split


@dataclass(frozen=True)
class Job:
    """A cell of one backbone, with the samples it is trained on and the test samples it may be tested on."""

    cell: Cell
    wanted: Wanted
    trained: NDArray[np.bool_]
    """(n,) bool: they train the probe or choose its head."""
    calibrating: NDArray[np.bool_]
    """(n,) bool: validation samples that calibrate intervals in place of choosing."""
    tested: NDArray[np.bool_]
    """(n,) bool: test samples, of all sites, or a subset of them."""
    clips_per_loop: int

    @property
    def look(self) -> Look:
        """Undamaged clips."""
        return Look(self.cell.task.clips if self.cell.task.slots else self.clips_per_loop)

    def under(self, condition: Condition) -> NDArray[np.bool_]:
        """Test samples of a condition's site that have a clip of one of the views it shows."""
        here = self.wanted.at(condition.site)
        if condition.views:
            slots = self.wanted.clips[..., 0].reshape(len(here), len(self.cell.task.slots), -1)
            here &= (slots[:, list(condition.views)] >= 0).any(axis=(1, 2))
        return self.tested & here

    def check_tests(self) -> None:
        """UserError for a site without a test patient."""
        for site in {condition.site for condition in self.cell.conditions}:
            if not self.under(Condition(site)).any():
                where = f"site '{site}'" if site else "the data"
                raise UserError(
                    f"task {self.cell.task.name}: {where} has no labelled test patient; leave it out"
                )

    def needs(self) -> dict[Look, set[Pair]]:
        """Every clip that this job reads, by how it is looked at."""
        found: dict[Look, set[Pair]] = defaultdict(set)
        found[self.look] |= set(self.wanted.of(self.trained | self.calibrating).pairs())
        for condition in self.cell.conditions:
            look = replace(self.look, perturbation=condition.perturbation, severity=condition.severity)
            found[look] |= set(self.wanted.of(self.under(condition)).pairs())
        return found


def children_of(cohort: Cohort, config: HarnessConfig, plan: Plan) -> str:
    """The paediatric site: the one that was named, or in a plan of transfer alone the only site of the second
    of two data sets; empty for none. ConfigError for unknown names."""
    known = cohort.sites()
    named = (*config.sites, *((config.children,) if config.children else ()))
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise ConfigError(f"unknown sites {unknown}; this data has {list(known)}")
    second = {loop["site"] for loop in cohort.loops if loop.store == 1}
    if not config.children and plan.only_transfer and len(config.data) == 2 and len(second) == 1:
        return second.pop()
    return config.children


def sites_of(wanted: Wanted, order: Sequence[str]) -> Sites:
    """Which of the sites, in this order, a task can be tested and trained at."""
    parts = [set(wanted.sites[wanted.splits == split].tolist()) for split in Split]
    tested = [site for site in order if site in set(wanted.sites[wanted.splits == Split.TEST].tolist())]
    trained = [site for site in tested if all(site in part for part in parts)]
    return Sites(tuple(tested), tuple(trained), wanted.children)


def labels_digest(wanted: Wanted) -> str:
    """Checksum of samples and their labels."""
    digest = hashlib.sha256(wanted.clips.tobytes())
    digest.update(wanted.truth.tobytes())
    digest.update("\n".join([*wanted.items, *wanted.splits]).encode())
    return digest.hexdigest()


def without_features(wanted: Wanted, task: Task) -> Labelled:
    """Samples for a probe that looks at none."""
    loops, clips = (np.array(column, dtype=np.int64) for column in zip(*wanted.pairs(), strict=True))
    zeros = torch.zeros(len(loops), 1, 1)
    return attach(wanted, Features(Tokens.of(zeros), zeros[:, 0], (1, 1, 1), loops, clips), task)


def row_facts(job: Job, condition: Condition, probe: str, items: NDArray[np.str_]) -> dict[str, Any]:
    """Columns of a row that tell of the cell and the condition."""
    cell, wanted = job.cell, job.wanted
    counted = job.under(condition) & np.isin(wanted.items, items)
    loops = {loop for loop, _ in wanted.of(counted).pairs()}
    every = {loop for loop, _ in wanted.of(wanted.splits == Split.TEST).pairs()}
    mine = {loop for loop, _ in wanted.of(job.tested).pairs()}
    note = f"a fixed subset: {len(mine)} of {len(every)} test loops" if len(mine) < len(every) else ""
    shown = condition.views or range(len(cell.task.slots))
    return {
        "task": cell.task.name,
        "probe": probe,
        "trained_on": cell.trained_on or ALL_SITES,
        "site": condition.site or ALL_SITES,
        "label_fraction": cell.fraction,
        "perturbation": condition.perturbation,
        "severity": condition.severity,
        "views": " + ".join(str(cell.task.slots[view][0]) for view in shown),
        "seed": cell.seed,
        "loops": len(loops),
        "note": note,
    }


def nobody() -> dict[str, Any]:
    """The columns of a row behind which there is no backbone."""
    return {
        "backbone": CONSTANT,
        "weights": "",
        "parameters": 0,
        "tokens": 0,
        "embed_dim": 0,
        "settled": True,
    }
