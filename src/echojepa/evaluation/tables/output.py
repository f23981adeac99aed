"""What a plan leaves for people beside its rows: `tables.md`, and a figure where it perturbed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from echojepa.evaluation.results import ResultRow
from echojepa.evaluation.tables.chosen import perturbed_probe
from echojepa.evaluation.tables.curves import perturbation_curves, perturbation_panels
from echojepa.evaluation.tables.differences import Pair, difference_table
from echojepa.evaluation.tables.grids import as_markdown
from echojepa.evaluation.tables.page import page_tables
from echojepa.files.durable import write_text


def write_tables(
    out: Path, rows: Sequence[ResultRow], pairs: Sequence[Pair], children: str, synthetic: bool
) -> None:
    """Write the tables, and the figure where there are curves; `children` is the paediatric site's name."""
    tables = [*page_tables(rows, children), difference_table(pairs)]
    write_text(out / "tables.md", as_markdown([table for table in tables if table], synthetic))
    figure, _ = perturbation_figure(out, rows)
    if figure:
        write_text(out / "perturbations.svg", figure)


def perturbation_figure(results: Path, rows: Sequence[ResultRow]) -> tuple[str, str]:
    """Error of LVEF by severity as SVG, and the kind of probe it is of; empty if nothing was perturbed."""
    probe = perturbed_probe(results, rows)
    curves = perturbation_curves(rows, probe)
    return (perturbation_panels(curves, "LVEF MAE, points") if curves else ""), probe
