"""Make a model's folder from a backbone and the results of an evaluation that probed it.

Settings, data sets and seeds are those of the results' own `config.json`. Intervals come from the half of the
validation patients that chose nothing (`--calibrated`); thresholds from all validation patients.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.answer.model import (
    TRAINING,
    EncoderPart,
    ModelCard,
    ProbePart,
    TrainingPart,
    ValuePart,
    ViewPart,
)
from echojepa.answer.quality import RESTING_RATE, Thresholds, quality_of
from echojepa.answer.values import NOTICE
from echojepa.backbones.loading import load_backbone
from echojepa.config import AssembleConfig, IngestConfig, PlanConfig
from echojepa.data.store.encoding import Encoding
from echojepa.errors import UserError
from echojepa.evaluation.features.backbones import ComparedBackbone, measured
from echojepa.evaluation.features.extraction import Extraction
from echojepa.evaluation.features.likeness import Likeness, fit_likeness
from echojepa.evaluation.probes.predictions import Predictions, error_of
from echojepa.evaluation.probes.stored import CARD, TENSORS, StoredProbe, find_probes, slug
from echojepa.evaluation.protocol.cells import Presentation
from echojepa.evaluation.protocol.cohort import Cohort, read_cohort, synthetic_share
from echojepa.evaluation.protocol.loops import CohortLoop
from echojepa.evaluation.protocol.plans import Condition
from echojepa.evaluation.results import read_settings
from echojepa.evaluation.scoring import calibrated_on
from echojepa.evaluation.statistics.conformal import Conformal, calibrates
from echojepa.evaluation.statistics.sharpening import fit_sharpness, sharpened
from echojepa.files.durable import replace_folder
from echojepa.files.records import write_record
from echojepa.progress import Progress
from echojepa.shipped.by_name import ENCODER, MODEL
from echojepa.tasks import VIEW, Task, find_task
from echojepa.version import __version__
from echojepa.vocabulary import Split
from echojepa.weights.folder import CARD as WEIGHTS_CARD
from echojepa.weights.folder import load_weights, save_weights
from echojepa.weights.tensors import file_sha256, save_tensors

NEARER, RIGHT = 0.98, 0.95
"""Share of validation loops within the threshold of distance, of right views above that of probability."""
Place = tuple[int, int]
"""Number of the data set and row of its table."""


def assemble(config: AssembleConfig, progress: Progress) -> ModelCard:
    """Write `config.out` whole or not at all, and return its card.

    UserError where the results hold no probe of the backbone for any task, and where something is there.
    """
    if config.out.exists():
        raise UserError(f"{config.out} already exists; give a new folder")
    settings = read_settings(config.results)
    cohort = cohort_of(settings)
    make = partial(load_backbone, config.backbone, precision=settings.precision, engine=settings.engine)
    backbone = measured(make, config.backbone)
    temporary = config.out.with_name(f".{config.out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        card = fill(temporary, config, settings, cohort, backbone, progress)
        write_record(temporary / MODEL, card)
        replace_folder(temporary, config.out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card


def fill(
    folder: Path,
    config: AssembleConfig,
    settings: PlanConfig,
    cohort: Cohort,
    backbone: ComparedBackbone,
    progress: Progress,
) -> ModelCard:
    """Write every part but the card."""
    tasks = [find_task(name) for name in config.tasks]
    values = [
        part
        for task in tasks
        if not task.classes and (part := value_part(folder, config, settings, backbone, task))
    ]
    if not values:
        raise UserError(
            f"{config.results} has no probe of the kinds {list(config.probes)} on {config.backbone} for "
            f"{', '.join(config.tasks)}; run: echojepa probe --calibrated --tasks "
            f"{' '.join(config.tasks)} --probes {' '.join(repr(kind) for kind in config.probes)}"
        )
    view, least = view_part(folder, config, backbone) if VIEW in tasks else (None, 2.0)
    pooled, loops = pooled_features(settings, cohort, backbone, config.results, progress)
    likeness, thresholds = learned_of(cohort, loops, pooled, least)
    save_tensors(folder / TRAINING, likeness.tensors())
    rows = [
        row for store in cohort.stores for row in store.metadata(["height", "width", "encoding"]).to_pylist()
    ]
    trained = [loop for loop in loops.values() if loop.split == Split.TRAIN]
    shares = {synthetic_share(store) for store in cohort.stores}
    return ModelCard(
        name=config.name or config.out.name,
        notice=NOTICE,
        encoder=encoder_part(folder, config.backbone, backbone, settings),
        tasks=tuple(values),
        view=view,
        thresholds=thresholds,
        training=TrainingPart(
            fingerprints=tuple(cohort.fingerprints),
            sites=tuple(sorted({loop.site for loop in trained})),
            patients=len({loop.patient_id for loop in trained}),
            loops=len(trained),
            views=likeness.views,
            synthetic=shares.pop() if len(shares) == 1 else "some",
            statistics_sha256=file_sha256(folder / TRAINING),
        ),
        clips_per_loop=settings.clips_per_loop,
        features_as=settings.features_as,
        max_side=max(IngestConfig.max_side, *(max(row["height"], row["width"]) for row in rows)),
        lossless=all(row["encoding"] == Encoding.PNG for row in rows),
        version=__version__,
    )


def cohort_of(settings: PlanConfig) -> Cohort:
    """The adult loops that probes were trained on, chosen by and tested on."""
    cohort = read_cohort(settings.data)
    sites = {*(settings.sites or cohort.sites())} - {settings.children}
    return cohort.at(sites)


def encoder_part(folder: Path, source: str, backbone: ComparedBackbone, settings: PlanConfig) -> EncoderPart:
    """Copy an encoder of our layout, without its predictor; of others note where they lie."""
    where = str(Path(source).resolve())
    if (Path(source) / WEIGHTS_CARD).is_file():
        weights = load_weights(Path(source))
        save_weights(folder / ENCODER, replace(weights, predictor_shape=None, predictor={}))
        where = ENCODER
    elif not Path(source).exists():
        raise UserError(f"'{source}' is only a name; give a backbone whose weights are on disk")
    return EncoderPart(
        backbone.name, where, backbone.weights, backbone.spec, settings.precision, settings.engine
    )


def stored_probe(
    config: AssembleConfig, task: Task, backbone: ComparedBackbone, calibrated: bool
) -> StoredProbe | None:
    """The probe of a task on this very backbone, whatever tables call it, of the kind that erred least on
    the validation patients who choose; None where there is none."""
    kinds = (find_probes(config.results, task.name, kind, calibrated=calibrated) for kind in config.probes)
    found = [one for kind in kinds for one in kind.values() if one.card().weights == backbone.weights[:12]]
    return min(found, key=lambda one: error_of_judges(one, task), default=None)


def error_of_judges(stored: StoredProbe, task: Task) -> float:
    """What validation patients chose a probe by; those who calibrate its intervals choose nothing."""
    made, card = predictions_of(stored), stored.card()
    judges = made.within(Split.VAL)
    if card.calibrated:
        judges = judges[~calibrates(made.patients[judges], card.seed)]
    return error_of(made.select(judges), task.kind)


def copied(stored: StoredProbe, folder: Path, task: Task) -> ProbePart:
    """Copy a probe's card and tensors."""
    name = f"probes/{slug(task.name)}"
    (folder / name).mkdir(parents=True)
    for file in (CARD, TENSORS):
        shutil.copyfile(stored.folder / file, folder / name / file)
    return ProbePart(name, file_sha256(folder / name / TENSORS), stored.card().probe)


