"""The parts of an answer by themselves: distance, thresholds, weights, DICOMDIR, withheld pictures."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pydicom
import pytest
import torch
from pydicom.fileset import FileSet

from echojepa.answer.assemble import error_of_judges, least_probability
from echojepa.answer.gathering import gathered
from echojepa.answer.model import Model
from echojepa.answer.predict import answer_study
from echojepa.answer.study import stored_study
from echojepa.answer.tasks import slot_weights
from echojepa.answer.values import StudyAnswer
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import InputSpec
from echojepa.data.store.loop_store import LoopStore
from echojepa.evaluation.features.likeness import fit_likeness
from echojepa.evaluation.features.samples import SlotFeatures
from echojepa.evaluation.features.tokens import Features, Tokens
from echojepa.evaluation.probes.heads import HeadProbe
from echojepa.evaluation.probes.predictions import Predictions
from echojepa.evaluation.probes.ridge import RidgeProbe
from echojepa.evaluation.probes.stored import StoredProbe
from echojepa.evaluation.statistics.conformal import calibrates
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.models.vit import VisionTransformer
from echojepa.progress import quiet
from echojepa.tasks import LVEF

from .conftest import Made


def test_the_distance_is_one_in_the_training_set_and_grows_by_its_own_spread() -> None:
    """Against numpy: features of two views with a covariance of their own."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(5, 5))
    views = ["A4C"] * 2000 + ["PLAX"] * 2000
    means = np.repeat(rng.normal(0, 20, (2, 5)), 2000, axis=0)
    features = means + rng.normal(size=(4000, 5)) @ spread
    likeness = fit_likeness(torch.from_numpy(features), views)
    own = likeness.distances(torch.from_numpy(features))
    assert np.sqrt((own**2).mean()) == pytest.approx(1, abs=0.02)
    about = features - means
    inverse = np.linalg.inv(about.T @ about / len(about))
    far = means[0] + 3 * spread[0]
    expected = np.sqrt((far - features[:2000].mean(0)) @ inverse @ (far - features[:2000].mean(0)) / 5)
    assert likeness.distances(torch.from_numpy(far[None]))[0] == pytest.approx(
        expected, rel=0.05
    )  # it is shrunk


def test_a_probe_is_believed_from_where_it_is_right_in_95_of_100() -> None:
    high = np.linspace(0.5, 0.99, 100)
    probabilities = np.stack([high, 1 - high], axis=1)
    truth = np.where(np.arange(100) < 40, 1.0, 0.0)  # the forty least sure are wrong
    least = least_probability(probabilities, truth)
    chosen = high >= least
    assert (truth[chosen] == 0).mean() >= 0.95 > (truth[high >= high[chosen.argmax() - 1]] == 0).mean()
    assert least_probability(probabilities, np.ones(100)) > 1


def test_of_several_probes_those_who_choose_choose_and_not_those_who_calibrate() -> None:
    patients = np.array([f"p{n}" for n in range(40)])
    calibrate = calibrates(patients, 0)
    truth = np.full(40, 60.0)

    def errs(choosing: float, calibrating: float) -> StoredProbe:
        made = Predictions(
            items=patients, patients=patients, splits=np.full(40, "val"), sites=np.full(40, ""), truth=truth,
            classes=(), values=truth + np.where(calibrate, calibrating, choosing),
        )  # fmt: skip
        card = SimpleNamespace(calibrated=True, seed=0)
        return cast(StoredProbe, SimpleNamespace(card=lambda: card, predictions=lambda _: made))

    assert error_of_judges(errs(2.0, 9.0), LVEF) == pytest.approx(2.0)
    assert 0 < calibrate.sum() < 40


def encoder_of(model: Model) -> VisionTransformer:
    """The network of a model of ours."""
    assert isinstance(model.backbone, VideoTransformer)
    return model.backbone.encoder


def one_study(present: list[bool]) -> SlotFeatures:
    tokens = torch.randn(len(present), 8, 16, generator=torch.Generator().manual_seed(1))
    features = Features(Tokens.of(tokens), tokens.mean(1), (2, 2, 2), np.zeros((len(present), 3), int))
    places = np.array([[n if there else -1 for n, there in enumerate(present)]])
    return SlotFeatures(features=features, places=places, views=2)


def test_slots_weigh_what_the_probe_attends_to_and_absent_ones_nothing() -> None:
    shape = ProbeShape((2, 2, 2), 16, 1, views=2, clips=2, attention_heads=4)
    model = Probes(1, shape, Standardiser.identity(8, 16), Scale(), torch.Generator().manual_seed(0))
    data = one_study([True, True, False, False])
    weights = slot_weights(HeadProbe(model, 4), data)
    tokens, present = data.tokens(torch.arange(1))
    by_hand = model.attention(tokens, present)[0, 0].mean(0).view(4, 8).sum(1).detach().numpy()
    np.testing.assert_allclose(weights, by_hand, rtol=1e-5)
    assert weights[2:].tolist() == [0, 0] and weights.sum() == pytest.approx(1)


