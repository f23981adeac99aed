"""Claims about what dots of the maps are coloured by, and about studies' features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from echojepa.data.store.loop_store import LoopStore
from echojepa.files.tables import write_parquet
from echojepa.report.atlas import GREY, Mapped, atlas
from echojepa.report.embedded import UNKNOWN, by_study, classes_of, islands_of, read_embedded, thirds


@pytest.fixture(scope="module")
def results(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of every loop of the data set, drawn at random, and of one that it does not hold."""
    out = tmp_path_factory.mktemp("results")
    rows = LoopStore.open(dataset).metadata(["loop_id", "view", "patient_id"]).to_pylist()
    rows.append({"loop_id": "elsewhere", "view": "A4C", "patient_id": "nobody"})
    vectors = np.random.default_rng(0).normal(size=(len(rows), 6)).tolist()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    (out / "embeddings").mkdir()
    table = pa.table(columns | {"backbone": ["JEPA"] * len(rows), "embedding": vectors})
    write_parquet(out / "embeddings" / "jepa.parquet", table)
    return out


def test_thirds_hold_as_many_each_and_say_what_is_not_stated() -> None:
    words = thirds([10, 20, 30, 40, 50, 60, None], "%").tolist()
    assert words == [
        *["1st third (to 27 %)"] * 2,
        *["2nd third (27 to 43 %)"] * 2,
        *["3rd third (above 43 %)"] * 2,
        UNKNOWN,
    ]
    assert thirds([None, None], "%").tolist() == [UNKNOWN] * 2


def test_a_fact_that_is_the_same_for_all_colours_nothing() -> None:
    facts = [{"site": "a", "manufacturer": "x", "age": age, "lvef": 50.0} for age in (40, 50, 60)]
    assert list(classes_of(facts)) == ["age"]


def test_a_study_is_the_mean_of_its_loops(dataset: Path, results: Path) -> None:
    store = LoopStore.open(dataset)
    loops = read_embedded(results, store)
    studies = by_study(loops)["JEPA"]
    owner = dict(
        zip(
            *(store.metadata(["loop_id", "study_id"])[n].to_pylist() for n in ("loop_id", "study_id")),
            strict=True,
        )
    )
    one, study = loops["JEPA"], studies.items[2]
    mine = [number for number, loop in enumerate(one.items) if owner.get(loop) == study]
    np.testing.assert_allclose(studies.vectors[2], one.vectors[mine].mean(0), rtol=1e-5)
    assert len(studies.items) == len(set(owner.values()))
    labels = {row["study_id"]: row["value"] for row in store.labels().to_pylist() if row["label"] == "lvef"}
    low = [
        labels[name]
        for name, word in zip(studies.items, studies.classes["LVEF"], strict=True)
        if word.startswith("1st")
    ]
    rest = [value for value in labels.values() if value not in low]
    assert max(low) < min(rest)
    assert {"view", "LVEF"} <= set(islands_of(loops)) and "view" not in islands_of({"JEPA": studies})


def test_a_dot_has_a_still_and_a_colour_by_every_fact(dataset: Path, results: Path) -> None:
    """A loop that the data set does not hold has no dot, one without a label is grey."""
    store = LoopStore.open(dataset)
    one = read_embedded(results, store)["JEPA"]
    found = atlas(store, {"JEPA": Mapped(one, one.vectors[:, :2].astype(float))}, films=2)
    assert found is not None and len(found["dots"]) == len(one.items) - 1 == len(found["maps"]["JEPA"])
    assert sum(bool(dot["film"]) for dot in found["dots"]) == 2
    for fact, colouring in found["colourings"].items():
        words = set(one.classes[fact].tolist()) - {UNKNOWN}
        assert set(colouring["key"]) - {UNKNOWN} == words and len(colouring["dots"]) == len(found["dots"])
        assert GREY not in colouring["dots"]
