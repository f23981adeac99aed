"""Figures as SVG text, the same bytes for the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from echojepa.evaluation.tables.curves import PALETTE, draw


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
