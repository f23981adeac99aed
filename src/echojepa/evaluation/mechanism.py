"""What moves a model: how far features and predictions go when one factor alone changes.

The phantom records a patient again with one factor moved (`simulate --vary FACTOR`), and labels each study
with where it stands (`varied FACTOR`). What a step of a factor moves is divided by what 5 points of LVEF
move, measured on the set that varies `ef`: its mean step scaled to 5 points, which takes displacement to be
proportional within a step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echojepa.errors import ConfigError
from echojepa.evaluation.features.tokens import Features
from echojepa.evaluation.probes.heads import Readout
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.evaluation.protocol.samples import Labelled
from echojepa.models.probe import Standardiser
from echojepa.tasks import Task

VARIED = "varied "
"""Before a factor's name, the label that says where a study's factor stands."""
YARDSTICK, POINTS = "ef", 5.0
"""The factor that others are measured by, and how much of it."""
IN_POINTS = " moved, in 5 points of LVEF"
"""End of a metric's name: relative to the yardstick."""


@dataclass(frozen=True)
class Series:
    """Recordings of one patient and view in which one factor moves, in its order."""

    factor: str
    patient: str
    values: NDArray[np.float64]
    loops: NDArray[np.int64]
    """Numbers of the cohort's loops."""


def find_series(cohort: Cohort, task: Task) -> list[Series]:
    """Every series of a view that the task reads; ConfigError where none varies LVEF."""
    found: dict[tuple[str, str, str], list[tuple[float, int]]] = defaultdict(list)
    varied = [(study, label) for study, label in cohort.labels if label.startswith(VARIED)]
    factors: dict[str, list[str]] = defaultdict(list)
    for study, label in varied:
        factors[study].append(label)
    for number, loop in enumerate(cohort.loops):
        if task.views is None or loop["view"] in task.views:
            for label in factors[loop["study_id"]]:
                key = (label.removeprefix(VARIED), loop["patient_id"], loop["view"])
                found[key].append((cohort.labels[loop["study_id"], label][0], number))
    series = []
    for (factor, patient, _), steps in sorted(found.items()):
        values, loops = zip(*sorted(steps), strict=True)
        if len(steps) > 1:
            series.append(Series(factor, patient, np.array(values), np.array(loops, dtype=np.int64)))
    if not any(one.factor == YARDSTICK for one in series):
        known = sorted({one.factor for one in series})
        raise ConfigError(
            f"the counterfactual sets vary {known}; one that varies '{YARDSTICK}' is needed to measure by: "
            f"make it with `echojepa simulate --vary {YARDSTICK}` and ingest it with its labels"
        )
    return series


@dataclass(frozen=True)
class Moved:
    """What steps of a factor move, a number a patient."""

    factor: str
    step: float
    """Median step, in the factor's unit."""
    features: NDArray[np.float64]
    """Root mean square displacement of standardised tokens."""
    predictions: NDArray[np.float64]
    """Absolute displacement of the prediction, in the task's unit."""


def displacements(series: Sequence[Series], features: Features, readout: Readout) -> list[Moved]:
    """What a step of each factor moves, by factor; features are of each loop's first clip."""
    fitted = Standardiser(*(readout.tensors()[name] for name in ("input_mean", "input_std")))
    places = features.places()
    predicted = predict_all(features, readout)
    tokens: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    steps: dict[str, list[float]] = defaultdict(list)
    for one in series:
        index = torch.tensor([places[int(loop), 0] for loop in one.loops])
        grids = fitted(features.tokens[index])
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


def predict_all(features: Features, readout: Readout) -> NDArray[np.float64]:
    """A prediction a clip."""
    count = len(features.tokens)
    names = np.array([str(number) for number in range(count)])
    everything = torch.arange(count)
    data = Labelled(features, everything[:, None], torch.zeros(count), names, names, names, names, ())
    return readout.outputs(data, everything)[:, 0].double().numpy()


def ratio_interval(
    over: NDArray[np.float64], under: NDArray[np.float64], resamples: int, seed: int
) -> tuple[float, float, float]:
    """mean(over) / mean(under) with its 95 % percentile interval, patients of both drawn with replacement."""
    rng = np.random.default_rng(seed)
    above, below = (
        values[rng.integers(len(values), size=(resamples, len(values)))].mean(1) for values in (over, under)
    )
    low, high = np.percentile(above / below, [2.5, 97.5])
    return float(over.mean() / under.mean()), float(low), float(high)


def mechanism_rows(
    moved: Sequence[Moved], task: Task, facts: dict[str, Any], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of what a step of each factor moves, relative to 5 points of LVEF."""
    yardstick = next(one for one in moved if one.factor == YARDSTICK)
    share = POINTS / yardstick.step
    rows = []
    for one in moved:
        whole = facts | {"group": f"a step of {one.factor}", "note": f"median step {one.step:g}"}
        whole |= {"split": "", "patients": len(one.features), "items": len(one.features)}
        for what, mine, theirs in (
            ("features", one.features, yardstick.features),
            ("prediction", one.predictions, yardstick.predictions),
        ):
            value, low, high = ratio_interval(mine, share * theirs, resamples, seed)
            number = {"metric": f"{what}{IN_POINTS}", "unit": ""}
            rows.append(whole | number | {"value": value, "lo": low, "hi": high})
        value, low, high = ratio_interval(one.predictions, np.ones(1), resamples, seed)
        number = {"metric": "prediction moved", "unit": task.unit}
        rows.append(whole | number | {"value": value, "lo": low, "hi": high})
    return rows
