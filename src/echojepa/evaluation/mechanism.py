"""How far features and predictions change when only one factor changes.

The phantom records a patient again with one factor changed (`simulate --vary FACTOR`), and labels each study
with its step (`varied FACTOR`). The change for a step is divided by the change for 5 points of LVEF. The
latter is the mean step of the set that varies `ef`, scaled to 5 points; this assumes that the change is
proportional within a step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from echojepa.errors import ConfigError
from echojepa.evaluation.features.extraction import Extraction, Needs
from echojepa.evaluation.features.samples import SlotFeatures
from echojepa.evaluation.features.tokens import Features
from echojepa.evaluation.probes.fitting import Readout, innermost
from echojepa.evaluation.protocol.cells import Presentation
from echojepa.evaluation.protocol.cohort import Cohort, read_cohort
from echojepa.evaluation.protocol.samples import Address
from echojepa.evaluation.results import ResultRow, RowFacts
from echojepa.evaluation.statistics.intervals import ratio_of_means
from echojepa.models.probe import Standardiser
from echojepa.tasks import LVEF, Task

VARIED = "varied "
"""Before a factor's name, the label that says where a study's factor stands."""
YARDSTICK, POINTS = "ef", 5.0
"""The factor that others are measured by, and how much of it."""
IN_POINTS = " moved, in 5 points of LVEF"
"""End of a metric's name: relative to the yardstick."""
SHOWN = Presentation(1)


@dataclass(frozen=True)
class Series:
    """Recordings of one patient and view in which one factor moves, in its order."""

    factor: str
    patient: str
    values: NDArray[np.float64]
    clips: tuple[Address, ...]


class Counterfactuals:
    """The sets that the plan `mechanism` looks at, in the order of `folders`; ConfigError where none varies
    LVEF."""

    def __init__(self, folders: Sequence[Path]) -> None:
        if not folders:
            raise ConfigError(
                "this plan needs counterfactual sets. Make them with `echojepa simulate --vary FACTOR` "
                "(one of them with `ef`), ingest each with its labels, and give them with "
                "--counterfactuals"
            )
        self.cohort = read_cohort(folders)
        self.series = find_series(self.cohort, LVEF)
        self.needs: Needs = {SHOWN: {clip for one in self.series for clip in one.clips}}

    def extraction(self, like: Extraction) -> Extraction:
        """Their features by the backbone of another extraction."""
        return Extraction(self.cohort, like.backbone, like.config, like.root)


def find_series(cohort: Cohort, task: Task) -> list[Series]:
    """Every series of a view that the task reads; ConfigError where none varies LVEF."""
    factors: dict[str, list[str]] = defaultdict(list)
    for study, label in cohort.labels:
        if label.startswith(VARIED):
            factors[study].append(label)
    found: dict[tuple[str, str, str], list[tuple[float, Address]]] = defaultdict(list)
    for place, loop in cohort.loops.items():
        if task.views is None or loop.view in task.views:
            for label in factors[loop.study_id]:
                key = (label.removeprefix(VARIED), loop.patient_id, loop.view)
                found[key].append((cohort.labels[loop.study_id, label][0], (*place, 0)))
    series = []
    for (factor, patient, _), steps in sorted(found.items()):
        values, clips = zip(*sorted(steps), strict=True)
        if len(steps) > 1:
            series.append(Series(factor, patient, np.array(values), clips))
    if not any(one.factor == YARDSTICK for one in series):
        known = sorted({one.factor for one in series})
        raise ConfigError(
            f"the counterfactual sets vary {known}; a set that varies '{YARDSTICK}' is also needed, as "
            f"the unit of measurement. Make it with `echojepa simulate --vary {YARDSTICK}` and ingest it "
            "with its labels"
        )
    return series


@dataclass(frozen=True)
class Moved:
    """What steps of a factor move, a number a patient."""

    factor: str
    step: float
    """Median step, in the factor's unit."""
    features: NDArray[np.float64]
    """Root mean square displacement of what the probe reads (tokens, or made of them), standardised."""
    predictions: NDArray[np.float64]
    """Absolute displacement of the prediction, in the task's unit."""


def displacements(series: Sequence[Series], features: Features, readout: Readout) -> list[Moved]:
    """What a step of each factor moves, by factor; features are of each loop's first clip."""
    probe, read = innermost(readout, features)
    fitted = Standardiser(*(probe.tensors()[name] for name in ("input_mean", "input_std")))
    places = read.places()
    every = SlotFeatures(features=read, places=np.arange(len(places))[:, None])
    predicted = probe.outputs(every)[:, 0].double().numpy()
    tokens: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    steps: dict[str, list[float]] = defaultdict(list)
    for one in series:
        index = torch.tensor([places[clip] for clip in one.clips])
        grids = fitted(read.tokens[index])
        moved = (grids[1:] - grids[:-1]).square().mean(dim=(1, 2)).sqrt()
        tokens[one.factor][one.patient] += moved.tolist()
        values[one.factor][one.patient] += np.abs(np.diff(predicted[index.numpy()])).tolist()
        steps[one.factor] += np.abs(np.diff(one.values)).tolist()
    return [
        Moved(
            factor,
            float(np.median(steps[factor])),
            np.array([np.mean(own) for own in tokens[factor].values()], dtype=np.float64),
            np.array([np.mean(own) for own in values[factor].values()], dtype=np.float64),
        )
        for factor in sorted(steps)
    ]


def mechanism_rows(
    moved: Sequence[Moved], task: Task, facts: RowFacts, resamples: int, seed: int
) -> list[ResultRow]:
    """Rows of what a step of each factor moves, relative to 5 points of LVEF."""
    yardstick = next(one for one in moved if one.factor == YARDSTICK)
    share = POINTS / yardstick.step
    rows = []
    for one in moved:
        whole, group = replace(facts, note=f"median step {one.step:g}"), f"a step of {one.factor}"
        for name, unit, mine, theirs in (
            (f"features{IN_POINTS}", "", one.features, share * yardstick.features),
            (f"prediction{IN_POINTS}", "", one.predictions, share * yardstick.predictions),
            ("prediction moved", task.unit, one.predictions, np.ones(1)),
        ):
            number = ratio_of_means(mine, theirs, resamples=resamples, seed=seed)
            rows.append(whole.row(name, unit, number, group, split=""))
    return rows
