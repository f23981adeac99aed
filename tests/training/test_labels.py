"""Claims about runs that learn from labels: which they get, how they go on, and when they are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from echojepa.backbones.loading import load_backbone
from echojepa.config import ConfigError, InputSpec, PretrainConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.explain.foreseen import TrainedRun
from echojepa.models.building import build_objective
from echojepa.models.phrases import PHRASES, WORDINGS, report
from echojepa.models.supervised import VIEWS
from echojepa.progress import quiet
from echojepa.recipes import small_contrastive, small_supervised, smoke
from echojepa.training import rotation
from echojepa.training.building import build_optimizer
from echojepa.training.distributed import World
from echojepa.training.journal import read_lines
from echojepa.training.labels import read_row_labels
from echojepa.training.loader import Steps, check_share
from echojepa.training.pretrain import pretrain, training_loops
from echojepa.training.start import read_start, take_start
from echojepa.training.step import TrainStep
from echojepa.weights.folder import load_weights

ALONE = World(0, 1, torch.device("cpu"))


def tiny(recipe, dataset: Path, out: Path, **changes: object) -> PretrainConfig:
    """A few steps on few frames; the phantom's loops are a quarter of a second long."""
    config = recipe(dataset, out)
    kept = {"spec": replace(config.spec, frames=4, seconds=0.2), "batch_size": 8, "steps": 4}
    return replace(config, **kept, pictures=out.parent / "pictures", **changes)


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_lines(run / "metrics.jsonl")]


