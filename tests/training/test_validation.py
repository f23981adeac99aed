"""Claims about the reading of validation patients and the best checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from echojepa.config import ConfigError, InputSpec, PretrainConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.files.records import read_plain
from echojepa.recipes import smoke
from echojepa.training import pretrain as module
from echojepa.training.journal import read_lines
from echojepa.training.pretrain import pretrain
from echojepa.training.validation import Reading, Validation, make_validation, read_loops, swing
from echojepa.vocabulary import Split
from echojepa.weights.folder import load_weights

CPU = torch.device("cpu")


def small(dataset: Path, out: Path) -> PretrainConfig:
    recipe = smoke(dataset, out)
    return replace(recipe, spec=InputSpec(64, 2, 0.2), batch_size=2, steps=4, validate=24)


class Told(nn.Module):
    """An encoder that is told the answer: the clip's mean brightness stands for the view."""

    def forward(self, clips: Tensor) -> Tensor:
        grey = clips.flatten(1).mean(1)
        return grey.view(-1, 1, 1).expand(-1, 64, 2)


def test_only_training_and_validation_patients_are_read(
    dataset: Path, store: LoopStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    whole = LoopStore.loop
    monkeypatch.setattr(LoopStore, "loop", lambda self, row: read.append(row) or whole(self, row))
    make_validation(store, small(dataset, tmp_path), CPU)
    splits = store.metadata(["split"])["split"].to_pylist()
    assert {splits[row] for row in read} == {Split.TRAIN, Split.VAL}


def test_an_encoder_that_tells_views_apart_reads_them_and_one_that_does_not_is_a_constant(
    dataset: Path, store: LoopStore, tmp_path: Path
) -> None:
    config = small(dataset, tmp_path)
    reader = Validation(store, config, CPU)
    for loops in (reader.train, reader.val):
        loops.views[:] = np.where(np.arange(len(loops.views)) % 3 == 0, "A2C", "A4C")
        loops.lvef[:] = np.nan
        for clip, view in zip(loops.clips, loops.views, strict=True):
            clip[:] = 200 if view == "A2C" else 20
    assert reader.read(Told()) == Reading(0.0, None, 0.0)
    for clip in (*reader.train.clips, *reader.val.clips):
        clip[:] = 20
    assert reader.read(Told()).score == pytest.approx(1)


def test_features_are_mean_and_deviation_over_time_of_each_quarter() -> None:
    features = torch.randn(3, 4 * 16, 5, generator=torch.Generator().manual_seed(0))
    quarters = features.view(3, 4, 2, 2, 2, 2, 5).mean((3, 5))  # time, row of quarters, column
    expected = torch.stack([quarters.mean(1), quarters.std(1, correction=0)], 1)
    found = swing(features, (4, 4, 4)).view(3, 2, 5, 2, 2)
    torch.testing.assert_close(found, expected.permute(0, 1, 4, 2, 3))


def test_loops_are_evenly_spaced_over_a_split_and_lvef_is_of_apical_ones(
    dataset: Path, store: LoopStore, tmp_path: Path
) -> None:
    config = small(dataset, tmp_path)
    every = read_loops(store, Split.TRAIN, 10_000, config)
    few = read_loops(store, Split.TRAIN, 5, config)
    assert len(few.views) == 5 < len(every.views)
    assert torch.equal(few.clips[[0, -1]], every.clips[[0, -1]])
    known = np.isfinite(every.lvef)
    assert known.any() and set(every.views[known]) <= {"A4C", "A2C"}


def test_the_encoder_that_reads_best_is_kept_and_recorded(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.9, 0.5, 0.7, 0.4, 0.6])
    kept = []

    def told(*given: object) -> object:
        def read(encoder: nn.Module) -> Reading:
            kept.append({name: value.clone() for name, value in encoder.state_dict().items()})
            return Reading(None, None, next(scores))

        return read

    monkeypatch.setattr(module, "make_validation", told)
    config = small(dataset, tmp_path)
    pretrain(config)
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["validation"]["score"] for line in lines] == [0.9, 0.5, 0.7, 0.4]
    assert read_plain(tmp_path / "best" / "validation.json")["step"] == 3
    best = load_weights(tmp_path / "best")
    assert best.origin.steps == 3 and all(torch.equal(best.encoder[name], kept[3][name]) for name in kept[3])
    assert load_weights(tmp_path).origin.steps == 4


def test_a_data_set_without_labels_or_validation_patients_is_refused_in_words(
    dataset: Path, store: LoopStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(dataset, tmp_path)
    reader = Validation(store, config, CPU)
    for loops in (reader.train, reader.val):
        loops.views[:], loops.lvef[:] = "", np.nan
    with pytest.raises(ConfigError, match="has no labels for --validate"):
        reader.read(Told())
    monkeypatch.setattr(LoopStore, "rows_where", lambda *given, **values: [])
    with pytest.raises(ConfigError, match="no cine loops of validation patients"):
        make_validation(store, config, CPU)
