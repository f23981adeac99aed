"""Results, probes and predictions that were cut or edited: a sentence each, or made again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from echojepa.errors import ConfigError, UserError
from echojepa.evaluation.features.backbones import BackboneFacts
from echojepa.evaluation.features.embed import FeatureTable
from echojepa.evaluation.probes.heads import HeadProbe
from echojepa.evaluation.probes.predictions import Predictions
from echojepa.evaluation.probes.stored import (
    CARD,
    TENSORS,
    ProbeCard,
    StoredProbe,
    described,
    read_predictions,
    write_predictions,
)
from echojepa.evaluation.protocol.plans import Condition
from echojepa.evaluation.results import RESULTS, RowFacts, read_results, write_results
from echojepa.evaluation.statistics.intervals import Estimate
from echojepa.files.records import write_record
from echojepa.files.tables import TableError, read_parquet, write_parquet
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.weights.tensors import CheckpointError, save_tensors

FACTS = BackboneFacts(backbone="mine", weights="abc", parameters=5, tokens=8, embed_dim=8)


def changed(file: Path, name: str, value: Any) -> None:
    """A Parquet file with a column of other values, or without it."""
    table = pq.read_table(file)
    place = table.column_names.index(name)
    less = table.remove_column(place)
    pq.write_table(less if value is None else less.append_column(name, [[value] * table.num_rows]), file)


def spoilt_page(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[40:60] = bytes(20)
    file.write_bytes(content)


SPOIL: dict[str, Callable[[Path], None]] = {
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "text": lambda file: file.write_text("a,b\n1,2\n"),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "a page changed": spoilt_page,
}


def row(value: float) -> Any:
    facts = RowFacts(
        backbone="mine", weights="abc", parameters=5, tokens=8, embed_dim=8, task="lvef", probe="linear",
        trained_on="all", site="all", label_fraction=1.0, perturbation="", severity=0, views="", seed=0,
        loops=9,
        converged=True, note="",
    )  # fmt: skip
    return facts.row("MAE", "%", Estimate(value, 1.0, 3.0, 9, 9))


@pytest.mark.parametrize("kind", [*SPOIL, "a column less", "words for numbers"])
def test_damaged_results_are_a_sentence(kind: str, tmp_path: Path) -> None:
    write_results(tmp_path / RESULTS, [row(float(n)) for n in range(50)])
    assert len(read_results(tmp_path)) == 50
    file = tmp_path / RESULTS
    edits = {"a column less": ("patients", None), "words for numbers": ("value", "many")}
    if kind in edits:
        changed(file, *edits[kind])
    else:
        SPOIL[kind](file)
    with pytest.raises(UserError, match=r"results\.parquet"):
        read_results(tmp_path)


def stored(folder: Path) -> StoredProbe:
    """A probe's folder as training leaves it."""
    shape = ProbeShape((2, 2, 2), 8, 1, depth=0)
    model = Probes(1, shape, Standardiser.identity(8, 8), Scale(), torch.Generator())
    folder.mkdir(exist_ok=True)
    probe = HeadProbe(model, 4)
    save_tensors(folder / TENSORS, probe.tensors())
    card = ProbeCard(
        backbone="mine", weights="abc", parameters=5, tokens=8, embed_dim=8, task="lvef", unit="%",
        classes=(), probe="linear", trained_on="all", fraction=1.0, seed=0, calibrated=False, grid=(2, 2, 2),
        readout=described(probe), chosen={"epoch": 3}, converged=True, history={"validation": [1.0, 2.0]},
    )  # fmt: skip
    write_record(folder / CARD, card)
    return StoredProbe(folder)


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    probe = stored(tmp_path)
    assert probe.card().history == {"validation": [1.0, 2.0]} and probe.card().grid == (2, 2, 2)
    assert isinstance(probe.readout(), HeadProbe)