@pytest.fixture(scope="module")
def supervised(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    config = tiny(small_supervised, dataset, tmp_path_factory.mktemp("labelled") / "supervised")
    pretrain(config, quiet)
    return config


@pytest.fixture(scope="module")
def contrastive(supervised: PretrainConfig) -> PretrainConfig:
    config = tiny(small_contrastive, supervised.data, supervised.out.with_name("contrastive"))
    pretrain(config, quiet)
    return config


@pytest.mark.parametrize("recipe", [small_supervised, small_contrastive])
def test_the_loss_of_a_few_loops_falls(recipe, store: LoopStore, dataset: Path, tmp_path: Path) -> None:
    """Every step sees the same eight loops, each shifted and, where it has a report, worded anew."""
    few = 25
    config = replace(tiny(recipe, dataset, tmp_path), steps=few, pictures=None)
    rows = training_loops(store, config.spec)["row"].to_numpy()[::5][:8]
    model = build_objective(config)
    optimizer = build_optimizer(model, config)
    step = TrainStep(config, ALONE, model, model, optimizer, torch.float32, few)
    steps = Steps(store, rows, config, ALONE, labels=read_row_labels(store, rows, config))
    found = [step(steps[number], number)["loss"] for number in range(few)]
    assert np.mean(found[-5:]) < 0.7 * np.mean(found[:5])


class Stop(Exception):
    """A power cut."""


def test_a_resumed_run_equals_an_uninterrupted_one(contrastive: PretrainConfig, tmp_path: Path) -> None:
    """Wordings are drawn anew for each step, whatever was drawn before."""

    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            raise Stop

    config = replace(contrastive, out=tmp_path, checkpoint_every=2)
    with pytest.raises(Stop):
        pretrain(config, stop)
    pretrain(config, quiet)
    assert load_weights(tmp_path).sha256 == load_weights(contrastive.out).sha256
    assert losses(tmp_path) == losses(contrastive.out)


def test_supervised_labels_are_the_stores_standardised_over_training_studies(
    store: LoopStore, supervised: PretrainConfig
) -> None:
    rows = training_loops(store, supervised.spec)["row"].to_numpy()[1:]  # one study has a loop less
    labels = read_row_labels(store, rows, supervised)
    assert labels
    loops = store.metadata(["study_id", "view"]).take(rows).to_pylist()
    known = {(row["study_id"], row["label"]): row["value"] for row in store.labels().to_pylist()}
    for column, name in enumerate(("lvef", "rvsp")):
        studies = {loop["study_id"]: known[loop["study_id"], name] for loop in loops}
        mean, std = np.mean([*studies.values()]), np.std([*studies.values()])
        expected = [(studies[loop["study_id"]] - mean) / std for loop in loops]
        np.testing.assert_allclose(labels.known[:, column], expected, rtol=1e-5, atol=1e-6)
    assert [VIEWS[int(number)] for number in labels.known[:, 2]] == [loop["view"] for loop in loops]


def test_reports_ride_with_their_clips_and_reach_no_other_objective(
    store: LoopStore, contrastive: PretrainConfig, tmp_path: Path
) -> None:
    rows = training_loops(store, contrastive.spec)["row"].to_numpy()
    steps = Steps(store, rows, contrastive, ALONE, labels=read_row_labels(store, rows, contrastive))
    lost = int(rows[steps.keys(5)[2][1]])
    whole = LoopStore.loop
    read = {(row["study_id"], row["label"]): row["value"] for row in store.labels().to_pylist()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoopStore, "loop", lambda self, row: 1 / 0 if row == lost else whole(self, row))
        patch.setattr("echojepa.training.loader.UNREADABLE", ZeroDivisionError)
        batch = steps[5]
    assert batch.labels is not None and len(batch.labels) == len(batch.clips) < 8
    kept = [loop for _, loop in steps.keys(5) if rows[loop] != lost]
    facts = store.table.take(rows[kept], columns=["study_id", "view", "sex"]).to_pylist()
    for told, fact in zip(batch.labels, facts, strict=True):
        values = {name: read[fact["study_id"], name] for name in ("lvef", "edv", "rvsp")}
        first = torch.tensor(report(values, fact["view"], fact["sex"]))
        assert torch.equal(told // WORDINGS * WORDINGS, first) and told.max() < len(PHRASES)
    drawn = torch.cat([steps[step].labels for step in range(2)]) % WORDINGS  # pyright: ignore
    assert set(drawn.flatten().tolist()) == set(range(WORDINGS))
    jepa = smoke(contrastive.data, tmp_path)
    assert read_row_labels(store, rows, jepa) is None and Steps(store, rows, jepa, ALONE)[0].labels is None


def test_microbatches_are_the_run_of_whole_batches(supervised: PretrainConfig, tmp_path: Path) -> None:
    # AdamW makes much of what rounding leaves of a gradient near 0: at this rate that is no part of a loss
    slow = replace(supervised.optim, lr=1e-8)
    few = replace(supervised, out=tmp_path / "whole", steps=2, optim=slow)
    pretrain(few, quiet)
    pretrain(replace(few, out=tmp_path / "parts", microbatch=3), quiet)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)
    whole, parts = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts"))
    assert [one["gradient"] for one in parts] == pytest.approx([one["gradient"] for one in whole], rel=1e-3)


def test_a_report_is_told_from_all_others_of_its_step_in_one_process(contrastive: PretrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"objective contrastive need all clips of a step in one process"):
        check_share(contrastive, World(0, 2, ALONE.device))


@pytest.mark.parametrize("recipe", [small_supervised, small_contrastive])
def test_a_data_set_without_a_label_is_refused_with_what_is_missing_and_what_to_do(
    recipe, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LoopStore.labels
    monkeypatch.setattr(LoopStore, "labels", lambda self: whole(self).filter(pc.field("label") != "rvsp"))
    with pytest.raises(
        ConfigError, match=r"two different values of rvsp; ingest .* with --labels .*, or choose"
    ):
        pretrain(tiny(recipe, dataset, tmp_path / "run"), quiet)


def test_an_impossible_label_is_refused_and_not_shown(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LoopStore.labels

    def shares(self: LoopStore):
        table = whole(self)
        return table.set_column(2, "value", pc.divide(table["value"], 100.0))

    monkeypatch.setattr(LoopStore, "labels", shares)
    with pytest.raises(ConfigError, match=r"a label lvef of .* lies outside 5 to 100 %; correct the table"):
        pretrain(tiny(small_supervised, dataset, tmp_path / "run"), quiet)


def test_a_run_keeps_an_encoder_alone_and_its_monitors_say_less(supervised: PretrainConfig) -> None:
    weights = load_weights(supervised.out).check()
    assert weights.origin.name == "supervised" and weights.predictor_shape is None
    assert load_backbone(supervised.out).name == "Supervised"
    first = read_lines(supervised.out / "metrics.jsonl")[0]
    assert "effective_rank" in first and "foresight" not in first
    with pytest.raises(UserError, match="objective jepa or videomae"):
        TrainedRun.read(supervised.out)


def test_jepa_starts_from_a_supervised_run_s_encoder_and_the_other_way_round(
    supervised: PretrainConfig, tmp_path: Path
) -> None:
    made = load_weights(supervised.out).encoder
    jepa = replace(
        smoke(supervised.data, tmp_path), architecture=supervised.architecture, spec=InputSpec(48, 4, 0.2),
        predictor_width=64, steps=1, batch_size=2,
    )  # fmt: skip
    started = build_objective(jepa)
    take_start(started, read_start(supervised.out), jepa.architecture)
    assert all(torch.equal(value, made[name]) for name, value in started.encoder.state_dict().items())
    pretrain(jepa, quiet)
    again = build_objective(supervised)
    take_start(again, read_start(jepa.out), supervised.architecture)
    found = rotation.find(jepa.out).path
    assert found
    kept = rotation.read(found, "model.encoder.")
    for name, value in again.encoder.state_dict().items():
        assert torch.equal(value, kept[f"model.encoder.{name}"])