def test_slots_of_a_linear_probe_weigh_how_far_each_moves_the_value() -> None:
    probe = RidgeProbe(
        Standardiser.identity(8, 16), torch.ones(4, 8, 16, 1) * torch.tensor([1.0, 3, 5, 7]).view(4, 1, 1, 1),
        torch.tensor([50.0]), False,
    )  # fmt: skip
    data = one_study([True, False, True, True])
    sums = torch.stack([data.features.tokens[torch.tensor([n])].sum() for n in range(4)])
    moved = (sums * torch.tensor([1.0, 0, 5, 7])).abs().numpy()
    np.testing.assert_allclose(slot_weights(probe, data), moved / moved.sum(), rtol=1e-4)


def test_a_dicomdir_stands_for_the_files_that_it_names(
    made: Made, tmp_path: Path, ask: Callable[..., tuple[StudyAnswer, ...]], answered: StudyAnswer
) -> None:
    medium = FileSet()
    for path in sorted(made.tested.iterdir()):
        data = pydicom.dcmread(path)
        data.StudyTime, data.StudyID = "101010", "1"
        data.save_as(tmp_path / path.name)
        medium.add(tmp_path / path.name)
    medium.write(tmp_path / "medium")
    (answer,) = ask(tmp_path / "medium/DICOMDIR")
    assert answer.task("lvef").value == pytest.approx(answered.task("lvef").value) and not answer.unused
    (folder,) = ask(tmp_path / "medium")
    assert [file.reason for file in folder.unused] == ["index of the medium"]


def test_a_loop_with_still_text_is_read_and_its_picture_withheld(
    made: Made, tmp_path: Path, ask: Callable[..., tuple[StudyAnswer, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that ingest holds for review are asked for again as cleared."""
    from echojepa.answer import study
    from echojepa.data.ingest.convert import Refused
    from echojepa.data.reading.rejection import Rejected
    from echojepa.vocabulary import Reason

    real = study.convert_here

    def held(jobs, workers=0):
        for job, result in zip(jobs, real(jobs, workers), strict=True):
            yield result if job.cleared else Refused(job.file_id, Rejected(Reason.HELD_TEXT, "1 places"))

    monkeypatch.setattr(study, "convert_here", held)
    (answer,) = ask(made.tested)
    assert len(answer.loops) == 3 and all(loop.picture_withheld for loop in answer.loops)
    assert not answer.unused and answer.task("lvef").value is not None


def test_a_file_of_no_known_study_goes_with_its_folder(
    made: Made, archive: Path, tmp_path: Path, ask: Callable[..., tuple[StudyAnswer, ...]]
) -> None:
    other = next(path for path in sorted(archive.glob("P*/S0")) if path != made.tested)
    for name, source in (("a", other), ("b", made.tested)):
        (tmp_path / name).mkdir()
        data = pydicom.dcmread(source / "A4C_0.dcm")
        data.save_as(tmp_path / name / "loop.dcm")
    (tmp_path / "b" / "note").write_text("nothing")
    first, second = ask(tmp_path)
    assert not first.unused and [file.file for file in second.unused] == [3]


def test_a_loop_without_scale_is_left_out_where_the_model_is_fed_by_mm(made: Made, model: Model) -> None:
    spec = InputSpec(size=32, frames=4, seconds=0.2, mm=4.0)
    by_mm = replace(model, backbone=VideoTransformer("jepa", encoder_of(model), spec))
    study = stored_study(LoopStore.open(made.dataset), [0, 1, 2])
    first, *others = study.loops
    mute = replace(first, row=replace(first.row, pixel_height_mm=None, pixel_width_mm=None))
    answer = answer_study(replace(study, loops=(mute, *others)), by_mm, quiet)
    assert [(file.file, file.reason) for file in answer.unused] == [(1, "no physical scale")]
    assert [loop.file for loop in answer.loops] == [2, 3]
    assert len(answer_study(study, model, quiet).loops) == 3


@pytest.mark.slow
def test_models_answer_from_a_built_wheel_outside_of_the_clone(made: Made, tmp_path: Path) -> None:
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    run = {"check": True, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, root], **run)
    (wheel,) = tmp_path.glob("echojepa-*.whl")
    target = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "--no-deps", "--target", target, wheel], **run)
    script = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import echojepa; "
        f"assert echojepa.__file__.startswith({str(target)!r}); from echojepa.cli import main; "
        f"asked = ['predict', {str(made.tested)!r}, '--out']; "
        f"sys.exit(main([*asked, {str(tmp_path / 'own')!r}, '--model', {str(made.model)!r}]) "
        f"or main([*asked, {str(tmp_path / 'shipped')!r}]))"
    )
    environment = {"PYTHONPATH": str(target), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, **run)
    for model in ("own", "shipped"):
        assert (tmp_path / model / "prediction.html").is_file(), done.stderr


def test_an_entry_of_a_zip_that_says_to_begin_before_it_is_damaged(tmp_path: Path) -> None:
    packed = tmp_path / "study.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", b"x")
        archive.writestr("b", b"y")
    content = bytearray(packed.read_bytes())
    start = int.from_bytes(content[-6:-2], "little")  # of the directory, as the end of a zip says
    content[-6:-2] = (start + 5).to_bytes(4, "little")
    packed.write_bytes(content)
    with gathered([packed], tmp_path) as found:
        assert [(file.file, file.reason) for file in found.unused] == [
            (n, "damaged in the zip") for n in (1, 2)
        ]