@pytest.mark.parametrize("kind", ["cut", "empty", "a list", "an entry less", "words for numbers", "deep"])
def test_a_damaged_card_of_a_probe_is_a_sentence(kind: str, tmp_path: Path) -> None:
    probe, file = stored(tmp_path), tmp_path / CARD
    whole = file.read_text()
    facts = json.loads(whole)
    deep = json.loads(whole)
    deep["readout"]["shape"]["depth"] = 10**9
    file.write_text({
        "cut": whole[: len(whole) // 2], "empty": "", "a list": "[]", "deep": json.dumps(deep),
        "an entry less": json.dumps({name: value for name, value in facts.items() if name != "grid"}),
        "words for numbers": json.dumps(facts | {"embed_dim": "wide"}),
    }[kind])  # fmt: skip
    with pytest.raises(UserError, match=r"probe\.json"):
        probe.readout()


@pytest.mark.parametrize("kind", ["cut", "another shape", "a tensor less"])
def test_damaged_tensors_of_a_probe_are_a_sentence(kind: str, tmp_path: Path) -> None:
    probe, file = stored(tmp_path), tmp_path / TENSORS
    tensors = probe.readout().tensors()
    if kind == "cut":
        os.truncate(file, 100)
    elif kind == "another shape":
        save_tensors(file, tensors | {"linear.weight": torch.zeros(1, 3, 3)})
    else:
        save_tensors(file, {name: value for name, value in tensors.items() if "linear" not in name})
    with pytest.raises(CheckpointError, match=r"probe\.safetensors"):
        probe.readout()


@pytest.mark.parametrize("kind", [*SPOIL, "a column less"])
def test_damaged_predictions_count_as_not_made(kind: str, tmp_path: Path) -> None:
    probe = stored(tmp_path)
    names = np.array([f"i{n}" for n in range(60)])
    made = Predictions(
        items=names, patients=names, splits=np.array(["test"] * 60), sites=names, truth=np.arange(60.0),
        classes=(), values=np.arange(60.0),
    )  # fmt: skip
    file = probe.predictions_file(Condition(), "all")
    write_predictions(file, made, probe.card(), Condition())
    assert probe.predictions(Condition()) is not None
    if kind == "a column less":
        changed(file, "truth", None)
    else:
        SPOIL[kind](file)
    with pytest.warns(UserWarning, match="they are made again"):
        assert read_predictions(file) is None
    with pytest.warns(UserWarning, match="they are made again"):
        assert probe.predictions(Condition()) is None


@pytest.mark.parametrize("kind", SPOIL)
def test_a_damaged_part_of_a_table_of_features_is_made_again(kind: str, tmp_path: Path) -> None:
    keys = {name: [f"{name}{n}" for n in range(60)] for name in ("study_id", "patient_id", "split", "view")}
    loops = [f"loop{n}" for n in range(60)]
    table = FeatureTable(tmp_path, {})
    table.take(pa.table({"loop_id": loops} | keys | {"embedding": list(np.random.rand(60, 4))}))
    table.commit()
    SPOIL[kind](tmp_path / "part-000000.parquet")
    again = FeatureTable(tmp_path, {})
    with pytest.warns(UserWarning, match="embedded again"):
        again.learn()
    assert not again.loops and not list(tmp_path.glob("part-*"))


def test_a_change_that_no_decoder_sees_is_seen_by_the_checksum(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    write_parquet(file, pa.table({"value": np.random.default_rng(0).random(200)}))
    whole, right = file.read_bytes(), pq.read_table(file)
    for place in range(200, 400, 20):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert not pq.read_table(file).equals(right)
        with pytest.raises(TableError, match="damaged"):
            read_parquet(file)


def test_a_table_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="does not exist"):
        read_parquet(tmp_path / "none.parquet")
    with pytest.raises(ConfigError, match="does not exist"):
        StoredProbe(tmp_path).card()
    assert replace(FACTS, tokens=9).tokens == 9
