"""Claims about fine-tuning: rates layer by layer, chosen on validation, stopped and resumed, one more row."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from encoders import weights_of
from PIL import Image
from torch import Tensor

from echojepa.backbones.loading import load_backbone
from echojepa.backbones.transformer import VideoTransformer
from echojepa.cli import main
from echojepa.config import (
    Architecture,
    ConfigError,
    FinetuneConfig,
    FrozenConfig,
    InputSpec,
    PlanConfig,
    TuningConfig,
)
from echojepa.data.clips.clips import letterbox, places
from echojepa.data.identity.splits import LeakageError
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation import cells
from echojepa.evaluation.finetune import finetune, finetuned_cell
from echojepa.evaluation.finetuning.clips import EVEN, SampleClips, encoded
from echojepa.evaluation.finetuning.rates import layer_of, parameter_groups
from echojepa.evaluation.finetuning.training import STAYED, FineTuning, load_finetuned, starting_weights
from echojepa.evaluation.probes.fitting import OverTimeProbe
from echojepa.evaluation.probes.heads import HeadProbe
from echojepa.evaluation.probes.stored import StoredProbe, read_predictions
from echojepa.evaluation.protocol.cohort import read_cohort
from echojepa.evaluation.protocol.plans import HEAD_STARTS, Plan, PlanBlock
from echojepa.evaluation.results import EVERYBODY, read_results
from echojepa.evaluation.run import PlanRun
from echojepa.explain.films import as_colour, loop_map, overlay
from echojepa.explain.heads import ClipReader, clip_reader
from echojepa.explain.loops import by_ids
from echojepa.explain.sources import head_attention, source_of
from echojepa.files.records import encode
from echojepa.models.building import build_encoder
from echojepa.models.contract import fit
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.models.vit import VisionTransformer
from echojepa.progress import quiet
from echojepa.recipes import smoke
from echojepa.report.html import attention_player
from echojepa.tasks import LVEF
from echojepa.training import rotation
from echojepa.training.hardware import computed_on
from echojepa.weights.folder import Origin, save_weights
from echojepa.weights.layouts import read_weights
from echojepa.weights.tensors import CheckpointError, load_safetensors, save_tensors

SPEC = InputSpec(size=32, frames=4, seconds=0.2)
WIDTH = 64
ARCHITECTURE = Architecture(f"{WIDTH}x4x1x{2 * WIDTH}", patch=16)
PROBED = {"learning_rates": (1e-3,), "weight_decays": (0.01,), "epochs": 2, "min_steps": 12}
"""How frozen encoders are probed here: a head of twelve steps is a start as good as the best of six."""
AS_USERS_HAVE_IT = FinetuneConfig.frozen


class Stop(Exception):
    """A power cut."""


def stop_after(epochs: int):
    def progress(done: int, total: int, note: str = "") -> None:
        if done == epochs:
            raise Stop

    return progress


@pytest.fixture(scope="module", autouse=True)
def small_probes() -> Iterator[None]:
    """Frozen encoders' probes are small ones, and of one kind unless a test says otherwise."""

    def frozen(config: FinetuneConfig) -> FrozenConfig:
        assert AS_USERS_HAVE_IT.fget
        return replace(AS_USERS_HAVE_IT.fget(config), **PROBED)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FinetuneConfig, "frozen", property(frozen))
        patched.setattr(cells, "HEAD_STARTS", ("attentive",))
        yield


