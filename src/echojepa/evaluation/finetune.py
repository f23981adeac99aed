"""`echojepa finetune`: a plan of one cell, whose folder is the fine-tuned encoder's own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from echojepa.backbones.loading import RANDOM, load_backbone
from echojepa.config import FinetuneConfig
from echojepa.errors import UserError
from echojepa.evaluation.cells import BackboneCells, FineTuned
from echojepa.evaluation.features.backbones import measured, random_start
from echojepa.evaluation.features.cache import check_room
from echojepa.evaluation.features.extraction import Extraction
from echojepa.evaluation.protocol.cells import CellSamples, cell_samples
from echojepa.evaluation.protocol.cohort import Cohort, read_cohort
from echojepa.evaluation.protocol.plans import PROBES, Cell, Condition
from echojepa.evaluation.protocol.samples import task_samples
from echojepa.evaluation.results import RESULTS, ResultRow, write_results
from echojepa.evaluation.scoring import cell_rows
from echojepa.progress import Progress
from echojepa.tasks import find_task
from echojepa.vocabulary import Split


def finetuned_cell(cohort: Cohort, config: FinetuneConfig) -> CellSamples:
    """The cell that the command's settings mean, with its samples; UserError for an unknown site."""
    task, sites = find_task(config.task), cohort.sites()
    if config.site and config.site not in sites:
        raise UserError(f"unknown site '{config.site}'; this data has {list(sites)}")
    samples = task_samples(cohort, task, config.clips_per_loop)
    tested = set(samples.sites[samples.splits == Split.TEST].tolist())
    known = [site for site in sites if site in tested] if config.site else [""]
    conditions = tuple(Condition(site) for site in known)
    cell = Cell(task, PROBES["fine-tuned"], config.site, config.fraction, config.seed, conditions)
    return cell_samples(cell, samples, cohort, config.clips_per_loop)


def finetune(config: FinetuneConfig, progress: Progress) -> list[ResultRow]:
    """Train encoder and head, predict, and score test patients; writes and returns `results.parquet`'s rows.

    The frozen encoder's probe, which the head starts as, is under OUT/frozen. What is there of an earlier,
    stopped run is not made again. Raises as `finetune_encoder`, `task_samples` and `read_cohort`.
    """
    cohort, frozen, name = read_cohort(config.data), config.frozen, config.backbone
    assert frozen.cache is not None
    start = partial(random_start, name.removeprefix(RANDOM))
    backbone = measured(start if name.startswith(RANDOM) else partial(load_backbone, name), name)
    cell, extraction = finetuned_cell(cohort, config), Extraction(cohort, backbone, frozen, frozen.cache)
    finetuned = FineTuned(config, replace(frozen, features_as="float32"), config.out)
    cells = BackboneCells([cell], extraction, finetuned, config.out / "frozen")
    check_room(frozen.cache, cells.bytes_needed(), frozen.cache_gb)
    rows, _ = cell_rows(cells.predictions(cell, progress), cohort, config.resamples, config.seed)
    write_results(config.out / RESULTS, rows)
    return rows
