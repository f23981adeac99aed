"""Which kind of frozen probe figures show, and what it predicted: validation patients choose it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echojepa.evaluation.probes.predictions import Predictions, error_of
from echojepa.evaluation.probes.stored import find_probes
from echojepa.evaluation.protocol.plans import FINETUNED, Condition
from echojepa.evaluation.results import ResultRow
from echojepa.evaluation.statistics.metrics import led_by
from echojepa.evaluation.tables.page import of_all_sites, unperturbed
from echojepa.vocabulary import Split


@dataclass(frozen=True)
class TaskPredictions:
    """What the figures of a task are drawn of."""

    probe: str
    """The kind of probe, the same for all backbones."""
    made: dict[str, Predictions]
    """Of test items on unperturbed clips of all sites, by backbone."""


def drawn_predictions(results: Path, rows: Sequence[ResultRow]) -> dict[str, TaskPredictions]:
    """By task, predictions of the kind of frozen probe that errs least on validation patients, the mean over
    backbones, so that it favours none; of the kinds that most of them have. Nothing of a task without any."""
    found = {}
    for task, metric in {row.task: row.metric for row in rows}.items():
        kinds = dict.fromkeys(row.probe for row in rows if row.task == task)
        made = {kind: of_probes(results, task, kind) for kind in kinds if kind not in FINETUNED}
        most = max(map(len, made.values()), default=0)
        errors = {
            kind: np.mean(
                [error_of(one.select(one.within(Split.VAL)), led_by(metric)) for one in by.values()]
            )
            for kind, by in made.items()
            if len(by) == most > 0
        }
        if errors:
            kind = min(errors, key=errors.__getitem__)
            found[task] = TaskPredictions(kind, {name: one.of_test() for name, one in made[kind].items()})
    return found


def of_probes(results: Path, task: str, kind: str) -> dict[str, Predictions]:
    """What the plain probes of a kind said of unperturbed clips, by backbone."""
    stored = find_probes(results, task, kind)
    made = {name: one.predictions(Condition()) for name, one in stored.items()}
    return {name: one for name, one in made.items() if one is not None}


def perturbed_probe(results: Path, rows: Sequence[ResultRow]) -> str:
    """Of the kinds that read LVEF of perturbed clips, the one that figures show; empty if there is none."""
    kinds = {row.probe for row in rows if row.perturbation}
    mine = [r for r in rows if r.task == "lvef" and r.probe in kinds and unperturbed(r) and of_all_sites(r)]
    shown = drawn_predictions(results, mine).get("lvef")
    return shown.probe if shown else ""
