"""A tiny model, assembled once by the real functions, and studies of the shared archive to ask it about."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import weights_of
from identifiers import PlantedStudy, plant

from echojepa.answer.assemble import assemble
from echojepa.answer.model import Model, load_model
from echojepa.answer.predict import predict
from echojepa.answer.values import StudyAnswer
from echojepa.answer.writing.attention import attention_films
from echojepa.answer.writing.films import films_of, write_attention, write_films
from echojepa.answer.writing.output import write_answer
from echojepa.config import Architecture, AssembleConfig, InputSpec, ProbeConfig
from echojepa.config.commands import save_config
from echojepa.data.store.loop_store import LoopStore
from echojepa.evaluation import scoring
from echojepa.evaluation.protocol.plans import Plan, PlanBlock
from echojepa.evaluation.run import PlanRun
from echojepa.evaluation.statistics.conformal import calibrates
from echojepa.models.vit import VisionTransformer
from echojepa.progress import quiet
from echojepa.tasks import LVEF, VIEW
from echojepa.weights.folder import Origin, save_weights

from ..conftest import made_once

ALPHA = 0.25
"""Of the tiny model: three calibration patients make an interval, twenty patients have that many."""
SPEC = InputSpec(size=32, frames=4, seconds=0.2)


@dataclass(frozen=True)
class Made:
    """What was assembled, and of what. Tests do not write there."""

    model: Path
    results: Path
    dataset: Path
    run: Path
    tested: Path
    """Folder of a test patient's files."""


@pytest.fixture(scope="session")
def made(cohort: Path, archive: Path, dataset: Path) -> Made:
    root = made_once(cohort, "model", partial(assembled, dataset))
    tested = (root / "tested").read_text()
    found = [p for p in archive.iterdir() if p.name == f"P{tested:0>5}"]
    return Made(root / "tiny", root / "results", root / "dataset", root / "run", found[0] / "S0")


def assembled(dataset: Path, root: Path) -> None:
    """Make all of it but the archive's own."""
    shutil.copytree(dataset, root / "dataset")
    (root / "tested").write_text(str(spread(LoopStore.open(root / "dataset"))))
    architecture = Architecture("nano", patch=8)
    encoder = VisionTransformer(architecture, SPEC, torch.Generator().manual_seed(0))
    save_weights(root / "run", weights_of(encoder, architecture, SPEC, Origin("jepa")))
    settings = ProbeConfig(
        data=(root / "dataset",), out=root / "results", backbones=(str(root / "run"),), epochs=1,
        min_steps=1, resamples=2, learning_rates=(1e-3,), weight_decays=(0.01,), tasks=("lvef", "view"),
        probes=("attentive",), calibrated=True, workers=1,
    )  # fmt: skip
    blocks = PlanBlock((LVEF,), settings.probes, calibrated=True), PlanBlock((VIEW,), settings.probes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "ALPHA", ALPHA)
        PlanRun(Plan("probe", blocks), settings).run(quiet)
        save_config(settings)
        assemble(AssembleConfig(root / "results", str(root / "run"), root / "tiny"), quiet)


def spread(store: LoopStore) -> int:
    """Put most patients into validation, so that some calibrate; the ordinal of a test patient."""
    rows = {r["patient_id"]: r["patient_ordinal"] for r in store.metadata().to_pylist()}
    patients = sorted(rows)
    coins = dict(zip(patients, calibrates(np.array(patients, dtype=str), 0).tolist(), strict=True))
    ranked = sorted(patients, key=lambda name: coins[name])  # those that would calibrate last
    splits = dict.fromkeys(ranked[:4], "train") | dict.fromkeys(ranked[4:], "val") | {ranked[5]: "test"}
    store.move(splits)
    return rows[ranked[5]]


@pytest.fixture(scope="session")
def strict(made: Made) -> Model:
    """The model as assembled."""
    return load_model(made.model)


@pytest.fixture(scope="session")
def model(strict: Model) -> Model:
    """The same, which takes any loop: what tests of other things than thresholds ask."""
    free = replace(strict.card.thresholds, least_beats=0.0, most_distance=1e9, least_view_probability=0.0)
    return replace(strict, card=replace(strict.card, thresholds=free))


@pytest.fixture(scope="session")
def answered(made: Made, model: Model) -> StudyAnswer:
    """The test patient's answer."""
    (answer,) = predict(made.tested, model, workers=1)
    return answer


@pytest.fixture(scope="session")
def planted(made: Made, tmp_path_factory: pytest.TempPathFactory) -> PlantedStudy:
    """The test patient's study with identifiers wherever one may stand. Tests do not write here."""
    return plant(made.tested, tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def written(answered: StudyAnswer, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That answer, written with all that may be written. Tests do not write here."""
    folder = tmp_path_factory.mktemp("written") / "1"
    films = films_of(answered)
    write_answer(answered, folder, dicom=True, films=films)
    write_films(films, folder)
    write_attention(*attention_films(answered, model), folder)
    return folder


@pytest.fixture
def ask(model: Model) -> Callable[..., tuple[StudyAnswer, ...]]:
    """Predict with the model that takes any loop, or another."""
    return lambda *studies, of=model: predict(list(studies), of, workers=1)
