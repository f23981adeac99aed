"""Run a plan: every backbone, every cell, every condition; nothing twice; tables of numbers at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from echojepa.config import PlanConfig, TuningConfig
from echojepa.errors import UserError
from echojepa.evaluation.cells import BackboneCells, FineTuned, Predicted, takes_part
from echojepa.evaluation.comparisons import COMPARISONS, comparisons, seed_rows
from echojepa.evaluation.features.backbones import BIG, BackboneFacts, ComparedBackbone, find_backbones
from echojepa.evaluation.features.cache import check_room
from echojepa.evaluation.features.extraction import Extraction, fill_together
from echojepa.evaluation.mechanism import SHOWN, Counterfactuals, displacements, mechanism_rows
from echojepa.evaluation.probes.fitting import constant_outputs
from echojepa.evaluation.probes.predictions import average
from echojepa.evaluation.probes.training import train_at_once
from echojepa.evaluation.protocol.cells import CellSamples, cell_samples, children_of, sites_of
from echojepa.evaluation.protocol.cohort import read_cohort, synthetic_share
from echojepa.evaluation.protocol.plans import OWN_HEAD, Cell, Plan
from echojepa.evaluation.protocol.samples import task_samples
from echojepa.evaluation.results import CONSTANT, RESULTS, ResultRow, write_fingerprints, write_results
from echojepa.evaluation.scoring import Scored, cell_rows, row_facts, score
from echojepa.evaluation.tables.output import write_tables
from echojepa.files.tables import write_parquet
from echojepa.processes.allocator import give_back_pages
from echojepa.progress import Progress

MOST_WORKERS = 8
"""Processes unless more are asked for: ridge alone may hold a GB in each."""
NOBODY = BackboneFacts(backbone=CONSTANT, weights="", parameters=0, tokens=0, embed_dim=0)
"""Who stands behind the constant's rows."""


