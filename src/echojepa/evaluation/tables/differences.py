"""Backbone against backbone, from `comparisons.parquet`: a table of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from echojepa.evaluation.results import ALL_SITES
from echojepa.evaluation.statistics.intervals import in_brackets
from echojepa.evaluation.tables.grids import Place, Table, grid

Pair = dict[str, Any]
"""A row of `comparisons.parquet`."""


def difference_table(pairs: Sequence[Pair]) -> Table | None:
    """Differences on unperturbed loops of all sites, by share of labels; None where there are none."""
    found: dict[Place, str] = {}
    for pair in pairs:
        if pair["perturbation"] or not pair["trained_on"] == pair["site"] == ALL_SITES:
            continue
        share = "" if pair["label_fraction"] == 1.0 else f", {100 * pair['label_fraction']:g} % of labels"
        row = f"{pair['one']} minus {pair['other']}, {pair['probe']}"
        found[row, f"{pair['task']} {pair['metric']}{share}"] = cell(pair)
    if not found:
        return None
    says = (
        "Difference on the same patients [95 % interval by bootstrap over them], and the p-value of a paired "
        "permutation test after Holm's correction for all comparisons of that task and probe."
    )
    return Table("Backbone against backbone", says, grid(found), grid({}))


def cell(pair: Pair) -> str:
    """A difference with its interval and corrected p-value."""
    p = "p < 0.001" if pair["p_holm"] < 0.001 else f"p {pair['p_holm']:.3f}"
    return f"{pair['difference']:+.2f}{in_brackets(pair['low'], pair['high'], 2, signed=True)}, {p}"
