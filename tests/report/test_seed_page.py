"""The project page redrawn: every picture and table in its order, and a sentence for what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows import row

from echojepa.config import Architecture, EvaluateConfig, InputSpec, PretrainConfig
from echojepa.evaluation.results import ResultRow
from echojepa.evaluation.tables.page import SKETCHES
from echojepa.report.card.records import Records
from echojepa.report.page import code
from echojepa.report.seed_page import PagePart, further_tables, page_parts
from echojepa.weights.folder import Origin, WeightsCard

CARD = WeightsCard(
    Architecture("nano", patch=12), InputSpec(size=48), None, Origin("jepa", 2, 64), "0", "s", None
)
ORDER = [
    "EchoJEPA Architecture", "Multi-View Attentive Probing", "Downstream Evaluation Tasks",
    "Model Configurations", "Latent against pixel prediction", "LVEF at each site",
    "Views by share of labels",
    "RVSP from several views", "Adults to children", "Robustness to acoustic perturbations",
    "Attention Visualization", "Latent Space Organization",
]  # fmt: skip
"""Of the page, theirs by its own titles where ours have none."""


def parts(rows: list[ResultRow], children: str = "") -> dict[str, PagePart]:
    run, settings = Path("run"), {"out": Path("r"), "backbones": ("run",), "children": children}
    records = Records(
        weights=CARD, pretraining=PretrainConfig(run, run), steps=[], parameters=9, name="JEPA",
        fingerprint="f", split_seed=0, loops=[], rejected={}, parts=(), units={}, synthetic="all", rows=rows,
        settings=EvaluateConfig(plan="demo", data=(run,), **settings),
    )  # fmt: skip
    return {part.title: part for part in page_parts(records, {})}


def test_the_page_s_order_is_kept_and_each_part_says_what_theirs_is() -> None:
    made = parts([row()])
    assert list(made) == ORDER
    assert all(part.theirs or "Theirs" in part.says for part in made.values())
    assert all(part.ours or part.lacks or part.link for part in made.values()), "a part without ours says why"


@pytest.mark.parametrize("plan", [plan for plan, sketch in SKETCHES.items() if sketch.theirs])
def test_a_table_without_ours_names_the_command_that_makes_it(plan: str) -> None:
    part = parts([row(metric="RMSE")])[SKETCHES[plan].title]
    assert part.ours is None and part.theirs and part.theirs.rows
    assert f"`echojepa evaluate {plan} --data DATA" in part.lacks


def test_a_column_without_ours_is_named_and_none_where_all_are_there() -> None:
    title = "Latent against pixel prediction"
    assert "No number of ours for view accuracy" in parts([row()])[title].lacks
    both = [row(), row(task="view", metric="accuracy")]
    whole = parts(both)[title]
    assert not whole.lacks and whole.ours and whole.ours.columns == ("lvef MAE", "view accuracy")


def test_backbones_that_only_the_page_has_are_named_once() -> None:
    lacks = parts([row(), row(backbone="MAE")])["Model Configurations"].lacks
    assert "for EchoPrime, PanEcho, here" in lacks and "EchoMAE" not in lacks
    every = [row(backbone=name) for name in ("EchoPrime", "PanEcho", "MAE (small-mae)")]
    assert not parts(every)["Model Configurations"].lacks


def test_the_children_s_site_is_in_transfer_alone() -> None:
    made = parts([row(trained_on="a", site="a"), row(trained_on="a", site="kids")], "kids")
    sites, children = made["LVEF at each site"].ours, made["Adults to children"].ours
    assert sites and sites.columns == ("a (internal)",)
    assert children and children.columns == ("kids (external, trained at a)",)


def test_tables_that_the_page_has_none_of_stand_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = [row(metric="coverage of 90 % intervals")]
    assert [table.title for table in further_tables(tmp_path_factory.mktemp("r"), rows, "")] == [
        "Prediction intervals of LVEF"
    ]


def test_between_backticks_is_code_and_the_rest_is_escaped() -> None:
    assert code("run `a <b>` & look") == "run <code>a &lt;b&gt;</code> &amp; look"