class PlanRun:
    """A plan over a cohort."""

    def __init__(self, plan: Plan, config: PlanConfig) -> None:
        self.plan, self.config = plan, config
        cohort = read_cohort(config.data)
        self.children = children_of(cohort, config, plan)
        order = config.sites or cohort.sites()
        used = {*order, self.children}
        self.cohort = cohort.at(used)
        self.samples = {
            task.name: task_samples(self.cohort, task, config.clips_per_loop, self.children)
            for task in plan.tasks
        }
        order = (*order, *({self.children} - {"", *order}))
        self.cells = plan.cells(lambda task: sites_of(self.samples[task.name], order))
        self.cache = config.cache or config.out / "features"
        self.counterfactuals = Counterfactuals(config.counterfactuals) if plan.mechanism else None
        self.untuned: list[str] = []
        """Backbones without the rows of fine-tuning that the plan has."""

    def cell(self, cell: Cell, test_loops: int = 0) -> CellSamples:
        """A cell with its samples; `test_loops` at most, 0 for all."""
        samples = self.samples[cell.task.name]
        return cell_samples(cell, samples, self.cohort, self.config.clips_per_loop, test_loops)

    def run(self, progress: Progress) -> list[ResultRow]:
        """Every number of the plan; writes `results.parquet`, `comparisons.parquet` and the tables."""
        config = self.config
        found = find_backbones(config.backbones, precision=config.precision, engine=config.engine)
        runs = [self.cells_of(one) for one in found]
        self.check_heads(runs)
        varied = self.counterfactuals
        needed = sum(run.bytes_needed() for run in runs)
        needed += sum(varied.extraction(run.extraction).bytes_needed(varied.needs) for run in runs if varied)
        check_room(self.cache, needed, config.cache_gb)
        self.fill(runs, progress)
        workers = config.workers or min(MOST_WORKERS, os.cpu_count() or 1)
        jobs = [job for run in runs for job in run.jobs()] if workers > 1 else []
        if len(jobs) > 1:
            train_at_once(jobs, workers, progress)
        plain = self.constants()
        rows = [row for one in plain for row in score(one, config.resamples, config.seed)]
        for run in runs:
            rows += self.rows_of(run, plain, progress)
        rows += seed_rows(plain, config.resamples, config.seed)
        write_results(config.out / RESULTS, rows)
        write_fingerprints(config.out, self.cohort.fingerprints)
        pairs = comparisons(plain, config.resamples, config.seed)
        write_parquet(config.out / COMPARISONS, pairs)
        synthetic = any(synthetic_share(store) != "none" for store in self.cohort.stores)
        write_tables(config.out, rows, pairs.to_pylist(), self.children, synthetic)
        return rows

    def cells_of(self, backbone: ComparedBackbone) -> BackboneCells:
        """All cells that a backbone can have a part in."""
        config = self.config
        asked = [cell for cell in self.cells if takes_part(backbone, cell)]
        if not backbone.trainable and any(cell.probe.finetuned for cell in self.cells):
            self.untuned.append(backbone.name)
        cells = [self.cell(cell, backbone.test_loops(config.test_loops)) for cell in asked]
        finetuning = TuningConfig(
            epochs=config.finetune_epochs, lr=config.finetune_lr, clips_per_loop=config.clips_per_loop
        )
        extraction = Extraction(self.cohort, backbone, config, self.cache)
        return BackboneCells(cells, extraction, FineTuned(finetuning, config), config.out)

    def check_heads(self, runs: Sequence[BackboneCells]) -> None:
        """UserError for a head that no backbone comes with."""
        wanted = {cell.task.name for cell in self.cells if cell.probe.name == OWN_HEAD}
        there = {own.cell.task.name for run in runs for own in run.cells if own.cell.probe.name == OWN_HEAD}
        if wanted - there:
            raise UserError(
                f"no backbone comes with a head for {', '.join(sorted(wanted - there))}; PanEcho's file "
                "has heads for its measurements (docs/reference/weights.md). Leave the task out, or "
                "train a probe"
            )

    def fill(self, runs: Sequence[BackboneCells], progress: Progress) -> None:
        """Run every missing clip through the backbones: small ones that are fed alike in one go."""
        groups: list[list[BackboneCells]] = []
        for run in runs:
            for group in groups:
                parameters = sum(one.backbone.parameters for one in (*group, run))
                if group[0].backbone.spec == run.backbone.spec and parameters <= BIG:
                    group.append(run)
                    break
            else:
                groups.append([run])
        varied = self.counterfactuals
        for group in groups:
            asked = [(run.extraction, run.needs) for run in group]
            if varied:
                asked += [(varied.extraction(run.extraction), varied.needs) for run in group]
            fill_together(asked, progress)
        give_back_pages()

    def rows_of(self, run: BackboneCells, plain: list[Scored], progress: Progress) -> list[ResultRow]:
        """A backbone's rows, cell by cell, of features that are there; what is scored of plain conditions is
        added to `plain`."""
        rows: list[ResultRow] = []
        for number, cell in enumerate(run.cells):
            note = f"{run.backbone.name}: {cell.cell.probe.name}, {cell.cell.task.name}"
            progress(number, len(run.cells), note)
            predicted = run.predictions(cell, progress)
            made, scored = cell_rows(predicted, self.cohort, self.config.resamples, self.config.seed)
            rows += made
            plain += scored
            if self.counterfactuals and not cell.cell.probe.finetuned:
                rows += self.mechanism(self.counterfactuals, run, predicted[0])
        progress(len(run.cells), len(run.cells), run.backbone.name)
        run.write_embeddings()
        return rows

    def mechanism(self, varied: Counterfactuals, run: BackboneCells, one: Predicted) -> list[ResultRow]:
        """What moves a cell's probe and the features below it."""
        facts = row_facts(one, np.array([], dtype=str))
        features = varied.extraction(run.extraction).features(SHOWN, varied.needs[SHOWN])
        moved = displacements(varied.series, features, run.stored(one.cell).readout())
        whole = replace(facts, loops=len(varied.needs[SHOWN]))
        return mechanism_rows(moved, one.cell.cell.task, whole, self.config.resamples, self.config.seed)

    def constants(self) -> list[Scored]:
        """Test predictions of the constant, which no backbone is needed for."""
        found: dict[tuple[Any, ...], Scored] = {}
        for asked in (cell for cell in self.cells if not cell.calibrated):
            cell = self.cell(asked)
            for condition in asked.conditions:
                key = (asked.task.name, asked.trained_on, asked.fraction, asked.seed, condition.site)
                if condition.plain and key not in found:
                    test = cell.samples.select(cell.under(condition))
                    outputs = constant_outputs(cell.samples.select(cell.trained), len(test.items))
                    made = average(outputs, test)
                    facts = row_facts(Predicted(cell, condition, made, NOBODY, True, ""), made.items)
                    found[key] = Scored(asked.task, replace(facts, probe=CONSTANT), made)
        return list(found.values())
