"""A study in, an answer out: what is answered, what is not and why, and what is left of the input."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest

import echojepa
from echojepa.answer import study as study_of
from echojepa.answer.assemble import assemble
from echojepa.answer.gathering import gathered
from echojepa.answer.model import Model, load_model
from echojepa.answer.predict import answer_study
from echojepa.answer.study import read_studies, stored_study
from echojepa.answer.values import Abstention, LeftOut, StudyAnswer
from echojepa.config import AssembleConfig
from echojepa.data.ingest.convert import ConvertedLoop
from echojepa.data.reading.video import write_video
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation.probes.stored import find_probes
from echojepa.evaluation.protocol.plans import Condition
from echojepa.evaluation.statistics.conformal import calibrates
from echojepa.progress import quiet
from echojepa.vocabulary import Reason
from echojepa.weights.tensors import CheckpointError

from .conftest import ALPHA, Made

Ask = Callable[..., tuple[StudyAnswer, ...]]


def predictions(made: Made):
    stored = next(iter(find_probes(made.results, "lvef", "attentive", calibrated=True).values()))
    found = stored.predictions(Condition())
    assert found is not None
    return found


def test_the_value_is_that_of_the_evaluation_for_the_same_loops(made: Made, answered: StudyAnswer) -> None:
    """Read, cut, encoded and probed by one path: from DICOM here, by way of a data set there."""
    test = predictions(made).of_test()
    assert len(test.items) == 1
    assert answered.task("lvef").value == pytest.approx(test.values[0], abs=1e-3)


def test_a_study_of_a_data_set_answers_as_its_files_do(
    made: Made, model: Model, answered: StudyAnswer
) -> None:
    store = LoopStore.open(made.dataset)
    rows = store.rows_where([], split="test")["row"].to_pylist()
    answer = answer_study(stored_study(store, rows), model, quiet)
    assert answer.task("lvef").value == pytest.approx(answered.task("lvef").value, abs=1e-3)
    assert {loop.view for loop in answer.loops} == {loop.view for loop in answered.loops}
    assert [loop.file for loop in answer.loops] == [row + 1 for row in rows]


def test_frames_at_end_diastole_are_those_where_the_phantom_has_its_r_waves(
    made: Made, answered: StudyAnswer
) -> None:
    """Through a file's header to the answer: within a frame of where the truth's phase begins anew."""
    truth = pq.read_table(made.tested.parents[1] / "truth.parquet", columns=["loop_id", "phase"])
    phases = dict(zip(truth["loop_id"].to_pylist(), truth["phase"].to_pylist(), strict=True))
    ends = []
    for loop in answered.loops:
        begins = 2 + np.flatnonzero(np.diff(phases[str(loop.header.SOPInstanceUID)]) < -0.5)
        for frame in loop.end_diastole:
            first = frame == 1 and phases[str(loop.header.SOPInstanceUID)][0] < 0.05
            assert first or np.abs(begins - frame).min() <= 1
        assert len(loop.end_diastole) >= len(begins)
        ends += loop.end_diastole
    assert ends, "none of the loops has an R wave: choose another patient"


def test_the_interval_is_the_finite_sample_quantile_of_those_who_chose_nothing(
    made: Made, answered: StudyAnswer
) -> None:
    """Computed again by hand: the ceil((n + 1)(1 - alpha))-th smallest error, one study a patient."""
    found = predictions(made)
    held = (found.splits == "val") & calibrates(found.patients, 0)
    errors = sorted(np.abs(found.truth - found.values)[held].tolist())
    rank = int(np.ceil((len(errors) + 1) * (1 - ALPHA)))
    task = answered.task("lvef")
    assert task.interval is not None and task.value is not None
    assert task.interval.patients == len(errors) >= 3
    assert task.interval.high - task.value == pytest.approx(errors[rank - 1])
    assert task.value - task.interval.low == pytest.approx(errors[rank - 1])


def test_the_loops_of_a_mean_weigh_the_same_and_their_own_values_average_to_it(answered: StudyAnswer) -> None:
    task = answered.task("lvef")
    assert sum(share.weight for share in task.loops) == pytest.approx(1)
    assert np.mean([share.value for share in task.loops]) == pytest.approx(task.value)
    used = {loop.number for loop in answered.loops if loop.used_for == ("lvef",)}
    assert used == {share.loop for share in task.loops}
    assert {loop.view for loop in answered.loops if loop.used_for} == {"A4C", "A2C"}
    others = [loop for loop in answered.loops if not loop.used_for]
    assert others and all(loop.left_out is LeftOut.NO_TASK for loop in others)


def test_every_file_is_a_loop_or_is_named_with_its_reason(made: Made, tmp_path: Path, ask: Ask) -> None:
    study = tmp_path / "study"
    shutil.copytree(made.tested, study)
    first = sorted(study.iterdir())[0]
    shutil.copyfile(first, study / "a-copy.dcm")
    (study / "notes.txt").write_text("no picture")
    (study / "table.csv").write_text("a,b\n")
    (study / ".hidden").write_text("")
    still = pydicom.dcmread(first)
    still.decompress()
    picture = still.pixel_array[0]
    still.NumberOfFrames, still.PixelData, still.SOPInstanceUID = 1, picture.tobytes(), "2.25.99"
    still.save_as(study / "still.dcm")
    (answer,) = ask(study)
    files = sorted(path.name for path in study.iterdir())
    named = {files[file.file - 1]: file.reason for file in answer.unused}
    loops = {files[loop.file - 1] for loop in answer.loops}
    assert named == {
        "a-copy.dcm": Reason.DUPLICATE.value, "notes.txt": Reason.NOT_DICOM.value,
        "table.csv": "table, or the like", ".hidden": "hidden file", "still.dcm": "not a cine loop",
    }  # fmt: skip
    assert loops | named.keys() == set(files) and answer.files == len(files)


def test_a_zip_answers_as_its_folder_whatever_its_names(made: Made, tmp_path: Path, ask: Ask) -> None:
    packed = tmp_path / "study.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(made.tested.iterdir()):
            archive.write(path, f"../../../{path.name}")
        archive.writestr("__MACOSX/._x", "")
    (answer,) = ask(packed)
    (plain,) = ask(made.tested)
    assert answer.tasks == plain.tasks and [file.reason for file in answer.unused] == ["hidden file"]
    assert not list(tmp_path.parent.glob("*.dcm")), "a name in a zip leads nowhere"


def test_a_damaged_file_of_a_zip_costs_itself_and_a_zip_beyond_the_limits_is_refused(
    made: Made, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "study.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", b"x" * 1000)
        archive.write(made.tested / "A4C_0.dcm", "b.dcm")
    packed.write_bytes(packed.read_bytes().replace(b"x" * 1000, b"y" * 1000))
    (answer,) = ask(packed)
    assert [(file.file, file.reason) for file in answer.unused] == [(1, "damaged in the zip")]
    assert len(answer.loops) == 1
    monkeypatch.setattr("echojepa.answer.gathering.MOST_BYTES", 999)
    with pytest.raises(UserError, match="at most"):
        ask(packed)


def write_mp4(path: Path, frames: np.ndarray, rate: Fraction) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"qscale": "2"})
        stream.height, stream.width = frames.shape[1:3]
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode())


@pytest.mark.parametrize(("name", "write"), [("a.mp4", write_mp4), ("a.avi", write_video)])
def test_a_video_answers_by_the_view_that_the_probe_tells(
    made: Made, tmp_path: Path, ask: Ask, answered: StudyAnswer, name: str, write: Callable[..., None]
) -> None:
    """Of the sector alone, as published videos are."""
    store = LoopStore.open(made.dataset)
    row = store.rows_where([], split="test", view="A4C")["row"][0].as_py()
    write(tmp_path / name, store.frames(row).repeat(2, 1).repeat(2, 2), Fraction(25))
    (answer,) = ask(tmp_path / name)
    assert not answer.unused
    (loop,) = answer.loops
    assert loop.view_source == "probe" and loop.view == loop.likeliest_view
    assert loop.view_probability is not None and 0 < loop.view_probability <= 1
    assert not loop.quality.heart_rate_stated and loop.header is None
    (stated,) = {loop.view_source for loop in answered.loops}
    assert stated == "file"


def with_thresholds(model: Model, **changed: float) -> Model:
    card = model.card
    return replace(model, card=replace(card, thresholds=replace(card.thresholds, **changed)))


def test_an_abstention_names_its_reason(made: Made, tmp_path: Path, ask: Ask, model: Model) -> None:
    def why(study: Path, of: Model) -> Abstention | None:
        (answer,) = ask(study, of=of)
        task = answer.task("lvef")
        assert task.value is None and task.interval is None and not task.loops and task.detail
        assert all(loop.left_out for loop in answer.loops)
        return task.abstention

    assert why(made.tested, with_thresholds(model, least_beats=1.0)) == Abstention.SHORT
    assert why(made.tested, with_thresholds(model, most_distance=0.0)) == Abstention.UNLIKE
    (part,) = model.card.tasks
    blind = replace(model, card=replace(model.card, tasks=(replace(part, intervals=None),)))
    assert why(made.tested, blind) == Abstention.NO_CALIBRATION
    assert part.intervals is not None
    few = replace(model.card, tasks=(replace(part, intervals=replace(part.intervals, half_widths={})),))
    assert why(made.tested, replace(model, card=few)) == Abstention.NO_CALIBRATION
    other = [path for path in made.tested.iterdir() if not path.name.startswith(("A4C", "A2C"))]
    assert why(other[0], model) == Abstention.VIEW
    timeless = pydicom.dcmread(next(made.tested.glob("A4C*")))
    del timeless.FrameTime, timeless.FrameIncrementPointer
    timeless.save_as(tmp_path / "timeless.dcm")
    assert why(tmp_path / "timeless.dcm", model) == Abstention.NO_TIME


def test_a_view_that_the_probe_is_not_sure_of_serves_no_task(
    made: Made, tmp_path: Path, ask: Ask, model: Model
) -> None:
    data = pydicom.dcmread(next(made.tested.glob("A4C*")))
    del data.ViewCodeSequence
    data.save_as(tmp_path / "unsaid.dcm")
    (answer,) = ask(tmp_path / "unsaid.dcm", of=with_thresholds(model, least_view_probability=1.1))
    (loop,) = answer.loops
    assert (loop.view, loop.view_source, loop.left_out) == (None, "none", LeftOut.UNCERTAIN)
    assert answer.task("lvef").abstention == Abstention.VIEW


def test_the_chance_of_a_view_is_the_probe_s_made_sharp(made: Made, ask: Ask, model: Model) -> None:
    part = model.card.view
    assert part is not None and part.sharpness != 1
    study = next(made.tested.glob("A4C*"))
    chances = []
    for exponent in (part.sharpness, 20 * part.sharpness):
        card = replace(model.card, view=replace(part, sharpness=exponent))
        (loop,) = ask(study, of=replace(model, card=card))[0].loops
        chances.append(loop.view_probability)
        assert loop.likeliest_view is not None
    assert chances[0] != pytest.approx(chances[1])


def test_a_batch_is_answered_study_by_study(
    made: Made, archive: Path, ask: Ask, answered: StudyAnswer
) -> None:
    """A folder of studies, by StudyInstanceUID; the answer of each is that which it has alone."""
    others = [path for path in sorted(archive.glob("P*/S0")) if path != made.tested][:1]
    batch = ask(*others, made.tested)
    assert [answer.number for answer in batch] == [1, 2]
    assert batch[1].task("lvef").value == pytest.approx(answered.task("lvef").value)
    assert {file for answer in batch for loop in answer.loops for file in [loop.file]} == set(range(1, 7))


def test_a_study_s_loops_are_in_memory_while_its_turn_lasts(archive: Path, model: Model) -> None:
    """An archive of any size so needs the memory of one study."""

    def alive() -> set[int]:
        gc.collect()
        return {id(one) for one in gc.get_objects() if type(one) is ConvertedLoop}

    others, seen = alive(), 0
    folders = sorted(archive.glob("P*/S0"))[:3]
    with gathered(folders) as given:
        studies = read_studies(given, model.card, quiet, workers=1)
    for study in studies:
        assert alive() - others == {id(loop.row) for loop in study.loops}
        seen += len(study.loops)
        del study
    assert seen == sum(len(list(folder.rglob("*.dcm"))) for folder in folders)


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_file_that_goes_while_its_study_is_read_is_unused_and_the_others_answer(
    made: Made, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A scanner's folder may be cleared meanwhile."""
    folder = tmp_path / "study"
    shutil.copytree(made.tested, folder)
    first = min(folder.iterdir())

    def header_of(path: Path) -> Any:
        if path == first:
            first.unlink()
            first.touch() if how == "emptied" else None
        return real(path)

    real = study_of.header_of
    monkeypatch.setattr(study_of, "header_of", header_of)
    (answer,) = ask(folder)
    (unused,) = answer.unused
    assert (unused.file, unused.reason) == (1, Reason.UNREADABLE)
    assert "removed or emptied" in unused.detail
    assert len(answer.loops) == 2 and {loop.file for loop in answer.loops} == {2, 3}