@pytest.fixture(scope="module")
def start(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained encoder's folder, whose weights are random; beside it its probe, which heads start as."""
    folder = tmp_path_factory.mktemp("start")
    encoder = VisionTransformer(ARCHITECTURE, SPEC, torch.Generator().manual_seed(3))
    save_weights(folder, weights_of(encoder, ARCHITECTURE, SPEC, Origin("jepa", 7)))
    with pytest.raises(Stop):
        finetune(settings(dataset, folder, folder / "first"), stop_after(1))
    return folder


def settings(dataset: Path, start: Path, out: Path, **others: object) -> FinetuneConfig:
    """A short fine-tuning; the probe of the frozen encoder is not trained again where it is the same."""
    made = start / "first" / "frozen"
    if made.is_dir() and not (out / "frozen").exists():
        shutil.copytree(made, out / "frozen")
    base = FinetuneConfig(
        data=(dataset,), backbone=str(start), out=out, epochs=2, lr=1e-3, precision="float32", resamples=20
    )
    return replace(base, **others)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def tuned(dataset: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished fine-tuning of three epochs."""
    out = tmp_path_factory.mktemp("tuned") / "out"
    finetune(settings(dataset, start, out, epochs=3), quiet)
    return out


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Encoder and head of a finished folder."""
    names = ("encoder.safetensors", "probe.safetensors")
    return {f"{file} {k}": v for file in names for k, v in load_safetensors(folder / file).items()}


def assert_equal_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def small_head() -> Probes:
    shape = ProbeShape((2, 2, 2), WIDTH, 1)
    return Probes(1, shape, Standardiser.identity(8, WIDTH), Scale(), torch.Generator())


def tuning_of(config: FinetuneConfig, out: Path) -> FineTuning:
    """A fine-tuning before its first epoch; its head starts from nothing."""
    cohort, weights = read_cohort(config.data), read_weights(Path(config.backbone))
    head = HeadProbe(small_head(), 4)
    return FineTuning(out, weights, head, finetuned_cell(cohort, config), cohort, config, 0)


def moved_by_an_epoch(config: FinetuneConfig, out: Path) -> dict[str, float]:
    """How far an epoch moves each of the encoder's tensors."""
    tuning, before = tuning_of(config, out), read_weights(Path(config.backbone)).encoder
    tuning.train_epoch(0)
    after = tuning.encoder.state_dict()
    return {name: float((after[name] - value).norm()) for name, value in before.items()}


def test_rates_of_a_three_block_encoder_are_the_formula_s() -> None:
    encoder = VisionTransformer(ARCHITECTURE, SPEC, torch.Generator())
    encoder.blocks = encoder.blocks[:3]
    table = {"patch_embed": 0.0625, "blocks.0": 0.125, "blocks.1": 0.25, "blocks.2": 0.5, "norm": 1.0}
    groups = parameter_groups(encoder, small_head(), TuningConfig(layer_decay=0.5, weight_decay=0.3))
    found = {id(weight): group for group in groups for weight in group["params"]}
    for name, weight in encoder.named_parameters():
        (row,) = [key for key in table if name.startswith(f"{key}.")]
        assert found[id(weight)]["scale"] == table[row], name
        plain = name.endswith("bias") or "norm" in name
        assert found[id(weight)]["weight_decay"] == (0.0 if plain else 0.3), name
    head = small_head()
    groups = parameter_groups(encoder, head, TuningConfig(layer_decay=0.5, weight_decay=0.3))
    found = {id(weight): group for group in groups for weight in group["params"]}
    for name, weight in head.named_parameters():
        assert found[id(weight)]["scale"] == 1.0
        plain = name.endswith("bias") or "norm" in name or name.endswith("query")
        assert found[id(weight)]["weight_decay"] == (0.0 if plain else 0.3), name
    assert len(found) == len(list(encoder.parameters())) + len(list(head.parameters()))
    names = ("patch_embed.proj.bias", "blocks.2.norm1.weight", "norm.bias")
    assert [layer_of(name, 3) for name in names] == [0, 3, 4]


def test_layers_whose_rate_decays_to_nothing_do_not_change(
    dataset: Path, start: Path, tmp_path: Path
) -> None:
    moved = moved_by_an_epoch(settings(dataset, start, tmp_path, layer_decay=0.0), tmp_path)
    assert {name for name, distance in moved.items() if distance} == {"norm.weight", "norm.bias"}


def test_every_layer_moves_the_lower_ones_less(dataset: Path, start: Path, tmp_path: Path) -> None:
    moved = moved_by_an_epoch(settings(dataset, start, tmp_path), tmp_path)
    blocks = [moved[f"blocks.{n}.mlp.fc1.weight"] for n in range(4)]
    assert 0 < blocks[0] < blocks[1] < blocks[2] < blocks[3]


def test_training_lowers_the_loss(dataset: Path, start: Path, tmp_path: Path) -> None:
    tuning = tuning_of(settings(dataset, start, tmp_path, epochs=4, batch_size=4, lr=2e-2), tmp_path)
    losses = [tuning.train_epoch(epoch) for epoch in range(4)]
    assert losses[-1] < 0.5 * losses[0], losses


def test_a_stopped_fine_tuning_goes_on_as_if_it_had_not_been(
    dataset: Path, start: Path, tuned: Path, tmp_path: Path
) -> None:
    config = settings(dataset, start, tmp_path, epochs=3)
    for epochs in (1, 2):
        with pytest.raises(Stop):
            finetune(config, stop_after(epochs))
        assert not (tmp_path / "probe.json").exists()
    rows = finetune(replace(config, recompute=True), quiet)
    assert_equal_tensors(tensors_of(tmp_path), tensors_of(tuned))
    assert [str(row) for row in rows] == [str(row) for row in read_results(tuned)]
    texts = [(folder / "probe.json").read_text() for folder in (tmp_path, tuned)]
    assert texts[0] == texts[1]


def test_a_finished_one_is_not_made_again_and_another_one_is_refused(
    dataset: Path, start: Path, tuned: Path
) -> None:
    stamps = {file: file.stat().st_mtime_ns for file in tuned.glob("*.safetensors")}
    finetune(settings(dataset, start, tuned, epochs=3), quiet)
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    with pytest.raises(ConfigError, match="with different settings "):
        finetune(settings(dataset, start, tuned, epochs=4), quiet)
    with pytest.raises(ConfigError, match="with different cell, labels "):
        finetune(settings(dataset, start, tuned, epochs=3, fraction=0.5), quiet)


def with_labels(dataset: Path, out: Path, split: str) -> Path:
    """A data set in which the LVEF of a split's studies is turned around."""
    shutil.copytree(dataset, out)
    rows = LoopStore.open(out).metadata(["study_id", "split"]).to_pylist()
    mine = {row["study_id"] for row in rows if row["split"] == split}
    table = pq.read_table(out / "labels.parquet")
    values = table["value"].to_numpy().copy()
    where = [
        n for n, row in enumerate(table.to_pylist()) if row["label"] == "lvef" and row["study_id"] in mine
    ]
    assert len(where) > 2
    values[where] = 100 - values[where]
    pq.write_table(
        table.set_column(table.column_names.index("value"), "value", [values]), out / "labels.parquet"
    )
    return out


def test_test_labels_choose_nothing_and_validation_labels_do(
    dataset: Path, start: Path, tuned: Path, tmp_path: Path
) -> None:
    other = with_labels(dataset, tmp_path / "test-labels", "test")
    finetune(settings(other, start, tmp_path / "a", epochs=3), quiet)
    assert_equal_tensors(tensors_of(tmp_path / "a"), tensors_of(tuned))
    files = [next(folder.glob("predictions-*.parquet")) for folder in (tmp_path / "a", tuned)]
    (one, _), (two, _) = (read_predictions(file) for file in files)
    assert np.array_equal(one.values, two.values) and not np.array_equal(one.truth, two.truth)
    facts = [json.loads((folder / "probe.json").read_text()) for folder in (tmp_path / "a", tuned)]
    assert facts[0]["history"] == facts[1]["history"] and facts[0]["chosen"] == facts[1]["chosen"]
    third = with_labels(dataset, tmp_path / "val-labels", "val")
    tunings = [tuning_of(settings(data, start, tuned), tmp_path) for data in (dataset, third)]
    assert tunings[0].train_epoch(0) == tunings[1].train_epoch(0), "validation labels train nothing"
    assert tunings[0].validate() != tunings[1].validate()


def test_the_epoch_that_validation_likes_best_is_kept(
    dataset: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []

    def validate(tuning: FineTuning) -> float:
        seen.append({name: value.clone() for name, value in tuning.model.state_dict().items()})
        return errors[len(seen) - 1]

    monkeypatch.setattr(FineTuning, "validate", validate)
    files = {"encoder.": "encoder.safetensors", "head.": "probe.safetensors"}
    for best, errors in ((2, [4.0, 3.0, 1.0, 2.0]), (0, [1.0, 2.0, 4.0, 3.0])):
        seen.clear()
        out = tmp_path / f"{best}"
        finetune(settings(dataset, start, out, epochs=3), quiet)
        found = {p + k: v for p, file in files.items() for k, v in load_safetensors(out / file).items()}
        assert_equal_tensors(found, seen[best])
        facts = json.loads((out / "probe.json").read_text())
        assert facts["chosen"]["epoch"] == best and facts["history"]["validation"] == errors
        assert {row.note for row in read_results(out)} == {"" if best else STAYED}
    assert torch.equal(found["encoder.norm.weight"], read_weights(start).encoder["norm.weight"])


def test_it_starts_as_the_frozen_encoder_s_probe(dataset: Path, start: Path, tuned: Path) -> None:
    """What is tuned reads, before its first epoch, as `echojepa probe` on the frozen encoder does."""
    plan = Plan("frozen", (PlanBlock((LVEF,), ("attentive",)),))
    config = PlanConfig(
        data=(dataset,), out=tuned / "frozen", backbones=(str(start),), resamples=5, workers=1, **PROBED
    )
    before = {file: file.stat().st_mtime_ns for file in (tuned / "frozen").rglob("probe.json")}
    PlanRun(plan, config).run(quiet)
    (folder,) = [file.parent for file in (tuned / "frozen").rglob("probe.json") if "random" not in str(file)]
    assert before == {folder / "probe.json": (folder / "probe.json").stat().st_mtime_ns}, "the very same"
    made, _ = read_predictions(next(folder.glob("predictions-*.parquet")))
    val = made.splits == "val"
    error = np.abs(made.values[val] - made.truth[val]).mean()
    curve = json.loads((tuned / "probe.json").read_text())["history"]["validation"]
    assert curve[0] == pytest.approx(error, abs=0.02) and len(curve) == 4


def test_its_head_starts_as_the_kind_of_probe_that_validation_patients_choose(
    dataset: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By token or over time, whichever frozen probe errs less; with these seeds each does once."""
    monkeypatch.setattr(cells, "HEAD_STARTS", HEAD_STARTS)
    chosen = set()
    for seed in (0, 2):
        out = tmp_path / str(seed)
        (out / "frozen").mkdir(parents=True)
        finetune(settings(dataset, start, out, epochs=1, seed=seed), quiet)
        cards = [json.loads(file.read_text()) for file in (out / "frozen").rglob("probe.json")]
        errors = [c["history"]["validation"][int(c["chosen"]["epoch"]) - 1] for c in cards]
        kinds = [card["probe"] for card in cards]
        curve = json.loads((out / "probe.json").read_text())["history"]["validation"]
        assert curve[0] == pytest.approx(min(errors), abs=0.001) and abs(errors[0] - errors[1]) > 0.02
        kind = kinds[int(np.argmin(errors))]
        assert isinstance(StoredProbe(out).readout(), OverTimeProbe) == (kind == "attentive, over time")
        chosen.add(kind)
    assert chosen == set(HEAD_STARTS)


def test_a_head_over_time_is_trained_with_its_encoder_and_predicts_as_it_was_chosen(
    dataset: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "HEAD_STARTS", ("attentive, over time",))
    errors, validate = [], FineTuning.validate

    def later_is_better(tuning: FineTuning) -> float:
        errors.append(validate(tuning))
        return -float(len(errors))

    monkeypatch.setattr(FineTuning, "validate", later_is_better)
    out = tmp_path / "out"
    finetune(settings(dataset, start, out, epochs=2, lr=1e-4), quiet)
    encoder, readout = load_finetuned(out)
    assert isinstance(readout, OverTimeProbe)
    made, _ = read_predictions(next(out.glob("predictions-*.parquet")))
    val = made.splits == "val"
    assert np.abs(made.values[val] - made.truth[val]).mean() == pytest.approx(errors[2], abs=1e-4)
    assert len(errors) == 3 and errors[2] != pytest.approx(errors[0], abs=1e-3)
    before = read_weights(start).encoder
    assert all(not torch.equal(encoder.encoder.state_dict()[name], value) for name, value in before.items())
    clips = torch.randint(0, 255, (2, 3, 4, 32, 32), dtype=torch.uint8, generator=torch.Generator())
    assert head_attention(encoder, clip_reader(readout, "fine-tuned"), clips).shape == (2, 2, 2, 2)


def test_the_frozen_encoder_s_probe_is_trained_as_the_command_trains_one(dataset: Path, start: Path) -> None:
    assert AS_USERS_HAVE_IT.fget
    mine = AS_USERS_HAVE_IT.fget(settings(dataset, start, start))
    command = PlanConfig(data=(dataset,), out=start, backbones=(str(start),))
    settings_of = [field.name for field in fields(FrozenConfig) if field.name != "cache"]
    assert [getattr(mine, name) for name in settings_of] == [getattr(command, name) for name in settings_of]


def test_the_best_epoch_survives_a_stop_after_it(
    dataset: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = (9.0, 1.0, 2.0)
    monkeypatch.setattr(FineTuning, "validate", lambda tuning: after[int(tuning.losses.isfinite().sum())])
    with pytest.raises(Stop):
        finetune(settings(dataset, start, tmp_path / "stopped"), stop_after(1))
    for name in ("stopped", "whole"):
        finetune(settings(dataset, start, tmp_path / name), quiet)
    assert json.loads((tmp_path / "stopped" / "probe.json").read_text())["chosen"]["epoch"] == 1
    assert_equal_tensors(tensors_of(tmp_path / "stopped"), tensors_of(tmp_path / "whole"))


def test_what_is_on_disk_scores_as_what_was_chosen(tuned: Path) -> None:
    facts = json.loads((tuned / "probe.json").read_text())
    curve = facts["history"]["validation"]
    assert facts["chosen"]["epoch"] == int(np.argmin(curve)) and len(curve) == 4
    made, _ = read_predictions(next(tuned.glob("predictions-*.parquet")))
    val = made.splits == "val"
    error = np.abs(made.values[val] - made.truth[val]).mean()
    assert error == pytest.approx(min(curve), abs=1e-4)


def test_a_leaked_patient_stops_it(dataset: Path, start: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "leaky")
    store = LoopStore(tmp_path / "leaky")
    first = next(
        row["loop_id"] for row in store.metadata(["loop_id", "split"]).to_pylist() if row["split"] == "train"
    )
    store.table.update({"split": "'test'"}, where=f"loop_id = '{first}'")
    with pytest.raises(LeakageError, match="two splits"):
        finetune(settings(tmp_path / "leaky", start, tmp_path / "out"), quiet)


def test_no_patient_trains_and_tests(dataset: Path, start: Path) -> None:
    cell = finetuned_cell(read_cohort([dataset]), settings(dataset, start, start, fraction=0.5))
    names = [set(cell.samples.patients[chosen]) for chosen in (cell.trained, cell.tested)]
    assert names[0] and names[1] and not names[0] & names[1]


def test_weights_that_do_not_fit_are_refused(dataset: Path, start: Path, tmp_path: Path) -> None:
    shutil.copytree(start, tmp_path / "start")
    tensors = load_safetensors(start / "encoder.safetensors")
    del tensors["blocks.1.mlp.fc2.weight"]
    save_tensors(tmp_path / "start" / "encoder.safetensors", tensors)
    with pytest.raises(CheckpointError, match=r"is not the file that encoder\.json describes"):
        finetune(settings(dataset, tmp_path / "start", tmp_path / "out"), quiet)
    broken = replace(read_weights(start), encoder=tensors)
    save_weights(tmp_path / "start", broken)
    with pytest.raises(CheckpointError, match=r"Missing: \['blocks.1.mlp.fc2.weight'\]"):
        finetune(settings(dataset, tmp_path / "start", tmp_path / "out"), quiet)


def test_its_folder_is_a_frozen_encoder_and_a_probe_and_says_where_it_comes_from(
    dataset: Path, start: Path, tuned: Path
) -> None:
    sha256 = read_weights(start).sha256
    card = json.loads((tuned / "encoder.json").read_text())
    assert card["origin"]["name"] == f"JEPA {sha256[:8]} fine-tuned on lvef, train patients"
    assert card["origin"]["data_fingerprint"] == LoopStore.open(dataset).fingerprint()
    record = json.loads((tuned / "probe.json").read_text())["finetuned"]
    assert record["start"]["sha256"] == sha256 and record["start"]["name"] == "JEPA"
    assert not (tuned / rotation.FOLDER).exists(), "the checkpoints of a finished one are gone"
    assert str(dataset) not in json.dumps(record)
    backbone, readout = load_backbone(tuned), StoredProbe(tuned).readout()
    cohort = read_cohort([dataset])
    cell = finetuned_cell(cohort, settings(dataset, start, tuned))
    made, about = read_predictions(next(tuned.glob("predictions-*.parquet")))
    assert about["probe"] == "fine-tuned" and set(made.splits) == {"train", "val", "test"}
    study = made.items[made.splits == "test"][0]
    samples = np.flatnonzero(cell.samples.items == study)
    clips = SampleClips(cohort, cell, SPEC, 1.0, 0)
    tokens = torch.stack([backbone(clips[EVEN, int(n)]).tokens[0] for n in samples])
    value = readout.model.predict(tokens)[0, :, 0].mean().item()
    assert value == pytest.approx(made.values[made.items == study][0], abs=1e-3)


def test_it_is_one_more_row(tuned: Path) -> None:
    rows = read_results(tuned)
    assert {(row.backbone, row.probe, row.split, row.patients) for row in rows} == {
        ("JEPA", "fine-tuned", "test", 3)
    }
    assert "MAE" in {row.metric for row in rows}


def test_a_random_clip_is_a_function_of_seed_epoch_and_sample(dataset: Path, start: Path) -> None:
    cohort = read_cohort([dataset])
    cell = finetuned_cell(cohort, settings(dataset, start, start))
    one, same, other = (SampleClips(cohort, cell, SPEC, 0.5, seed) for seed in (0, 0, 1))
    assert torch.equal(one[0, 2], same[0, 2]) and torch.equal(one[EVEN, 2], other[EVEN, 2])
    assert not torch.equal(one[0, 2], one[1, 2]) and not torch.equal(one[0, 2], other[0, 2])
    assert one[0, 2].dtype == torch.uint8 and one[0, 2].shape == (1, 3, 4, 32, 32)
    parts = torch.arange(5).split(2)
    read = [list(one.batches(3, parts, workers)) for workers in (0, 1)]
    for here, there in zip(*read, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def test_random_clips_are_whole_pictures_unless_they_are_cropped(dataset: Path, start: Path) -> None:
    cohort = read_cohort([dataset])
    cell = finetuned_cell(cohort, settings(dataset, start, start))
    store, row, _ = cell.samples.clips[2, 0].tolist()
    pictures = fit(SPEC, letterbox(cohort.stores[store].loop(row).frames()))[0]
    whole, cropped = (SampleClips(cohort, cell, SPEC, crop, 0)[0, 2][0, 0] for crop in (1.0, 0.5))
    assert all((pictures == frame).flatten(1).all(1).any() for frame in whole)
    assert not any((pictures == frame).flatten(1).all(1).any() for frame in cropped)


def test_the_command_trains_at_a_site_and_tests_each(
    dataset: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["finetune", "--data", str(dataset), "--backbone", str(start), "--out", str(tmp_path / "f")]
    more = ["--site", "site", "--epochs", "1", "--fraction", "0.5", "--resamples", "5", "--seed", "2"]
    more += ["--task", "view"]
    assert main(arguments + more) == 0
    assert "fine-tuned" in capsys.readouterr().out
    rows = read_results(tmp_path / "f")
    assert {(row.trained_on, row.site, row.label_fraction, row.seed) for row in rows} == {
        ("site", "site", 0.5, 2)
    }
    assert {row.task for row in rows} == {"view"} and "accuracy" in {row.metric for row in rows}
    assert len(json.loads((tmp_path / "f" / "probe.json").read_text())["classes"]) > 2
    with pytest.raises(UserError, match="unknown site 'south'"):
        finetuned_cell(read_cohort([dataset]), settings(dataset, start, tmp_path, site="south"))


def test_the_figure_shows_what_the_fine_tuned_head_looks_at(dataset: Path, start: Path, tuned: Path) -> None:
    """A head made to look at one token colours that token's place and no other."""
    encoder, readout = load_finetuned(tuned)
    clips = torch.randint(0, 255, (3, 3, 4, 32, 32), dtype=torch.uint8, generator=torch.Generator())
    reader = ClipReader(readout.model)
    maps = head_attention(encoder, reader, clips)
    assert maps.shape == (3, 2, 2, 2)
    torch.testing.assert_close(maps.mean(dim=(1, 2, 3)), torch.ones(3))
    head = reader.head
    assert head.pooler is not None
    for name, value in head.pooler.named_parameters():
        value.data.zero_() if name.startswith(("q.", "norm1")) else None
    with torch.no_grad():
        tokens = encoder(clips).tokens
        plain = head.attention(tokens)
        torch.testing.assert_close(plain, torch.full_like(plain, 1 / 8))
        head.pooler.position[5] = 50 * torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
        folded = head.pooler.position[5] @ head.pooler.k.weight[0].T
        assert head.pooler.q.bias is not None
        head.pooler.q.bias[0] = 50 * folded
    maps = head_attention(encoder, reader, clips)
    assert (maps.flatten(1)[:, 5] > 7.9).all() and maps.flatten(1).argmax(1).tolist() == [5, 5, 5]
    names = LoopStore.open(dataset).metadata(["loop_id"])["loop_id"].to_pylist()
    loop = by_ids(dataset, names[:1])[0]
    shown = loop_map(loop, encoder, "tuned", source_of("probe", encoder, reader))
    plain = as_colour(loop.frames)
    painted = (overlay(plain, loop, shown, 3.0) != plain).any(-1)
    _, slot = loop.slots(SPEC, shown.starts, 2)
    rows, columns = (place < 16 for place in places(SPEC, loop.sector.shape))
    cell = loop.sector & rows[:, None] & ~columns
    assert painted[slot == 1][:, cell].mean() > 0.9, "token 5 is the second tubelet's, above, right"
    assert not painted[slot == 0].any() and not painted[:, ~cell].any()


def test_the_figure_needs_a_finished_fine_tuning(start: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no finished fine-tuning"):
        load_finetuned(start)


def test_the_page_shows_the_fine_tuned_head_beside_the_encoder(
    dataset: Path, start: Path, tuned: Path, tmp_path: Path
) -> None:
    store, run = LoopStore.open(dataset), VideoTransformer.from_pretrained(start)
    alone, beside = attention_player(store, run, None), attention_player(store, run, None, tuned)
    assert alone.finetuned == "" and "fine-tuned on lvef" in beside.finetuned
    heights = []
    for player in (alone, beside):
        picture = Image.open(io.BytesIO(base64.b64decode(player.frames[0].split(",")[1])))
        heights.append(picture.height)
    assert heights[1] == pytest.approx(2 * heights[0], abs=2), "a line of panels more"
    other = VideoTransformer.from_pretrained(start, replace(SPEC, seconds=0.1))
    with pytest.raises(UserError, match="give a fine-tuning of this run"):
        attention_player(store, other, None, tuned)


@pytest.fixture(scope="module")
def both_views(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A task that reads two views of a study at once, two clips each."""
    file = tmp_path_factory.mktemp("task") / "both.json"
    file.write_text(
        json.dumps(
            {"name": "both", "label": "lvef", "kind": "regression", "unit": "%", "clips": 2,
             "slots": [["A4C", None], ["A2C", None]]}
        )
    )  # fmt: skip
    return str(file)


def test_several_views_are_fine_tuned_together_and_absent_ones_do_not_matter(
    dataset: Path, start: Path, both_views: str, tmp_path: Path
) -> None:
    config = settings(dataset, start, tmp_path, epochs=1, task=both_views)
    assert finetune(config, quiet)[0].task == "both"
    encoder, readout = load_finetuned(tmp_path)
    assert readout.model.shape.slots == 4
    clips = torch.randint(0, 255, (1, 4, 3, 4, 32, 32), dtype=torch.uint8, generator=torch.Generator())
    present = torch.tensor([[True, False, True, True]])
    values = []
    for shade in (0, 200):
        clips[0, 1] = shade
        tokens = encoded(lambda some: encoder(some).tokens, clips, present)
        assert not tokens[0, 1].any() and tokens[0, 0].any(), "an absent clip is not even looked at"
        values.append(readout.model.predict(tokens, present).item())
    assert values[0] == values[1]
    with pytest.raises(UserError, match="several clips at once"):
        head_attention(encoder, clip_reader(readout, "fine-tuned"), clips[0])


def test_clips_of_a_loop_train_once_an_epoch_and_are_averaged(
    dataset: Path, start: Path, tmp_path: Path
) -> None:
    finetune(settings(dataset, start, tmp_path / "two", epochs=1, clips_per_loop=2), quiet)
    finetune(settings(dataset, start, tmp_path / "one", epochs=1), quiet)
    cards = [json.loads((tmp_path / name / "encoder.json").read_text()) for name in ("one", "two")]
    assert cards[0]["origin"]["clips"] == cards[1]["origin"]["clips"]
    items = [len(read_predictions(next((tmp_path / n).glob("pred*")))[0].items) for n in ("one", "two")]
    assert items[0] == items[1]


def test_training_from_scratch_starts_from_what_a_run_started_from(dataset: Path, tmp_path: Path) -> None:
    run = smoke(dataset, tmp_path / "run")
    encoder = build_encoder(replace(run, seed=5))
    save_weights(run.out, weights_of(encoder, run.architecture, run.spec, Origin("jepa", 7)))
    (run.out / "config.json").write_text(encode(run))
    fresh = starting_weights(f"random:{run.out}")
    expected = build_encoder(run).state_dict()
    assert_equal_tensors(fresh.encoder, expected)
    name = "blocks.0.attn.qkv.weight"
    assert not torch.equal(fresh.encoder[name], encoder.state_dict()[name])
    assert fresh.build_encoder() and fresh.origin.name == "random encoder" and fresh.origin.steps is None


def test_bf16_is_the_arithmetic_of_the_encoder_and_not_of_its_weights(
    dataset: Path, start: Path, tmp_path: Path
) -> None:
    """Epochs are judged in float32 all the same, as the head then reads features."""
    finetune(settings(dataset, start, tmp_path, epochs=1, precision="bf16"), quiet)
    assert {value.dtype for value in tensors_of(tmp_path).values()} == {torch.float32}
    assert read_weights(tmp_path).origin.computed_on == (computed_on(torch.device("cpu"), torch.bfloat16),)
    card = json.loads((tmp_path / "probe.json").read_text())
    made, _ = read_predictions(next(tmp_path.glob("predictions-*.parquet")))
    val = made.splits == "val"
    error = np.abs(made.values[val] - made.truth[val]).mean()
    assert error == pytest.approx(card["history"]["validation"][int(card["chosen"]["epoch"])], abs=1e-4)


def test_a_plan_s_cell_is_fine_tuned_and_tested_under_perturbations(
    dataset: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan needs: the fine-tuned encoder through the cache, the head from its folder, one more row."""
    monkeypatch.setattr(FineTuning, "validate", lambda tuning: -float(tuning.losses.isfinite().sum()))
    plan = Plan("small", (PlanBlock((LVEF,), ("fine-tuned",), perturbations=("haze",)),))
    config = PlanConfig(
        data=(dataset,), out=tmp_path, backbones=(str(start), "constant"), resamples=5, finetune_epochs=1,
        finetune_lr=2e-4, workers=1, **PROBED,
    )  # fmt: skip
    harness = PlanRun(plan, config)
    harness.run(quiet)
    assert harness.untuned == ["constant features"], "no row, and it is said"
    rows = [
        row for row in read_results(tmp_path)
        if row.metric == "MAE" and row.group == EVERYBODY and row.backbone == "JEPA"
    ]  # fmt: skip
    assert [(row.backbone, row.probe, row.perturbation, row.severity) for row in rows] == [
        ("JEPA", "fine-tuned", "haze" if severity else "", severity) for severity in range(4)
    ]
    assert len({row.value for row in rows}) == 4 and {row.note for row in rows} == {""}
    alone = settings(dataset, start, tmp_path / "alone", lr=2e-4, epochs=1)
    alone = replace(alone, precision=TuningConfig.precision)
    finetune(alone, quiet)
    (mine,) = [row for row in read_results(alone.out) if row.metric == "MAE"]
    (planned,) = [file.parent for file in tmp_path.glob("probes/lvef/jepa/fine-tuned-*/probe.json")]
    assert_equal_tensors(tensors_of(planned), tensors_of(alone.out))
    assert rows[0].value == pytest.approx(mine.value, abs=1e-3)
    assert rows[0].weights == mine.weights
