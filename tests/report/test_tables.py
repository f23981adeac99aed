"""The project page's tables from rows, beside the paper's."""

from __future__ import annotations

import csv
from importlib import resources
from itertools import product

from rows import row

from echojepa.evaluation.results import ResultRow
from echojepa.evaluation.tables.curves import perturbation_curves, perturbation_panels
from echojepa.evaluation.tables.grids import as_markdown
from echojepa.evaluation.tables.page import SKETCHES, page_tables
from echojepa.report.html import result_tables


def rows() -> list[ResultRow]:
    made = []
    for name, shift in (("JEPA", 0.0), ("constant", 4.0)):
        made.append(row(backbone=name, value=6 + shift))
        made.append(row(backbone=name, task="view", metric="accuracy", value=80 - shift))
        for trained, site in (("a", "a"), ("a", "b"), ("b", "b"), ("a", "kids"), ("kids", "kids")):
            made.append(row(backbone=name, trained_on=trained, site=site, value=7 + shift))
        for fraction, seed in product((0.01, 0.1), (0, 1, 2)):
            made.append(row(backbone=name, task="view", metric="accuracy", label_fraction=fraction, seed=seed,
                            value=50 + 10 * seed))  # fmt: skip
        for kind, severity in product(("depth-code", "shadow-code"), (1, 2, 3)):
            made.append(row(backbone=name, perturbation=kind, severity=severity, value=6.6 + shift))
        made.append(row(backbone=name, task="rvsp", views="A4C + PSAX-AV"))
        made.append(row(backbone=name, metric="coverage of 90 % intervals"))
        made.append(row(backbone=name, group="a step of gain", metric="features moved, in 5 points of LVEF"))
        made.append(row(backbone=name, group="sex F", value=99.0))
        made.append(row(backbone=name, group="A2C, predicted >= 50", metric="coverage of 90 % intervals",
                        value=99.0))  # fmt: skip
    return made


def test_every_table_of_the_page_is_drawn_with_theirs_beside_it() -> None:
    tables = page_tables(rows(), children="kids")
    assert [table.title for table in tables] == [sketch.title for sketch in SKETCHES.values()]
    assert all(table.ours.rows for table in tables)
    assert [sketch.title for sketch in SKETCHES.values() if sketch.theirs] == [
        table.title for table in tables if table.theirs.rows
    ]
    text = as_markdown(tables, synthetic=True)
    assert "none of our numbers is clinical" in text
    assert "synthetic" not in as_markdown(tables, synthetic=False)
    assert text.count("theirs, arXiv 2602.02603") == 6 and "| JEPA, attentive | 6.00 [5.0, 7.0] |" in text


def test_a_cell_says_where_a_probe_was_trained_and_children_are_apart() -> None:
    tables = {table.title: table.ours for table in page_tables(rows(), children="kids")}
    sites = tables["LVEF at each site"].columns
    assert sites == ("a (internal)", "b (external, trained at a)", "b (internal)")
    assert tables["Adults to children"].columns == ("kids (external, trained at a)", "kids (internal)")
    assert tables["Views by share of labels"].columns == ("1 %", "10 %", "100 %"), "whatever came first"


def test_of_several_seeds_their_mean_is_shown() -> None:
    whole = row(backbone="JEPA", task="view", metric="accuracy", label_fraction=0.01, seed=None, value=60.0)
    tables = {table.title: table.ours for table in page_tables([*rows(), whole])}
    assert tables["Views by share of labels"].rows["JEPA, attentive"]["1 %"] == "60.00 [5.0, 7.0]"


def test_a_subgroup_s_number_stands_in_no_table_of_everybody() -> None:
    assert "99.00" not in as_markdown(page_tables(rows()), synthetic=True)


def test_the_report_s_tables_are_of_everybody() -> None:
    (table,) = result_tables([row(backbone="constant"), row(backbone="constant", group="sex F", value=99.0)])
    assert [cell.value for cell in table["body"][0][2]] == [6.0]


def test_what_was_not_perturbed_is_in_no_table_of_perturbations() -> None:
    tables = {t.title: t.ours for t in page_tables([*rows(), row(probe="linear")])}
    assert "JEPA, linear" in tables["Latent against pixel prediction"].rows
    assert "JEPA, linear" not in tables["Robustness to acoustic perturbations"].rows
    plain = [one for one in rows() if not one.perturbation]
    assert "Robustness to acoustic perturbations" not in {table.title for table in page_tables(plain)}


def test_curves_begin_unperturbed() -> None:
    curves = perturbation_curves(rows(), "attentive")
    assert set(curves) == {"depth-code", "shadow-code"} and set(curves["depth-code"]) == {"JEPA", "constant"}
    assert [point[:2] for point in curves["depth-code"]["JEPA"]] == [(0, 6), (1, 6.6), (2, 6.6), (3, 6.6)]
    drawn = perturbation_panels(curves, "MAE")
    assert drawn.startswith("<svg") and drawn == perturbation_panels(curves, "MAE")


def test_a_constant_has_no_rank_in_degradation() -> None:
    tables = {table.title: table.ours for table in page_tables(rows())}
    table = tables["Robustness to acoustic perturbations"].rows
    assert table["JEPA, attentive"]["average degradation, %"] == "+10.0"
    assert table["constant"]["average degradation, %"] == "not ranked"


def test_the_paper_s_numbers_are_the_page_s() -> None:
    text = resources.files("echojepa.evaluation.tables").joinpath("paper_results.csv").read_text("utf-8")
    page = [r for r in csv.DictReader(text.splitlines()) if r["source"] == "project page"]
    assert len(page) == 58 and {r["plan"] for r in page} == {
        name for name, sketch in SKETCHES.items() if sketch.theirs
    }
    (one,) = [r for r in page if (r["model"], r["task"], r["label_percent"]) == ("EchoJEPA-G", "view", "1")]
    assert one["value"] == "78.6"