def test_no_room_for_loops_that_wait_is_told(
    made: Made, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = SimpleNamespace(seek=lambda *where: 0, write=raise_full)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **how: full)
    with (
        gathered([made.tested]) as given,
        pytest.raises(UserError, match=r"cannot be kept \(No space left on device\); set TMPDIR"),
    ):
        read_studies(given, model.card, quiet, workers=1)


def raise_full(data: bytes) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_study_of_several_views_is_read_by_slots_and_its_loops_weigh_what_the_probe_attends_to(
    made: Made, model: Model, answered: StudyAnswer
) -> None:
    """Slots are filled as in an evaluation: the same clips of the same loops, absent ones masked."""
    from echojepa.answer.tasks import clips_for, fit
    from echojepa.tasks import RVSP
    from echojepa.vocabulary import View

    task = replace(RVSP, slots=((View.A4C, None), (View.PSAX_AV, None), (View.A2C, None)))
    loops = [replace(loop, left_out=None) for loop in answered.loops]
    clips = clips_for(task, loops, each=1)
    assert clips.shape == (1, 6, 3)
    by_view = {loop.view: loop.number - 1 for loop in loops}
    assert clips[0, :2].tolist() == [[0, by_view["A4C"], 0], [0, by_view["A4C"], 1]]
    present = "PSAX-AV" in by_view
    assert (clips[0, 2:4] >= 0).all() if present else (clips[0, 2:4] == -1).all()
    assert len(fit(task, loops)) == 2 + present
    nothing = clips_for(replace(RVSP, slots=((View.TEE, None),)), loops, each=1)
    assert len(nothing) == 0, "a study may have none of a task's views"


