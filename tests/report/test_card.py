"""The model card: every item of both checklists, what records say, and what none can say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from rows import row

from echojepa.config import LABELLED, NO_MASK, EvaluateConfig, PretrainConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.report.card.card import model_card
from echojepa.report.card.checklists import CLAIM, TRIPOD, headings
from echojepa.report.card.records import Records, centre, middle, read_records
from echojepa.report.card.sections import as_markdown
from echojepa.weights.folder import Origin, WeightsCard

ROWS = [row(probe="ridge"), row(backbone="constant", weights="", probe="constant", value=9.0)]


@pytest.fixture(scope="module")
def records(dataset: Path) -> Records:
    pretraining = PretrainConfig(dataset, Path("run"), steps=2)
    weights = WeightsCard(
        pretraining.architecture,
        pretraining.spec,
        None,
        Origin("jepa", 2, 64),
        "0",
        "digest of the file",
        None,
    )
    settings = EvaluateConfig(plan="demo", data=(dataset,), out=Path("r"), backbones=("run",))
    steps = [{"step": 0, "loss": 0.5, "seconds": 1.5}, {"step": 1, "loss": 0.25, "seconds": 1.5}]
    store = LoopStore.open(dataset)
    return read_records(store, weights, pretraining, steps, (9, "w"), ROWS, settings)


def test_every_item_of_both_checklists_is_answered_by_one_section(records: Records) -> None:
    assert len(TRIPOD) == 52 and len(CLAIM) == 44
    sections = model_card(records)
    for known, asked in ((TRIPOD, "tripod"), (CLAIM, "claim")):
        answered = [number for section in sections for number in getattr(section, asked).split()]
        assert sorted(answered) == sorted(known)
    assert all(section.told or section.missing for section in sections)
    assert headings(TRIPOD, ["3a", "3b", "4"]) == "3a, 3b Background; 4 Objectives"


def test_the_card_says_what_the_records_say(records: Records, dataset: Path) -> None:
    text = as_markdown(model_card(records))
    fingerprint = LoopStore.open(dataset).fingerprint()
    for said in (
        fingerprint, "digest of the file", "by the plan 'demo'", "Loss 0.500 at the start, 0.250 at the end",
        "The steps took 3 s", "| lvef | JEPA | ridge | MAE | 6.00 % [5.00, 7.00] | 30 |",
        "| lvef | constant | constant | MAE | 9.00 %", "another one, not known",
    ):  # fmt: skip
        assert said in text
    rows = LoopStore.open(dataset).metadata(["patient_id", "split"]).to_pylist()
    counts = [len({r["patient_id"] for r in rows if r["split"] == name}) for name in ("train", "val", "test")]
    assert f"| patients | {counts[0]} | {counts[1]} | {counts[2]} |" in text


@pytest.mark.parametrize("objective", get_args(get_type_hints(PretrainConfig)["objective"]))
def test_the_card_of_every_objective_says_what_it_learned_from(records: Records, objective: Any) -> None:
    labelled = objective in LABELLED
    masks = (NO_MASK,) if labelled else records.pretraining.masks
    pretraining = replace(records.pretraining, objective=objective, masks=masks)
    text = as_markdown(model_card(replace(records, pretraining=pretraining)))
    assert (f"pretrained with labels by the objective '{objective}'" in text) == labelled
    assert (f"pretrained without labels by the objective '{objective}'" in text) != labelled
    assert ("loops of training patients with their labels" in text) == labelled
    assert ("hidden tubelets" in text) != labelled and ("labels of training patients" in text) == labelled


def test_a_phantom_s_card_says_that_no_figure_is_clinical_and_asks_no_ethics(records: Records) -> None:
    text = as_markdown(model_card(records))
    assert "none may be cited as such" in text and "no patient took part" in text
    assert "the ethics committee" not in text and "funding and what funders decided" in text


def test_a_card_of_patients_names_what_no_record_can_say_and_who_must(records: Records) -> None:
    text = as_markdown(model_card(replace(records, synthetic="none")))
    assert "synthetic phantom" not in text and "no patient took part" not in text
    asked = {
        "the ethics committee, and consent or its waiver": "the authors of the study",
        "how far two readers, or one reader twice, agree": "the people who collected the data",
    }
    for what, who in asked.items():
        assert f"**Not on record: {what}.** To be supplied by {who}." in text


def test_what_is_not_of_this_encoder_is_not_told_as_its_own(records: Records) -> None:
    text = as_markdown(model_card(replace(records, name="")))
    assert "no row for this encoder" in text and "| JEPA |" not in text


def test_a_probe_no_better_than_the_constant_is_named(records: Records) -> None:
    assert "Not clearly better" not in as_markdown(model_card(records))
    weak = replace(records, rows=[row(probe="ridge", hi=9.5), ROWS[1]])
    assert "lvef by ridge, MAE" in as_markdown(model_card(weak))


def test_of_few_patients_nothing_but_their_number_is_told() -> None:
    assert middle([50.0] * 19) == centre([50.0] * 19) == "of 19, too few to report"
    assert middle([50.0] * 20) == "50 [50, 50]" and centre([50.0] * 20) == "50.0, SD 0.0, of 20"
