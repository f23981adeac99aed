"""Tables of text, and how they are written down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Place = tuple[str, str]
"""Which row, which column of a table a number belongs to."""


@dataclass(frozen=True)
class Grid:
    """Numbers in rows and columns, as text."""

    columns: tuple[str, ...]
    rows: dict[str, dict[str, str]]
    """Row to column to cell."""


@dataclass(frozen=True)
class Table:
    """Ours and theirs."""

    title: str
    says: str
    """What a cell is."""
    ours: Grid
    theirs: Grid


def grid(cells: Mapping[Place, str]) -> Grid:
    """Cells by row and column, both in the order they came."""
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for (row, column), text in cells.items():
        rows[row][column] = text
    return Grid(tuple(dict.fromkeys(column for _, column in cells)), dict(rows))


def as_markdown(tables: Sequence[Table], synthetic: bool) -> str:
    """The tables as text that reads well by itself; `synthetic`: loops of the phantom are behind ours."""
    parts = [
        "# The project page's tables, redrawn\n\n"
        "Ours: value [95 % interval by bootstrap over test patients]. Theirs: other data, other patients, "
        "and for some backbones another protocol; do not compare the values. (?): the labels may have been "
        "cut to integers in the released code.\n"
    ]
    if synthetic:
        parts.append("\n**Our loops are synthetic: none of our numbers is clinical.**\n")
    for table in tables:
        parts.append(f"\n## {table.title}\n\n{table.says}\n")
        parts.append("\n" + markdown_grid(table.ours, "ours"))
        if table.theirs.rows:
            parts.append("\n" + markdown_grid(table.theirs, "theirs, arXiv 2602.02603"))
    return "".join(parts)


def markdown_grid(numbers: Grid, corner: str) -> str:
    """One grid as a Markdown table."""
    rows = [[name, *(cells.get(c, "") for c in numbers.columns)] for name, cells in numbers.rows.items()]
    return markdown_table((corner, *numbers.columns), rows)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text below a head, in Markdown."""
    first, *others = ("| " + " | ".join(row) + " |" for row in (head, *rows))
    return "\n".join([first, "|---" * len(head) + "|", *others]) + "\n"
