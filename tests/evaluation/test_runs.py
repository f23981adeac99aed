"""Several runs side by side: what is comparable alone, on the same items, over patients and over runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import predicted, store_results

from echojepa.config import EvaluateConfig, save_config
from echojepa.errors import UserError
from echojepa.evaluation.protocol.plans import Plan, PlanBlock
from echojepa.evaluation.results import read_settings, write_fingerprints
from echojepa.evaluation.runs import (
    Errors,
    RunsLine,
    averaged,
    compare_runs,
    crossed,
    lines_of,
    weighted,
)
from echojepa.evaluation.tables.over_runs import ranged, runs_markdown, runs_panels
from echojepa.tasks import LVEF, VIEW

PLAN = Plan(
    "small", (PlanBlock((LVEF,), ("ridge",)), PlanBlock((VIEW,), ("ridge",), fractions=(0.1,), seeds=(0, 1)))
)


def folder(out: Path, seed: int, plan: Plan = PLAN, epochs: int = 30, fingerprint: str = "one") -> Path:
    """Results of a run, as its command leaves them."""
    store_results(plan, out, seed)
    save_config(EvaluateConfig(plan="demo", data=(Path("d"),), out=out, backbones=("r",), epochs=epochs))
    write_fingerprints(out, [fingerprint])
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("runs")
    return [folder(base / "first", 0), folder(base / "second", 50)]


@pytest.fixture(scope="module")
def lines(two: list[Path]) -> list[RunsLine]:
    return compare_runs(two, 50)


def test_each_run_has_its_own_error_and_the_whole_is_their_mean(lines: list[RunsLine]) -> None:
    assert [(one.task, one.labels, one.encoder) for one in lines] == [
        ("lvef", 1.0, "JEPA"), ("lvef", 1.0, "random encoder"),
        ("view", 0.1, "JEPA"), ("view", 0.1, "random encoder"),
    ]  # fmt: skip
    lvef = lines[0]
    own = [np.abs((made := predicted(LVEF, seed)).values - made.truth) for seed in (0, 50)]
    assert [lvef.each[name][0] for name in ("first", "second")] == pytest.approx([e.mean() for e in own])
    assert lvef.error[0] == pytest.approx(np.mean(own))
    assert lvef.beside_first.keys() == {"second"}
    assert lvef.beside_first["second"][0] == pytest.approx((own[1] - own[0]).mean())
    assert all(one.error[1] <= one.error[0] <= one.error[2] for one in lines)


def test_results_of_before_there_were_workers_are_read(two: list[Path]) -> None:
    assert "workers" not in (two[0] / "config.json").read_text()
    assert read_settings(two[0]).workers == 0


def test_of_several_draws_of_labels_the_mean_error_of_an_item_counts(lines: list[RunsLine]) -> None:
    wrong = [100.0 * ((made := predicted(VIEW, n)).values.argmax(1) != made.truth) for n in (1, 2)]
    assert lines[2].each["first"][0] == pytest.approx(np.mean(wrong)) and lines[2].unit == "%"


def errors(values: list[float]) -> Errors:
    names = np.array([f"i{number}" for number in range(len(values))])
    return Errors(names, names, np.zeros(len(values)), np.array(values), "%")


def test_a_gain_is_of_each_run_on_its_own_start_and_positive_where_better() -> None:
    kinds = {
        "JEPA": {"a": errors([1.0, 2.0]), "b": errors([2.0, 3.0])},
        "random encoder": {"a": errors([2.0, 3.0]), "b": errors([5.0, 6.0])},
        "MAE": {"b": errors([0.0, 0.0])},
    }
    found = {one.encoder: one for one in lines_of(("lvef", "ridge", 1.0), kinds, ["a", "b"], 20)}
    assert found["JEPA"].gain and found["JEPA"].gain[0] == 2.0
    assert found["MAE"].gain and found["MAE"].gain[0] == 5.5 and not found["MAE"].beside_first
    assert found["random encoder"].gain is None


def test_an_interval_is_wider_where_runs_differ() -> None:
    rng = np.random.default_rng(0)
    patients, own = np.array([f"p{number}" for number in range(40)]), rng.normal(5, 1, 40)
    alike, apart = (
        crossed(np.stack([own, own]), patients, 300),
        crossed(np.stack([own - 2, own + 2]), patients, 300),
    )
    assert apart[0] == pytest.approx(alike[0])
    assert apart[2] - apart[1] > 3 * (alike[2] - alike[1])


def test_what_is_not_comparable_is_refused_and_the_sentence_says_why(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="different data"):
        compare_runs([two[0], folder(tmp_path / "a", 1, fingerprint="other")], 5)
    with pytest.raises(UserError, match=r"made with epochs 30, b with 2"):
        compare_runs([two[0], folder(tmp_path / "b", 1, epochs=2)], 5)
    with pytest.raises(UserError, match="no probe of the same task"):
        compare_runs([two[0], folder(tmp_path / "c", 1, Plan("p", (PlanBlock((LVEF,), ("linear",)),)))], 5)
    with pytest.raises(UserError, match="given twice"):
        compare_runs([two[0], two[0]], 5)
    store_results(PLAN, tmp_path / "d")
    with pytest.raises(UserError, match=r"config\.json"):
        compare_runs([two[0], tmp_path / "d"], 5)
    for other, why in (
        (errors([1.0, 2.0, 3.0]), "2 and 3, of which 2 are shared"),
        (replace(errors([1.0, 2.0]), truth=np.ones(2)), "or labels"),
    ):
        kinds = {"JEPA": {"a": {0: errors([1.0, 2.0])}, "b": {0: other}}}
        with pytest.raises(UserError, match=why):
            averaged(("lvef", "ridge", 1.0), kinds)


def test_the_table_and_the_figure_have_every_line(lines: list[RunsLine]) -> None:
    text = runs_markdown(lines)
    assert text.count("| lvef | ridge | 100 % | JEPA | 2 | ") == 1 and len(text.splitlines()) == 2 + len(
        lines
    )
    assert ranged(None) == "" and ranged((1.0, 0.5, 2.0), signed=True) == "+1.00 (+0.50, +2.00)"
    assert runs_panels(lines).startswith("<svg")


def test_of_a_weighted_sum_the_runs_of_each_part_are_drawn_by_themselves() -> None:
    """Runs off by 0 and 2, and by 2 and 0: their sum is 2 run by run, and 0 to 4 where runs have no order."""
    patients = np.array(["a", "a", "b"])
    one = np.array([[0.0] * 3, [2.0] * 3])
    assert crossed(one + one[::-1], patients, 200) == (2, 2, 2)
    assert weighted([(1.0, one), (1.0, one[::-1])], patients, 200) == (2, 0, 4)
    assert weighted([(-1.0, one), (2.0, one + 3)], patients, 200)[0] == pytest.approx(7)
    assert weighted([(1.0, one)], patients, 200) == crossed(one, patients, 200)