def test_a_damaged_or_exchanged_part_of_a_model_is_refused(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.model, tmp_path / "model")
    tensors = tmp_path / "model/probes/lvef/probe.safetensors"
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-4] + b"\0\0\1\1")
    with pytest.raises(CheckpointError, match="not the file that"):
        load_model(tmp_path / "model")
    tensors.write_bytes(whole)
    card = json.loads((tmp_path / "model/model.json").read_text())
    card["encoder"]["digest"] = "0" * 64
    (tmp_path / "model/model.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="probes were trained with"):
        load_model(tmp_path / "model")
    with pytest.raises(CheckpointError, match="echojepa assemble"):
        load_model(tmp_path)


def test_assemble_overwrites_nothing_and_says_what_is_missing(made: Made, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="already exists"):
        assemble(AssembleConfig(made.results, str(made.run), made.model), quiet)
    with pytest.raises(UserError, match=r"config\.json"):
        assemble(AssembleConfig(tmp_path, str(made.run), tmp_path / "m"), quiet)
    with pytest.raises(UserError, match="probe --calibrated"):
        assemble(AssembleConfig(made.results, str(made.run), tmp_path / "m", probes=("ridge",)), quiet)
    assert not list(tmp_path.iterdir())


def test_thresholds_are_those_of_validation_patients(made: Made, strict: Model) -> None:
    rows = LoopStore.open(made.dataset).metadata(["split", "patient_id", "heart_rate", "times"]).to_pylist()
    val = [row for row in rows if row["split"] == "val"]
    beats = [(row["times"][-1] + np.median(np.diff(row["times"]))) * row["heart_rate"] / 60 for row in val]
    thresholds = strict.card.thresholds
    assert thresholds.least_beats == pytest.approx(min(1, *beats))
    assert (thresholds.loops, thresholds.patients) == (len(val), len({row["patient_id"] for row in val}))


def test_the_python_call_takes_paths(made: Made) -> None:
    (answer,) = echojepa.predict(str(made.tested), str(made.model), workers=1)
    assert answer.model.name == "tiny" and answer.model.synthetic == "all"
    with pytest.raises(KeyError, match="answers"):
        answer.task("tapse")
