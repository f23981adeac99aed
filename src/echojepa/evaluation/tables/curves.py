"""Error by severity of each perturbation, as a figure; and how every figure of the package is drawn."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echojepa.evaluation.results import EVERYBODY, ResultRow
from echojepa.evaluation.tables.page import of_all_sites

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#555555")
"""Okabe and Ito's colours, told apart by colour-blind readers."""
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#667",
    "axes.labelcolor": "#334",
    "xtick.color": "#556",
    "ytick.color": "#556",
    "svg.fonttype": "path",
    "svg.hashsalt": "echojepa",
    "legend.frameon": False,
}


def draw(width: float, height: float, panels: int, paint: Callable[[Any], None], rows: int = 1) -> str:
    """Make rows of panels (inches), let `paint` fill them in reading order, and return SVG text."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, height), layout="constrained")
        paint(figure.subplots(rows, panels, squeeze=False).flat)
        buffer = io.StringIO()
        whole = {"bbox_inches": "tight", "pad_inches": 0.06}  # equal aspects outgrow the layout's box
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, **whole)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


Curve = Sequence[tuple[float, float, float, float]]
"""Points (x, y, lower and upper end of y)."""


def perturbation_panels(data: Mapping[str, Mapping[str, Curve]], ylabel: str) -> str:
    """Curves of error: a panel a perturbation, a line a model over severities, with its interval.

    Panels share one scale, but for those that need half as much again as the median panel: one that destroys
    what is read would flatten all others.
    """
    columns = min(5, len(data))
    rows = -(-len(data) // columns)
    names = list(dict.fromkeys(name for curves in data.values() for name in curves))

    def paint(axes: Sequence[Axes]) -> None:
        tops = [max(end for curve in curves.values() for *_, end in curve) for curves in data.values()]
        shared = max(top for top in tops if top <= 1.5 * np.median(tops))
        panels = list(axes)
        for axis, (title, curves), top in zip(panels, data.items(), tops, strict=False):
            for colour, name in zip(PALETTE * 2, names, strict=False):
                x, y, low, high = np.array(curves[name]).T
                axis.plot(x, y, color=colour, lw=1.6, marker="o", ms=3, label=name)
                axis.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
            severities = [point[0] for point in next(iter(curves.values()))]
            axis.set(title=title, ylim=(0, 1.05 * max(top, shared)), xticks=severities)
        for axis in panels[len(data) :]:
            axis.axis("off")
        panels[0].set_ylabel(ylabel)
        panels[(rows - 1) * columns].set_xlabel("severity")
        handles, labels = panels[0].get_legend_handles_labels()
        panels[0].figure.legend(handles, labels, loc="outside lower center", ncols=2)

    return draw(2.3 * columns, 2.1 * rows + 0.4, columns, paint, rows)


def perturbation_curves(rows: Sequence[ResultRow], probe: str) -> dict[str, dict[str, Curve]]:
    """Error of LVEF by perturbation, backbone and severity, 0 unperturbed, of one kind of probe."""
    points = {
        (row.perturbation, row.backbone, row.severity): (row.value, row.lo, row.hi)
        for row in rows
        if of_all_sites(row) and row.seed == 0 and row.probe == probe and row.group == EVERYBODY
        and (row.task, row.metric) == ("lvef", "MAE")
    }  # fmt: skip
    curves: dict[str, dict[str, Curve]] = defaultdict(dict)
    for kind, name, _ in points:
        severities = sorted(s for k, n, s in points if k == kind and n == name)
        if kind and ("", name, 0) in points:
            curves[kind][name] = [
                (0.0, *points["", name, 0]), *((float(s), *points[kind, name, s]) for s in severities)
            ]  # fmt: skip
    return dict(curves)
