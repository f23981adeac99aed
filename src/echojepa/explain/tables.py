"""The numbers of maps as a page in Markdown: a table a source, a column a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from echojepa.evaluation.statistics.intervals import in_brackets
from echojepa.explain.loops import ListedLoop, synthetic_words
from echojepa.explain.shares import AttentionRow

HEAD = """# Where maps lie

The middle clip of each of {loops} loops of {patients} patient(s). Value [95 % interval, patients resampled].
{synthetic}

Enrichment is the share of a map inside a region, divided by the region's share of the area; 1 means no
preference. The area is the whole image for the sector, and the sector for all other regions. "Own minus
others'" subtracts the enrichment of the same map in the same region of other patients. It shows whether a map
follows the patient's own heart, not the usual place of hearts. "Minus its start" is the difference from the
encoder's random start, loop by loop. If its interval includes 0, no effect of training is shown.
"""
SHOWN = {"enrichment": "{region}", "enrichment, own minus others'": "{region}: own minus others'"}
"""Measures of regions that the page shows, and how a line of each is called; the tables beside it have
all."""
HIDDEN = ("share", "area", "enrichment, others' regions")


def cell(row: AttentionRow) -> str:
    """A number with its interval, where several patients give it one."""
    digits = 1 if row.unit == "%" else 2
    return f"{row.value:.{digits}f}{in_brackets(row.lo, row.hi, digits)}"


def line_of(row: AttentionRow) -> str:
    """What a line of the page is called."""
    if row.measure in SHOWN:
        return SHOWN[row.measure].format(region=row.region)
    name = f"{row.region}, {row.measure}" if row.region else row.measure
    return f"{name} ({row.unit})" if row.unit else name


def source_table(rows: Sequence[AttentionRow]) -> list[str]:
    """A source's table."""
    backbones = list(dict.fromkeys(row.backbone for row in rows))
    areas = {row.region: f"{row.value:.1f} %" for row in rows if row.measure == "area"}
    cells: dict[str, dict[str, str]] = {}
    area_of: dict[str, str] = {}
    for row in rows:
        if row.measure not in HIDDEN:
            cells.setdefault(line_of(row), {})[row.backbone] = cell(row)
            area_of[line_of(row)] = areas.get(row.region, "") if row.measure == "enrichment" else ""
    head = ["", "area", *backbones]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, found in cells.items():
        lines.append(f"| {name} | {area_of[name]} | {' | '.join(found.get(b, '') for b in backbones)} |")
    return lines


def numbers_page(rows: Sequence[AttentionRow], said: dict[str, str], loops: Sequence[ListedLoop]) -> str:
    """The page; `said` has words for each backbone's source."""
    patients = max(row.patients for row in rows)
    lines = [HEAD.format(loops=len(loops), patients=patients, synthetic=synthetic_words(loops)).rstrip()]
    for source in dict.fromkeys(row.source for row in rows):
        meant = dict.fromkeys(text for name, text in said.items() if name.endswith(f", {source}"))
        lines += ["", f"## {source}", "", f"{'; '.join(meant)}.", ""]
        lines += source_table([row for row in rows if row.source == source])
    return "\n".join(lines) + "\n"
