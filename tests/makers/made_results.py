"""Folders of results as a plan leaves them, of numbers drawn at random: no encoder, no training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from echojepa.evaluation.features.backbones import BackboneFacts
from echojepa.evaluation.probes.heads import Choice
from echojepa.evaluation.probes.predictions import Predictions
from echojepa.evaluation.probes.ridge import RidgeProbe
from echojepa.evaluation.probes.stored import StoredProbe, slug, write_predictions
from echojepa.evaluation.protocol.plans import Plan, Sites
from echojepa.evaluation.results import ALL_SITES, CONSTANT, RESULTS, ResultRow, RowFacts, write_results
from echojepa.evaluation.scoring import COVERAGE, Scored, score
from echojepa.evaluation.statistics.intervals import Estimate
from echojepa.models.probe import Standardiser
from echojepa.tasks import Task

WIDTH, GRID = 4, (1, 1, 1)
VAL_SEED = 1000
"""Of the first probe's predictions of validation items."""
ADULTS = Sites(("a", "b", "kids"), ("a", "b", "kids"), "kids")


def predicted(task: Task, seed: int) -> Predictions:
    """Predictions of twelve test items, each of its own patient."""
    rng, names = np.random.default_rng(seed), np.array([f"p{number:02}" for number in range(12)])
    chances = rng.dirichlet(np.ones(3), 12)
    return Predictions(
        items=names, patients=names, splits=np.full(12, "test"), sites=np.full(12, "a"),
        truth=np.arange(12) % 3 if task.classes else np.linspace(30, 70, 12),
        classes=("A2C", "A4C", "PLAX") if task.classes else (),
        values=chances if task.classes else rng.normal(50, 10, 12),
    )  # fmt: skip


def beside_validation(test: Predictions, task: Task, seed: int) -> Predictions:
    """The same, and of twelve validation items."""
    val, names = predicted(task, seed), np.array([f"v{number:02}" for number in range(12)])
    val = replace(val, items=names, patients=names, splits=np.full(12, "val"))
    pairs = {name: (getattr(val, name), getattr(test, name)) for name in ("values", *val.columns())}
    joined = {name: np.concatenate(pair) for name, pair in pairs.items() if name != "classes"}
    return replace(test, **joined)


def store_results(plan: Plan, out: Path, seed: int = 0) -> None:
    """What a plan leaves: rows, and every probe with its predictions, of numbers drawn at random, which are
    the same for all that a cell compares."""
    blank = Standardiser.identity(1, WIDTH)
    readout = RidgeProbe(blank, torch.zeros(1, 1, WIDTH, 1), torch.zeros(1), False)
    rows: list[ResultRow] = []
    for number, cell in enumerate(plan.cells(lambda task: ADULTS)):
        made, scored = predicted(cell.task, seed + number), []
        for name in ("JEPA", "random encoder", CONSTANT):
            who = {"backbone": name, "weights": "w", "parameters": 1, "tokens": 1, "embed_dim": WIDTH}
            probe = CONSTANT if name == CONSTANT else cell.probe.name
            stored = StoredProbe(out / "probes" / slug(cell.task.name) / slug(name) / cell.key)
            if name != CONSTANT:
                history = {"validation": [3.0, 2.0]} if cell.probe.depth is not None else {}
                settings = {"learning rate": 1e-3, "weight decay": 0.1, "epoch": 2}
                choice = Choice(settings, history, True)
                stored.save(readout, choice, cell, made.classes, GRID, BackboneFacts(**who))
            for condition in cell.conditions:
                facts = RowFacts(
                    **who, task=cell.task.name, probe=probe, trained_on=cell.trained_on or ALL_SITES,
                    site=condition.site or ALL_SITES, label_fraction=cell.fraction, note="", converged=True,
                    perturbation=condition.perturbation, severity=condition.severity, views="",
                    seed=cell.seed, loops=12,
                )  # fmt: skip
                if cell.calibrated:
                    rows.append(facts.row(COVERAGE, "%", Estimate(90.0, 80.0, 95.0, 12, 12)))
                else:
                    scored = scored or score(Scored(cell.task, facts, made), 2, 0)
                    rows += [replace(row, **vars(facts)) for row in scored]
                if name != CONSTANT and not condition.perturbation:
                    both = beside_validation(made, cell.task, VAL_SEED + number)
                    write_predictions(stored.predictions_file(condition, ""), both, stored.card(), condition)
    write_results(out / RESULTS, rows)
