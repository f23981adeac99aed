"""One backbone's part of a plan: its features, its probes, their predictions, their rows."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from echojepa.backbones.loading import load_backbone
from echojepa.config import HarnessConfig, TuningConfig
from echojepa.data.store import replace_parquet
from echojepa.evaluation.features.backbones import Contender, read_trainable
from echojepa.evaluation.features.cache import weights_digest
from echojepa.evaluation.features.extraction import Extraction, Look, Pair
from echojepa.evaluation.features.tokens import Features
from echojepa.evaluation.finetuning.training import note_of, tune
from echojepa.evaluation.mechanism import displacements, mechanism_rows
from echojepa.evaluation.probes.heads import Readout, fit_probe
from echojepa.evaluation.probes.predictions import ItemPredictions, average
from echojepa.evaluation.probes.stored import (
    FACTS,
    about,
    load_readout,
    predictions_file,
    read_predictions,
    save_fitted,
    slug,
    was_settled,
    write_predictions,
)
from echojepa.evaluation.progress import Progress
from echojepa.evaluation.protocol.cells import Job, labels_digest, row_facts
from echojepa.evaluation.protocol.plans import PROBES, Condition
from echojepa.evaluation.protocol.samples import Labelled, attach
from echojepa.evaluation.results import Row, Scored, only_test, score
from echojepa.evaluation.scoring import conformal_rows, damage_rows, subgroup_rows, views_of
from echojepa.evaluation.varied import Varied


def needs_of(jobs: Sequence[Job]) -> dict[Look, set[Pair]]:
    """Every clip that jobs read."""
    found: dict[Look, set[Pair]] = defaultdict(set)
    for job in jobs:
        for look, pairs in job.needs().items():
            found[look] |= pairs
    return found


def tuning_of(config: HarnessConfig) -> TuningConfig:
    """How a plan fine-tunes."""
    return TuningConfig(
        epochs=config.finetune_epochs, lr=config.finetune_lr, clips_per_loop=config.clips_per_loop
    )


def frozen_start(job: Job) -> Job:
    """For a cell that is fine-tuned: the attentive probe of the frozen encoder that its head starts as."""
    return replace(job, cell=replace(job.cell, probe=PROBES["attentive"], conditions=()))


class BackboneRun:
    """All cells of one backbone."""

    def __init__(
        self,
        contender: Contender,
        jobs: Sequence[Job],
        extraction: Extraction,
        varied: Varied | None = None,
        trained: Path | None = None,
    ) -> None:
        self.contender, self.jobs, self.extraction, self.varied = contender, jobs, extraction, varied
        self.trained = trained
        """Where the probe already stands, for an encoder that was fine-tuned with it."""
        self.config, self.cohort = extraction.config, extraction.cohort
        self.plain: list[Scored] = []
        """Undamaged whole tests, for comparisons and for means over seeds."""

    def bytes_needed(self) -> int:
        """Size of all features that are missing; of encoders yet to be fine-tuned, of all that they see."""
        needed = self.extraction.bytes_needed(self.contender, needs_of(self.frozen))
        for job in (job for job in self.jobs if job.cell.probe.finetuned):
            if not (self.folder(job) / FACTS).is_file():
                unknown = replace(self.contender, weights="not yet trained")
                needed += self.extraction.bytes_needed(unknown, job.needs())
        return needed + (self.varied.bytes_needed(self.contender) if self.varied else 0)

    @property
    def frozen(self) -> list[Job]:
        """Jobs that read this backbone's own features: those of frozen probes, and what fine-tuning starts
        from."""
        return [frozen_start(job) if job.cell.probe.finetuned else job for job in self.jobs]

    def run(self, progress: Progress) -> list[Row]:
        """Features, probes, predictions, rows."""
        self.extraction.fill(self.contender, needs_of(self.frozen), progress)
        if self.varied:
            self.varied.fill(self.contender, progress)
        rows = []
        for number, job in enumerate(self.jobs):
            note = f"{self.contender.name}: {job.cell.probe.name}, {job.cell.task.name}"
            progress(number, len(self.jobs), note)
            if job.cell.probe.finetuned:
                rows += self.tuned(job, progress)
                continue
            rows += self.run_job(job)
            if self.varied:
                rows += self.mechanism(job, self.varied)
        progress(len(self.jobs), len(self.jobs), self.contender.name)
        self.write_embeddings()
        return rows

    def tuned(self, job: Job, progress: Progress) -> list[Row]:
        """One cell whose encoder is trained: a backbone of its own, with its head beside it."""
        folder, config = self.folder(job), self.config
        weights, head = read_trainable(self.contender.source), partial(self.frozen_probe, job, progress)
        seed = job.cell.seed + config.seed
        tune(folder, weights, head, job, self.cohort, tuning_of(config), seed, progress)
        make = partial(load_backbone, folder, precision=config.precision, engine=config.engine)
        backbone = make()
        contender = replace(self.contender, make=make, weights=weights_digest(backbone), spec=backbone.spec)
        self.extraction.fill(contender, job.needs(), progress)
        run = BackboneRun(contender, [job], self.extraction, trained=folder)
        rows = run.run_job(job)
        self.plain += run.plain
        return rows

    def frozen_probe(self, job: Job, progress: Progress) -> Readout:
        """What a fine-tuning's head starts as, trained now where it is not there."""
        start = frozen_start(job)
        self.extraction.fill(self.contender, start.needs(), progress)
        return self.readout(start, self.folder(start))

    def run_job(self, job: Job) -> list[Row]:
        """One cell: train it or read it, predict what was not predicted, score."""
        folder = self.folder(job)
        readout: Readout | None = None
        undamaged: dict[str, ItemPredictions] = {}
        rows = []
        possible = [condition for condition in job.cell.conditions if job.under(condition).any()]
        for condition in sorted(possible):  # some views may be in no test study at all; undamaged comes first
            file = predictions_file(folder, condition, self.extent(job))
            if not file.is_file():
                readout = readout or self.readout(job, folder)
                self.predict(job, condition, readout, file)
            made, made_by = read_predictions(file)
            test = only_test(made)
            facts = row_facts(job, condition, job.cell.probe.name, test.items) | made_by["backbone"]
            facts["settled"] = was_settled(folder)
            if self.trained:
                facts["note"] = "; ".join(filter(None, [facts["note"], note_of(folder)]))
            if job.cell.calibrated:
                rows += self.intervals(job, made, facts)
                continue
            scored = Scored(job.cell.task, facts, test)
            rows += self.scored(scored, condition)
            if condition.plain:
                undamaged[condition.site] = test
            if condition.perturbation:
                whole = undamaged[condition.site]
                rows += damage_rows(scored, whole, self.config.resamples, self.config.seed)
        return rows

    def intervals(self, job: Job, made: ItemPredictions, facts: Row) -> list[Row]:
        """What prediction intervals are worth that this cell's set-aside patients calibrate."""
        names = np.unique(job.wanted.patients[job.calibrating])
        groups = views_of(self.cohort, job.cell.task, made.items)
        return conformal_rows(made, names, groups, job.cell.task, facts, self.config.seed)

    def mechanism(self, job: Job, varied: Varied) -> list[Row]:
        """What moves this cell's probe and the features below it."""
        features = varied.features(self.contender)
        facts = row_facts(job, Condition(), job.cell.probe.name, np.array([], dtype=str))
        facts |= self.backbone_facts(features) | {"loops": len(features.loops)}
        facts["settled"] = was_settled(self.folder(job))
        moved = displacements(varied.series, features, load_readout(self.folder(job)))
        return mechanism_rows(moved, job.cell.task, facts, self.config.resamples, self.config.seed)

    def scored(self, scored: Scored, condition: Condition) -> list[Row]:
        """Rows of one condition; plain ones are broken down by subgroup and enter the comparisons."""
        resamples, seed = self.config.resamples, self.config.seed
        rows = score(scored, resamples, seed)
        if condition.plain:
            rows += subgroup_rows(scored.test, self.cohort, scored.task, scored.facts, resamples, seed)
            self.plain.append(scored)
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
            (config.learning_rates, config.weight_decays),
            (config.epochs, config.min_steps, config.batch_size, config.seed),
            (
                config.clips_per_loop,
                config.precision,
                config.engine,
                config.features_as,
                str(self.contender.spec),
            ),
        ]
        if cell.probe.finetuned:
            depends.append(asdict(tuning_of(config)))
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
        jobs = [job for job in self.frozen if job.cell.conditions and not job.cell.task.slots]
        if not jobs:
            return
        look = min(job.look for job in jobs)
        tested = {pair for job in jobs for pair in job.wanted.of(job.tested).pairs() if pair[1] == 0}
        pairs = sorted(tested & needs_of(jobs)[look])
        features = self.extraction.features(self.contender, look, pairs)
        loops = [self.cohort.loops[number] for number in features.loops]
        columns = {name: [loop[name] for loop in loops] for name in ("loop_id", "patient_id", "view")}
        path = self.config.out / "embeddings" / f"{slug(self.contender.name)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        name = [self.contender.name] * len(loops)
        replace_parquet(
            path, pa.table(columns | {"backbone": name, "embedding": list(features.pooled.numpy())})
        )