def predictions_of(stored: StoredProbe) -> Predictions:
    """A probe's predictions of whole studies or loops as they are; UserError where they were not kept."""
    made = stored.predictions(Condition())
    if made is None:
        raise UserError(f"{stored.folder} has no predictions for unperturbed clips; run the evaluation again")
    return made


def value_part(
    folder: Path, config: AssembleConfig, settings: PlanConfig, backbone: ComparedBackbone, task: Task
) -> ValuePart | None:
    """A task's probe with its intervals, the calibrated one where there is one; None where there is none."""
    if task.level != "study":
        raise UserError(
            f"task {task.name} is for single loops; a model needs tasks for studies. Leave it out of --tasks"
        )
    with_intervals = stored_probe(config, task, backbone, calibrated=True)
    stored = with_intervals or stored_probe(config, task, backbone, calibrated=False)
    if stored is None:
        return None
    made = predictions_of(stored)
    test = made.of_test()
    return ValuePart(
        task,
        copied(stored, folder, task),
        intervals_of(made, stored, task, settings.seed) if with_intervals else None,
        float(np.abs(test.values - test.truth).mean()),
        len(set(test.patients.tolist())),
    )


def intervals_of(made: Predictions, stored: StoredProbe, task: Task, seed: int) -> Conformal:
    """Intervals by the validation patients that chose nothing; cells of infinite ones are left out."""
    held = (made.splits == Split.VAL) & calibrates(made.patients, stored.card().seed)
    groups = np.full(len(made.items), "study")
    intervals = calibrated_on(made, np.unique(made.patients[held]), groups, task, seed)
    kept = {cell: half for cell, half in intervals.half_widths.items() if np.isfinite(half)}
    return replace(intervals, half_widths=kept)


