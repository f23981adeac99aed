"""Several runs as a table and a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes

from echojepa.evaluation.runs import START, Range, RunsLine
from echojepa.evaluation.tables.curves import PALETTE, draw
from echojepa.evaluation.tables.grids import markdown_table

COLOURS = ("#888888", *PALETTE)
TITLES = {"lvef": "LVEF: mean absolute error, points", "view": "View: wrong, % of loops"}


def ranged(number: Range | None, signed: bool = False) -> str:
    """A number with its interval; empty for none."""
    if number is None:
        return ""
    return ("{:+.2f} ({:+.2f}, {:+.2f})" if signed else "{:.2f} ({:.2f}, {:.2f})").format(*number)


def runs_markdown(lines: Sequence[RunsLine]) -> str:
    """Errors over all runs, and what they gain on their random starts."""
    head = ("task", "probe", "labels", "encoder", "runs", "error", "better than random by")
    rows = [
        (one.task, one.probe, f"{100 * one.labels:g} %", one.encoder, str(len(one.each)), ranged(one.error),
         ranged(one.gain, signed=True))
        for one in lines
    ]  # fmt: skip
    return markdown_table(head, rows)


def asked(line: RunsLine) -> str:
    """What was asked, for a figure."""
    return f"{line.probe}\n{100 * line.labels:g} % of labels"


def runs_panels(lines: Sequence[RunsLine]) -> str:
    """Errors over all runs with their intervals, a panel a task, as SVG."""
    kinds = sorted({line.encoder for line in lines}, key=lambda kind: (kind != START, kind))
    tasks = sorted({line.task for line in lines})
    most = max(len({asked(line) for line in lines if line.task == task}) for task in tasks)

    def paint(panels: Iterable[Axes]) -> None:
        for axes, task in zip(panels, tasks, strict=True):
            mine = [line for line in lines if line.task == task]
            rows = list(dict.fromkeys(asked(line) for line in mine))[::-1]
            for number, kind in enumerate(kinds):
                its = [line for line in mine if line.encoder == kind]
                if its:
                    middle, low, high = np.array([line.error for line in its]).T
                    shift = 0.16 * (number - (len(kinds) - 1) / 2)
                    where = [rows.index(asked(line)) - shift for line in its]
                    reach = np.stack([middle - low, high - middle])
                    axes.errorbar(middle, where, xerr=reach, fmt="o", label=kind, color=COLOURS[number])
            axes.set_yticks(range(len(rows)), rows)
            axes.set_xlabel(TITLES.get(task, f"{task}: error, {mine[0].unit}"))
            axes.grid(axis="x", alpha=0.3)
            axes.legend()

    return draw(4.5 * len(tasks), max(3.2, 0.75 * most), len(tasks), paint)
