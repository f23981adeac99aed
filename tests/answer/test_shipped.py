"""Claims about the model that comes with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from echojepa.answer.model import Model, load_model
from echojepa.answer.predict import predict
from echojepa.backbones.loading import load_backbone
from echojepa.config import PredictConfig
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.errors import UserError
from echojepa.phantom.cohort.loops import one_loop
from echojepa.shipped.by_name import FOLDER
from echojepa.vocabulary import View

NAME = "shipped:small"


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model(NAME)


def test_it_is_small_says_that_its_hearts_were_synthetic_and_is_the_default(shipped: Model) -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 25e6
    assert shipped.card.training.synthetic == "all" and "esearch" in shipped.card.notice
    assert {part.task.name for part in shipped.card.tasks} == {"lvef", "rvsp"} and shipped.view is not None
    assert PredictConfig((Path("study"),), Path("out")).model == Path(NAME)


def test_its_encoder_is_a_backbone_by_the_same_name_and_has_a_random_start(shipped: Model) -> None:
    clip = torch.randint(0, 256, (1, 3, 16, 48, 48), dtype=torch.uint8)
    backbone = load_backbone(NAME)
    torch.testing.assert_close(backbone(clip).tokens, shipped.backbone(clip).tokens)
    assert not torch.equal(backbone.random_start()(clip).tokens, backbone(clip).tokens)


def test_a_name_of_no_model_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match=NAME):
        load_model("shipped:huge")
    with pytest.raises(UserError, match=NAME):
        load_backbone("shipped:huge")


def test_it_answers_a_phantom_s_study_with_its_view_and_an_interval(tmp_path: Path) -> None:
    made = one_loop(View.A4C, 1.5, ordinal=3)
    write_cine(tmp_path / "loop.dcm", made.loop, patient_name="x", study_date="20260101")
    (answer,) = predict(tmp_path, NAME, workers=1)
    (loop,) = answer.loops
    task = answer.task("lvef")
    assert loop.likeliest_view == View.A4C and task.value is not None and task.interval is not None
    assert 0 < task.interval.high - task.interval.low < 60
    assert np.isfinite(task.value)
