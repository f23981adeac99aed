"""Fine-tuning from the command line: one cell, its frozen start, its training and its scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echojepa.backbones.loading import load_backbone
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import FinetuneConfig, HarnessConfig
from echojepa.errors import UserError
from echojepa.evaluation.cells import BackboneRun, frozen_start
from echojepa.evaluation.features.backbones import measured, read_trainable
from echojepa.evaluation.features.cache import weights_digest
from echojepa.evaluation.features.extraction import Extraction, check_all_fits
from echojepa.evaluation.finetuning.clips import SampleClips, outputs_of
from echojepa.evaluation.finetuning.training import RECORD, name_of, note_of, tune
from echojepa.evaluation.probes.heads import HeadProbe, Readout
from echojepa.evaluation.probes.predictions import ItemPredictions, average
from echojepa.evaluation.probes.stored import (
    FACTS,
    load_readout,
    predictions_file,
    read_predictions,
    was_settled,
    write_predictions,
)
from echojepa.evaluation.progress import Progress
from echojepa.evaluation.protocol.cells import Job, labels_digest, row_facts, without_features
from echojepa.evaluation.protocol.cohort import Cohort, read_cohort
from echojepa.evaluation.protocol.plans import PROBES, Cell, Condition
from echojepa.evaluation.protocol.samples import training_samples, want
from echojepa.evaluation.results import RESULTS, Scored, only_test, score, write_results
from echojepa.tasks import find_task
from echojepa.vocabulary import Split

FINETUNED = PROBES["fine-tuned"]
"""An attentive head whose encoder was trained with it."""


def load_finetuned(folder: Path) -> tuple[VideoTransformer, HeadProbe]:
    """Encoder and head of a finished fine-tuning, strictly; UserError for a folder of anything else."""
    if not ((folder / FACTS).is_file() and (folder / RECORD).is_file()):
        raise UserError(f"{folder} holds no finished fine-tuning; run `echojepa finetune` first")
    readout = load_readout(folder)
    assert isinstance(readout, HeadProbe)
    return VideoTransformer.from_pretrained(folder), readout


def job_of(cohort: Cohort, config: FinetuneConfig) -> Job:
    """The cell that the command's settings mean, with its samples; UserError for an unknown site."""
    task, sites = find_task(config.task), cohort.sites()
    if config.site and config.site not in sites:
        raise UserError(f"unknown site '{config.site}'; this data has {list(sites)}")
    wanted = want(cohort, task, config.clips_per_loop)
    tested = np.asarray(wanted.splits == Split.TEST)
    known = [site for site in sites if (tested & (wanted.sites == site)).any()]
    conditions = tuple(Condition(site) for site in known) if config.site else (Condition(),)
    cell = Cell(task, FINETUNED, config.site, config.fraction, config.seed, conditions)
    trained = training_samples(wanted, task, config.site, config.fraction, config.seed)
    return Job(cell, wanted, trained, np.zeros_like(tested), tested, config.clips_per_loop)


def frozen_probe(config: FinetuneConfig, cohort: Cohort, job: Job, progress: Progress) -> Readout:
    """The frozen encoder's probe that the head starts as, made under OUT/frozen where it is not there.

    CacheError where features do not fit.
    """
    settings = HarnessConfig(
        data=config.data, out=config.out / "frozen", backbones=(config.backbone,),
        clips_per_loop=config.clips_per_loop, cache=config.cache, cache_gb=config.cache_gb,
    )  # fmt: skip
    make = partial(load_backbone, config.backbone, precision=settings.precision, engine=settings.engine)
    contender = measured(make, make(), config.backbone, settings, trainable=True)
    frozen = BackboneRun(contender, [frozen_start(job)], Extraction(cohort, settings))
    check_all_fits(frozen.bytes_needed(), settings)
    return frozen.frozen_probe(job, progress)


def finetune(config: FinetuneConfig, progress: Progress) -> list[dict[str, Any]]:
    """Train encoder and head, predict, and score test patients; writes and returns `results.parquet`'s rows.

    What is there of an earlier, stopped run is not made again. Raises as `tune`, `want` and `read_cohort`.
    """
    cohort = read_cohort(config.data)
    job, weights = job_of(cohort, config), read_trainable(config.backbone)
    head = partial(frozen_probe, config, cohort, job, progress)
    tune(config.out, weights, head, job, cohort, config, config.seed, progress)
    backbone, readout = load_finetuned(config.out)
    facts = {
        "backbone": name_of(weights), "weights": weights_digest(backbone)[:12],
        "parameters": backbone.parameters, "tokens": int(np.prod(backbone.encoder.grid)),
        "embed_dim": backbone.embed_dim,
        "settled": was_settled(config.out),
    }  # fmt: skip
    rows = []
    for condition in job.cell.conditions:
        file = predictions_file(config.out, condition, labels_digest(job.wanted.of(job.tested)))
        if not file.is_file():
            chosen = job.under(condition)
            if condition.site == job.cell.trained_on:
                chosen = chosen | job.trained
            made = predict(backbone, readout, cohort, job, chosen, config)
            write_predictions(file, made, job.cell, condition, {"backbone": facts}, job.wanted.classes)
        test = only_test(read_predictions(file)[0])
        whole = row_facts(job, condition, job.cell.probe.name, test.items) | facts
        whole["note"] = note_of(config.out)
        rows += score(Scored(job.cell.task, whole, test), config.resamples, config.seed)
    return write_results(config.out / RESULTS, rows).to_pylist()


def predict(
    backbone: VideoTransformer,
    readout: HeadProbe,
    cohort: Cohort,
    job: Job,
    chosen: NDArray[np.bool_],
    config: FinetuneConfig,
) -> ItemPredictions:
    """Predictions of a fine-tuned encoder and its head for chosen samples (n,) bool."""
    each = job.look.clips_per_loop
    dataset = SampleClips(cohort, job.wanted, backbone.spec, each, config.crop, config.seed)
    samples = torch.from_numpy(np.flatnonzero(chosen))
    outputs = outputs_of(lambda clips: backbone(clips).tokens, readout.model, dataset, samples, config)
    return average(outputs, without_features(job.wanted, job.cell.task), samples, job.cell.task)
