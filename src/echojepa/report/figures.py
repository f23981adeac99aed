"""Figures as SVG text, the same bytes for the same data."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

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


def scatter_panels(data: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], unit: str) -> str:
    """Predicted against true values, a panel a name, with the line of identity."""

    def paint(axes: Sequence[Axes]) -> None:
        everything = np.concatenate([values for pair in data.values() for values in pair])
        ends = [float(everything.min()) - 3, float(everything.max()) + 3]
        for axis, (name, (truth, prediction)) in zip(axes, data.items(), strict=True):
            axis.plot(ends, ends, color="#99a", lw=1, zorder=0)
            axis.scatter(truth, prediction, s=22, color=PALETTE[0], alpha=0.75, lw=0)
            axis.set(title=name, xlabel=f"true ({unit})", xlim=ends, ylim=ends, aspect="equal")
        axes[0].set_ylabel(f"predicted ({unit})")

    return draw(3.1 * len(data), 3.2, len(data), paint)


def confusion_panels(data: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> str:
    """Confusion matrices, rows the truth, a panel a name; counts written in."""
    classes = sorted({str(value) for pair in data.values() for values in pair for value in values})

    def paint(axes: Sequence[Axes]) -> None:
        for axis, (name, (truth, prediction)) in zip(axes, data.items(), strict=True):
            counts = confusion_matrix(truth, prediction, labels=classes)
            share = counts / np.maximum(1, counts.sum(1, keepdims=True))
            axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
            for row, column in np.ndindex(*counts.shape):
                colour = "white" if share[row, column] > 0.6 else "#223"
                axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
            ticks = range(len(classes))
            axis.set(title=name, xticks=ticks, yticks=ticks, xlabel="predicted")
            axis.set_xticklabels(classes, rotation=45, ha="right")
            axis.set_yticklabels(classes)
        axes[0].set_ylabel("true view")

    return draw(3.1 * len(data), 3.0, len(data), paint)


def map_panels(data: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> str:
    """Maps of embeddings: (coordinates (n, 2), class of each), a panel a name, coloured by class."""
    classes = sorted({str(value) for _, names in data.values() for value in names})

    def paint(axes: Sequence[Axes]) -> None:
        for axis, (name, (points, names)) in zip(axes, data.items(), strict=True):
            for colour, wanted in zip(PALETTE * 2, classes, strict=False):
                chosen = points[names == wanted]
                axis.scatter(chosen[:, 0], chosen[:, 1], s=20, color=colour, alpha=0.8, lw=0, label=wanted)
            axis.set(title=name, xticks=[], yticks=[], xlabel="first axis")
        axes[0].set_ylabel("second axis")
        axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))

    return draw(3.3 * len(data) + 0.8, 3.1, len(data), paint)


def curve_panels(data: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str) -> str:
    """Curves, a panel a name: (x, y)."""

    def paint(axes: Sequence[Axes]) -> None:
        for axis, (name, (x, y)) in zip(axes, data.items(), strict=True):
            many = len(x) > 60
            axis.plot(x, y, color=PALETTE[0], lw=0.6 if many else 1.6, alpha=0.35 if many else 1)
            if many:
                window = max(1, len(y) // 25)
                smooth = np.convolve(y, np.ones(window) / window, mode="valid")
                axis.plot(x[window - 1 :], smooth, color=PALETTE[0], lw=1.8)
            axis.set(title=name, xlabel=xlabel)
            axis.set_ylim(bottom=0)

    return draw(2.6 * len(data), 2.3, len(data), paint)


Curve = Sequence[tuple[float, float, float, float]]
"""Points (x, y, lower and upper end of y)."""


def damage_panels(data: Mapping[str, Mapping[str, Curve]], ylabel: str) -> str:
    """Damage curves: a panel a perturbation, a line a model over severities, with its interval."""
    columns = min(5, len(data))
    rows = -(-len(data) // columns)
    names = list(dict.fromkeys(name for curves in data.values() for name in curves))

    def paint(axes: Sequence[Axes]) -> None:
        top = max(point[3] for curves in data.values() for curve in curves.values() for point in curve)
        panels = list(axes)
        for axis, (title, curves) in zip(panels, data.items(), strict=False):
            for colour, name in zip(PALETTE * 2, names, strict=False):
                x, y, low, high = np.array(curves[name]).T
                axis.plot(x, y, color=colour, lw=1.6, marker="o", ms=3, label=name)
                axis.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
            severities = [point[0] for point in next(iter(curves.values()))]
            axis.set(title=title, ylim=(0, 1.05 * top), xticks=severities)
        for axis in panels[len(data) :]:
            axis.axis("off")
        panels[0].set_ylabel(ylabel)
        panels[(rows - 1) * columns].set_xlabel("severity")
        handles, labels = panels[0].get_legend_handles_labels()
        panels[0].figure.legend(handles, labels, loc="outside lower center", ncols=2)

    return draw(2.3 * columns, 2.1 * rows + 0.4, columns, paint, rows)