def view_part(
    folder: Path, config: AssembleConfig, backbone: ComparedBackbone
) -> tuple[ViewPart | None, float]:
    """The probe of views, and the probability from which on it is believed."""
    stored = stored_probe(config, VIEW, backbone, calibrated=False)
    if stored is None:
        return None, 2.0
    made = predictions_of(stored)
    test, val = made.of_test(), made.select(made.within(Split.VAL))
    right, patients = test.values.argmax(1) == test.truth, len(set(test.patients.tolist()))
    sharpness = fit_sharpness(val.values, val.truth)
    part = ViewPart(made.classes, copied(stored, folder, VIEW), float(right.mean()), patients, sharpness)
    return part, least_probability(sharpened(val.values, sharpness), val.truth)


def least_probability(probabilities: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """The least probability from which on 95 % of the likeliest classes are right, at least; 2 for none."""
    highest, right = probabilities.max(1), probabilities.argmax(1) == truth
    for least in np.unique(highest):
        if right[highest >= least].mean() >= RIGHT:
            return float(least)
    return 2.0


def pooled_features(
    settings: PlanConfig, cohort: Cohort, backbone: ComparedBackbone, results: Path, progress: Progress
) -> tuple[Tensor, dict[Place, CohortLoop]]:
    """The mean vector (n, E) of the clips of each training and validation loop, and the n loops."""
    loops = {place: loop for place, loop in cohort.loops.items() if loop.split in (Split.TRAIN, Split.VAL)}
    shown = Presentation(settings.clips_per_loop)
    clips = {(*place, clip) for place in loops for clip in range(settings.clips_per_loop)}
    extraction = Extraction(cohort, backbone, settings, settings.cache or results / "features")
    extraction.fill({shown: clips}, progress)
    features = extraction.features(shown, clips)
    places = list(loops)
    number = {place: n for n, place in enumerate(places)}
    owner = torch.tensor([number[store, row] for store, row, _ in features.clips.tolist()])
    total = torch.zeros(len(places), features.pooled.shape[1]).index_add_(0, owner, features.pooled)
    return total / settings.clips_per_loop, loops


def learned_of(
    cohort: Cohort, loops: dict[Place, CohortLoop], pooled: Tensor, least_view_probability: float
) -> tuple[Likeness, Thresholds]:
    """Statistics of training loops, and thresholds by validation loops, with features (n, E)."""
    train = np.array([loop.split == Split.TRAIN for loop in loops.values()])
    views = [loop.view for loop in loops.values() if loop.split == Split.TRAIN]
    likeness = fit_likeness(pooled[train], views)
    judges = [place for place, loop in loops.items() if loop.split == Split.VAL]
    rates = [store.metadata(["heart_rate"])["heart_rate"].to_pylist() for store in cohort.stores]
    stated = [rate for place in loops if (rate := rates[place[0]][place[1]]) is not None]
    heart_rate = float(np.median(stated)) if stated else RESTING_RATE
    distances = likeness.distances(pooled[~train]).tolist()
    seen = [
        quality_of(cohort.stores[store].loop(row), rates[store][row], heart_rate, distance)
        for (store, row), distance in zip(judges, distances, strict=True)
    ]
    return likeness, Thresholds(
        least_beats=min(1.0, min(quality.beats for quality in seen)),
        most_distance=float(np.quantile(distances, NEARER, method="higher")),
        least_view_probability=least_view_probability,
        heart_rate=heart_rate,
        brightness=middle([quality.brightness for quality in seen]),
        frame_rate=middle([quality.frame_rate for quality in seen]),
        patients=len({loops[place].patient_id for place in judges}),
        loops=len(judges),
    )


def middle(values: Sequence[float]) -> tuple[float, float]:
    """What the middle 90 % of values have."""
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)
