"""Run a plan: every backbone, every cell, every condition; nothing twice; one table of numbers at the end."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from echojepa.config import HarnessConfig
from echojepa.data.store import replace_parquet
from echojepa.errors import UserError
from echojepa.evaluation.analysis import Contests, comparisons, conformal_rows, subgroup_rows
from echojepa.evaluation.cohort import patient_subset, read_cohort
from echojepa.evaluation.conformal import calibrates
from echojepa.evaluation.contenders import Contender, find_contenders
from echojepa.evaluation.extraction import Extraction, Look, Pair, check_all_fits
from echojepa.evaluation.features import Features
from echojepa.evaluation.finetune import tuned_contender
from echojepa.evaluation.jobs import Job, find_sites, labels_digest, nobody, row_facts, without_features
from echojepa.evaluation.mechanism import displacements, mechanism_rows
from echojepa.evaluation.plans import Cell, Condition, Plan
from echojepa.evaluation.predictions import ItemPredictions, average
from echojepa.evaluation.probing import Readout, fit_constant, fit_probe
from echojepa.evaluation.progress import Progress
from echojepa.evaluation.results import CONSTANT, RESULTS, Scored, only_test, score, write_results
from echojepa.evaluation.samples import Labelled, attach, training_samples, want
from echojepa.evaluation.stored_probes import (
    FACTS,
    about,
    load_readout,
    predictions_file,
    read_predictions,
    save_fitted,
    slug,
    write_predictions,
)
from echojepa.evaluation.varied import Varied
from echojepa.vocabulary import Split

COMPARISONS = "comparisons.parquet"
Row = dict[str, Any]


class Harness:
    """A plan over a cohort."""

    def __init__(self, plan: Plan, config: HarnessConfig) -> None:
        self.plan, self.config = plan, config
        self.cohort = read_cohort(config.data)
        self.sites = find_sites(self.cohort, config)
        if config.sites:
            self.cohort = replace(
                self.cohort,
                loops=tuple(loop for loop in self.cohort.loops if loop["site"] in self.sites.known),
            )
        self.cells = plan.cells(self.sites)
        tasks = {cell.task.name: cell.task for cell in self.cells}
        self.wanted = {name: want(self.cohort, task, config.clips_per_loop) for name, task in tasks.items()}
        self.extraction = Extraction(self.cohort, config)
        self.contests = Contests()
        self.varied = Varied(config) if plan.mechanism else None

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

    def needs(self, jobs: Sequence[Job]) -> dict[Look, set[Pair]]:
        """Every clip that jobs read."""
        found: dict[Look, set[Pair]] = defaultdict(set)
        for job in (job for job in jobs if not job.cell.probe.finetuned):
            for look, pairs in job.needs().items():
                found[look] |= pairs
        return found

    def run(self, progress: Progress) -> pa.Table:
        """Every number of the plan; writes and returns `results.parquet`."""
        contenders = find_contenders(self.config)
        jobs = {one.name: [self.job(cell, one.test_loops) for cell in self.cells] for one in contenders}
        needed = 0
        for one in contenders:
            needed += self.extraction.bytes_needed(one, self.needs(jobs[one.name]))
            needed += self.varied.bytes_needed(one) if self.varied else 0
        check_all_fits(needed, self.config)
        rows = self.constants()
        for one in contenders:
            rows += BackboneRun(self, one, jobs[one.name]).run(progress)
        table = write_results(self.config.out / RESULTS, rows)
        pairs = comparisons(self.contests.all(), self.config.resamples, self.config.seed)
        replace_parquet(self.config.out / COMPARISONS, pairs)
        return table

    def constants(self) -> list[dict[str, Any]]:
        """Rows of the constant, which no backbone is needed for."""
        rows, seen = [], set()
        for cell in (cell for cell in self.cells if not cell.calibrated):
            job = self.job(cell, 0)
            data = without_features(job.wanted, cell.task)
            fitted = fit_constant(data.of(job.trained), cell.task)
            for condition in cell.conditions:
                key = (cell.task.name, cell.trained_on, cell.fraction, cell.seed, condition.site)
                if condition.plain and key not in seen:
                    seen.add(key)
                    test = torch.from_numpy(np.flatnonzero(job.under(condition)))
                    made = average(fitted.readout.outputs(data, test), data, test, cell.task)
                    facts = row_facts(job, condition, CONSTANT, made.items) | nobody()
                    rows += score(
                        Scored(cell.task, facts, only_test(made)), self.config.resamples, self.config.seed
                    )
        return rows


class BackboneRun:
    """All cells of one backbone."""

    def __init__(
        self, harness: Harness, contender: Contender, jobs: Sequence[Job], trained: Path | None = None
    ) -> None:
        self.harness, self.contender, self.jobs = harness, contender, jobs
        self.trained = trained
        """Where the probe already stands, for an encoder that was fine-tuned with it."""
        self.config, self.extraction = harness.config, harness.extraction

    def run(self, progress: Progress) -> list[dict[str, Any]]:
        """Features, probes, predictions, rows."""
        self.extraction.fill(self.contender, self.harness.needs(self.jobs), progress)
        if self.harness.varied:
            self.harness.varied.fill(self.contender, progress)
        rows = []
        for number, job in enumerate(self.jobs):
            note = f"{self.contender.name}: {job.cell.probe.name}, {job.cell.task.name}"
            progress(number, len(self.jobs), note)
            if job.cell.probe.finetuned:
                rows += self.tuned(job, progress)
                continue
            rows += self.run_job(job)
            if self.harness.varied:
                rows += self.mechanism(job, self.harness.varied)
        progress(len(self.jobs), len(self.jobs), self.contender.name)
        self.write_embeddings()
        return rows

    def tuned(self, job: Job, progress: Progress) -> list[Row]:
        """One cell whose encoder is trained: a backbone of its own, with its head beside it."""
        folder, config, cohort = self.folder(job), self.config, self.harness.cohort
        contender = tuned_contender(folder, self.contender, job, cohort, config, progress)
        self.extraction.fill(contender, job.needs(), progress)
        return BackboneRun(self.harness, contender, [job], folder).run_job(job)

    def run_job(self, job: Job) -> list[dict[str, Any]]:
        """One cell: train it or read it, predict what was not predicted, score."""
        folder = self.folder(job)
        readout: Readout | None = None
        rows = []
        possible = [condition for condition in job.cell.conditions if job.under(condition).any()]
        for condition in possible:  # some views may be in no test study at all
            file = predictions_file(folder, condition, self.extent(job))
            if not file.is_file():
                readout = readout or self.readout(job, folder)
                self.predict(job, condition, readout, file)
            made, made_by = read_predictions(file)
            test = only_test(made)
            facts = row_facts(job, condition, job.cell.probe.name, test.items)
            if job.cell.calibrated:
                names = np.unique(job.wanted.patients[job.calibrating])
                facts |= made_by["backbone"]
                rows += conformal_rows(made, names, job.cell.task, facts, self.config.seed)
            else:
                rows += self.scored(job, condition, facts, made_by["backbone"], test)
        return rows

    def mechanism(self, job: Job, varied: Varied) -> list[Row]:
        """What moves this cell's probe and the features below it."""
        features = varied.features(self.contender)
        facts = row_facts(job, Condition(), job.cell.probe.name, np.array([], dtype=str))
        facts |= self.backbone_facts(features) | {"loops": len(features.loops)}
        moved = displacements(varied.series, features, load_readout(self.folder(job)))
        return mechanism_rows(moved, job.cell.task, facts, self.config.resamples, self.config.seed)

    def scored(
        self, job: Job, condition: Condition, facts: Row, backbone: Row, test: ItemPredictions
    ) -> list[Row]:
        """Rows of one condition; plain ones are broken down by subgroup and enter the comparisons."""
        resamples, seed, task = self.config.resamples, self.config.seed, job.cell.task
        rows = score(Scored(task, facts | backbone, test), resamples, seed)
        if condition.plain:
            rows += subgroup_rows(test, self.harness.cohort, task, facts | backbone, resamples, seed)
            key = f"{job.cell.key} {condition.site}"
            self.harness.contests.add(key, task, facts, self.contender.name, test)
        return rows

    def readout(self, job: Job, folder: Path) -> Readout:
        """The trained probe of a folder, trained now where it is not there."""
        if not (folder / FACTS).is_file():
            cell = job.cell
            data = self.labelled(job, job.trained, job.look)
            data = data.separate() if cell.probe.fusion == "late" else data
            fitted = fit_probe(data, cell.task, cell.probe, self.config, cell.seed + self.config.seed)
            facts = about(cell, job.wanted.classes) | {"grid": data.features.grid}
            save_fitted(folder, fitted, facts | self.backbone_facts(data.features))
        return load_readout(folder)

    def predict(self, job: Job, condition: Condition, readout: Readout, file: Path) -> None:
        """Write predictions of a condition's test samples; undamaged and whole, of the training ones too."""
        cell = job.cell
        look = replace(job.look, perturbation=condition.perturbation, severity=condition.severity)
        chosen = job.under(condition)
        if condition.site == cell.trained_on and condition.plain:
            chosen = chosen | job.trained | job.calibrating
        data = self.labelled(job, chosen, look).shown(condition.views)
        data = data.separate() if cell.probe.fusion == "late" else data
        everything = torch.arange(len(data.truth))
        made = average(readout.outputs(data, everything), data, everything, cell.task)
        facts = {"backbone": self.backbone_facts(data.features)}
        write_predictions(file, made, cell, condition, facts, job.wanted.classes)

    def labelled(self, job: Job, chosen: NDArray[np.bool_], look: Look) -> Labelled:
        """Samples with their features."""
        wanted = job.wanted.of(chosen)
        features = self.extraction.features(self.contender, look, wanted.pairs())
        return attach(wanted, features, job.cell.task)

    def backbone_facts(self, features: Features) -> dict[str, Any]:
        """Columns of a row that tell of the backbone."""
        _, tokens, width = features.tokens.shape
        return {
            "backbone": self.contender.name, "weights": self.contender.weights[:12],
            "parameters": self.contender.parameters, "tokens": tokens, "embed_dim": width,
        }  # fmt: skip

    def folder(self, job: Job) -> Path:
        """Where a trained probe stands: named by what it is, and by a checksum of all that it depends on."""
        if self.trained:
            return self.trained
        cell, config = job.cell, self.config
        depends = [
            cell.key,
            self.contender.weights,
            self.extraction.fingerprints,
            labels_digest(job.wanted.of(job.trained)),
            (config.learning_rates, config.weight_decays, config.epochs, config.batch_size, config.seed),
            (
                config.clips_per_loop,
                config.precision,
                config.engine,
                config.features_as,
                str(self.contender.spec),
            ),
        ]
        digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:10]
        where = f"{cell.trained_on}-" if cell.trained_on else ""
        name = f"{cell.probe.name}-{where}{cell.fraction:g}-{cell.seed}"
        return (
            config.out
            / "probes"
            / slug(cell.task.name)
            / slug(self.contender.name)
            / f"{slug(name)}-{digest}"
        )

    def extent(self, job: Job) -> str:
        """What predictions depend on beside the probe: which test samples, and their labels."""
        return labels_digest(job.wanted.of(job.tested))

    def write_embeddings(self) -> None:
        """Pooled features of undamaged test loops (first clip of each), for maps."""
        pairs = sorted(
            {pair for job in self.jobs for pair in job.wanted.of(job.tested).pairs() if pair[1] == 0}
        )
        looks = {job.look for job in self.jobs if not job.cell.task.slots}
        if not looks:
            return
        known = self.harness.needs([job for job in self.jobs if not job.cell.task.slots])[min(looks)]
        pairs = [pair for pair in pairs if pair in known]
        features = self.extraction.features(self.contender, min(looks), pairs)
        loops = [self.harness.cohort.loops[number] for number in features.loops]
        columns = {name: [loop[name] for loop in loops] for name in ("loop_id", "patient_id", "view")}
        path = self.config.out / "embeddings" / f"{slug(self.contender.name)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        name = [self.contender.name] * len(loops)
        replace_parquet(
            path, pa.table(columns | {"backbone": name, "embedding": list(features.pooled.numpy())})
        )
