"""What one encoder of each objective knows: every question of the project page at a glance.

    echojepa evaluate paper --data A B C K --children children --backbones JEPA MAE SUP CON --out R
    python benchmarks/objectives.py R --figure objectives.svg

Of one kind of frozen probe: the error of each encoder for each question, with its 95 % interval over test
patients, as a table and as a figure. Errors, so that less is better everywhere: points of LVEF, mmHg of RVSP,
% of loops in the wrong view. The constant is the training median or the commonest class.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from echojepa.evaluation.results import ALL_SITES, CONSTANT, ResultRow, read_results
from echojepa.evaluation.runs import START, Range
from echojepa.evaluation.tables.curves import draw
from echojepa.evaluation.tables.grids import markdown_table
from echojepa.evaluation.tables.over_runs import COLOURS
from echojepa.evaluation.tables.page import unperturbed

ACROSS = 5
"""Panels in a row of the figure."""
Questions = dict[str, dict[str, Range]]
"""By question and encoder: its error, with the interval."""


def question(row: ResultRow) -> str:
    """What a row answers, in words; empty for what is no question of everybody's plain clips."""
    if not unperturbed(row):
        return ""
    if row.task == "view":
        return f"view, {100 * row.label_fraction:g} % of labels: % wrong" if row.seed is None else ""
    where = "all sites" if row.site == ALL_SITES else row.site
    if row.trained_on != row.site:
        where = f"{row.trained_on} to {row.site}"
    unit = "points" if row.task == "lvef" else row.unit
    return f"{row.task.upper()}, {where}: {unit}" if "+" in row.views or row.task == "lvef" else ""


def answers(rows: Sequence[ResultRow], probe: str) -> Questions:
    """The errors of a kind of probe, and of the constant."""
    found: Questions = {}
    for row in rows:
        asked = question(row) if row.probe in (probe, CONSTANT) else ""
        if asked:
            ends = (row.value, row.lo, row.hi)
            if row.metric == "accuracy":
                ends = (100 - row.value, 100 - row.hi, 100 - row.lo)
            found.setdefault(asked, {})[row.backbone] = ends
    order = sorted(found, key=lambda asked: (asked[:4], " to " in asked, asked))  # own patients first
    return {asked: found[asked] for asked in order if set(found[asked]) - {CONSTANT}}


def encoders(questions: Questions) -> list[str]:
    """The constant and the random start first."""
    every = {name: None for by in questions.values() for name in by}
    return sorted(every, key=lambda name: (name != CONSTANT, name != START))


def table(questions: Questions) -> str:
    """A line a question, a column an encoder."""
    names = encoders(questions)
    lines = [
        (asked, *("{:.1f} ({:.1f}, {:.1f})".format(*by[name]) if name in by else "" for name in names))
        for asked, by in questions.items()
    ]
    return markdown_table(("question", *names), lines)


def figure(questions: Questions) -> str:
    """A panel a question: an encoder's error as a dot with its interval, the constant's as a line; SVG."""
    names = [name for name in encoders(questions) if name != CONSTANT]
    rows = -(-len(questions) // ACROSS)

    def paint(panels: Iterable[Axes]) -> None:
        every = list(panels)
        for number, (axes, (asked, by)) in enumerate(zip(every, questions.items(), strict=False)):
            for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
                if name in by:
                    middle, low, high = by[name]
                    reach = np.array([[middle - low], [high - middle]])
                    axes.errorbar(middle, -place, xerr=reach, fmt="o", ms=5, color=colour)
            if CONSTANT in by:
                axes.axvline(by[CONSTANT][0], color="#99a", lw=1, ls="--")
            axes.set_xlim(left=0)
            axes.set_yticks([-place for place in range(len(names))], [] if number % ACROSS else names)
            axes.set_title(asked.replace(": ", "\n"), fontsize=8)
        for axes in every[len(questions) :]:
            axes.axis("off")

    return draw(2.1 * ACROSS, 1.9 * rows, ACROSS, paint, rows)


def main() -> None:
    """Print the table, and draw it where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--probe", default="ridge, over time")
    parser.add_argument("--figure", type=Path, help="SVG to write")
    options = parser.parse_args()
    questions = answers(read_results(options.results), options.probe)
    sys.stdout.write(table(questions))
    if options.figure:
        options.figure.write_text(figure(questions), encoding="utf-8")


if __name__ == "__main__":
    main()
