"""Run a plan: every backbone, every cell, every condition; nothing twice; one table of numbers at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from echojepa.config import HarnessConfig
from echojepa.data.store import replace_parquet
from echojepa.errors import UserError
from echojepa.evaluation.cells import BackboneRun
from echojepa.evaluation.features.backbones import Contender, find_contenders
from echojepa.evaluation.features.extraction import Extraction, check_all_fits
from echojepa.evaluation.probes.heads import fit_constant
from echojepa.evaluation.probes.predictions import average
from echojepa.evaluation.progress import Progress
from echojepa.evaluation.protocol.cells import Job, children_of, nobody, row_facts, sites_of, without_features
from echojepa.evaluation.protocol.cohort import patient_subset, read_cohort
from echojepa.evaluation.protocol.plans import Cell, Plan
from echojepa.evaluation.protocol.samples import training_samples, want
from echojepa.evaluation.results import CONSTANT, RESULTS, Row, Scored, only_test, score, write_results
from echojepa.evaluation.scoring import comparisons, seed_rows
from echojepa.evaluation.statistics.conformal import calibrates
from echojepa.evaluation.varied import Varied
from echojepa.vocabulary import Split

COMPARISONS = "comparisons.parquet"


class Harness:
    """A plan over a cohort."""

    def __init__(self, plan: Plan, config: HarnessConfig) -> None:
        self.plan, self.config = plan, config
        cohort = read_cohort(config.data)
        self.children = children_of(cohort, config, plan)
        order = config.sites or cohort.sites()
        used = {*order, self.children}
        self.cohort = replace(cohort, loops=tuple(loop for loop in cohort.loops if loop["site"] in used))
        self.wanted = {
            task.name: want(self.cohort, task, config.clips_per_loop, self.children) for task in plan.tasks
        }
        order = (*order, *({self.children} - {"", *order}))
        self.cells = plan.cells(lambda task: sites_of(self.wanted[task.name], order))
        self.extraction = Extraction(self.cohort, config)
        self.varied = Varied(config) if plan.mechanism else None
        self.untuned: list[str] = []
        """Backbones without the rows of fine-tuning that the plan has."""

    def job(self, cell: Cell, limit: int) -> Job:
        """A cell with its samples; `limit` test loops at most, 0 for all."""
        wanted = self.wanted[cell.task.name]
        trained = training_samples(wanted, cell.task, cell.trained_on, cell.fraction, cell.seed)
        tested = wanted.splits == Split.TEST
        held = trained & calibrates(wanted.patients, cell.seed) & (wanted.splits == Split.VAL)
        held &= cell.calibrated
        if cell.calibrated and (not held.any() or not (trained & ~held & (wanted.splits == Split.VAL)).any()):
            raise UserError(
                f"task {cell.task.name}: too few validation patients to choose a head and calibrate"
            )
        loops = sorted({loop for loop, _ in wanted.of(tested).pairs()})
        allowed = patient_subset(self.cohort, loops, limit)
        names = {self.cohort.loops[number]["patient_id"] for number in allowed}
        shown = tested & np.isin(wanted.patients, sorted(names))
        job = Job(cell, wanted, trained & ~held, held, shown, self.config.clips_per_loop)
        job.check_tests()
        return job

    def run(self, progress: Progress) -> pa.Table:
        """Every number of the plan; writes and returns `results.parquet`."""
        runs = [self.run_of(one) for one in find_contenders(self.config)]
        check_all_fits(sum(run.bytes_needed() for run in runs), self.config)
        rows, plain = self.constants()
        for run in runs:
            rows += run.run(progress)
            plain += run.plain
        rows += seed_rows(plain, self.config.resamples, self.config.seed)
        table = write_results(self.config.out / RESULTS, rows)
        pairs = comparisons(plain, self.config.resamples, self.config.seed)
        replace_parquet(self.config.out / COMPARISONS, pairs)
        return table

    def run_of(self, contender: Contender) -> BackboneRun:
        """All cells that a backbone can have a part in."""
        cells = [cell for cell in self.cells if contender.trainable or not cell.probe.finetuned]
        if len(cells) < len(self.cells):
            self.untuned.append(contender.name)
        jobs = [self.job(cell, contender.test_loops) for cell in cells]
        return BackboneRun(contender, jobs, self.extraction, self.varied)

    def constants(self) -> tuple[list[Row], list[Scored]]:
        """Rows of the constant, which no backbone is needed for, and what they are made of."""
        found: dict[tuple[Any, ...], Scored] = {}
        for cell in (cell for cell in self.cells if not cell.calibrated):
            job = self.job(cell, 0)
            data = without_features(job.wanted, cell.task)
            fitted = fit_constant(data.of(job.trained), cell.task)
            for condition in cell.conditions:
                key = (cell.task.name, cell.trained_on, cell.fraction, cell.seed, condition.site)
                if condition.plain and key not in found:
                    test = torch.from_numpy(np.flatnonzero(job.under(condition)))
                    made = average(fitted.readout.outputs(data, test), data, test, cell.task)
                    facts = row_facts(job, condition, CONSTANT, made.items) | nobody()
                    found[key] = Scored(cell.task, facts, only_test(made))
        every = list(found.values())
        return [row for one in every for row in score(one, self.config.resamples, self.config.seed)], every
