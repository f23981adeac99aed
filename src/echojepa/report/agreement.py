"""How far predictions agree with the truth, and whether a probe knows when it errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from echojepa.evaluation.probes.predictions import Predictions
from echojepa.evaluation.tables.chosen import TaskPredictions
from echojepa.evaluation.tables.curves import PALETTE, draw

LIMITS = 1.96
"""Standard deviations of the limits of agreement (Bland and Altman, Lancet 327:307, 1986)."""
BINS = 10
"""Of confidence, equally wide."""


@dataclass(frozen=True)
class Confidence:
    """What a probe of classes says of items, surest first."""

    probability: NDArray[np.float64]
    """(n,) of the likeliest class, descending."""
    right: NDArray[np.bool_]
    """(n,) whether that is the true one."""

    @classmethod
    def of(cls, made: Predictions) -> Confidence:
        """Of probabilities (n, K)."""
        highest = made.values.max(1)
        order = np.argsort(-highest, kind="stable")
        return cls(highest[order], (made.values.argmax(1) == made.truth)[order])

    def bins(self) -> NDArray[np.float64]:
        """(bins with items, 3): mean probability, share that is right, items."""
        place = np.minimum((self.probability * BINS).astype(int), BINS - 1)
        chosen = [place == number for number in range(BINS) if (place == number).any()]
        return np.array([(self.probability[c].mean(), self.right[c].mean(), c.sum()) for c in chosen])

    @property
    def calibration_error(self) -> float:
        """Mean distance of probability from the share that is right, bins weighted by their items (ECE,
        Naeini et al., AAAI 2015)."""
        said, was, count = self.bins().T
        return float((np.abs(said - was) * count).sum() / count.sum())

    def error_at(self, coverage: float) -> float:
        """Share that is wrong of the surest `coverage` of all, one item at least."""
        kept = max(1, round(coverage * len(self.right)))
        return float(1 - self.right[:kept].mean())

    def risk(self) -> NDArray[np.float64]:
        """(n, 2): share of items answered, surest first, and the share of these that is wrong."""
        count = np.arange(1, len(self.right) + 1)
        return np.stack([count / len(count), np.cumsum(~self.right) / count], axis=1)


def bland_altman_panels(data: Mapping[str, Predictions], unit: str) -> str:
    """Difference over mean of prediction and truth, a panel a backbone, with bias and limits of agreement."""

    def paint(axes: Sequence[Axes]) -> None:
        for axis, (name, made) in zip(axes, data.items(), strict=True):
            away, middle = made.values - made.truth, (made.values + made.truth) / 2
            bias, spread = away.mean(), away.std(ddof=1) if len(away) > 1 else 0.0
            axis.scatter(middle, away, s=18, color=PALETTE[0], alpha=0.7, lw=0)
            axis.axhline(bias, color=PALETTE[1], lw=1.4)
            for end in (-LIMITS, LIMITS):
                axis.axhline(bias + end * spread, color=PALETTE[1], lw=1, ls="--")
            said = f"{bias:+.1f} [{bias - LIMITS * spread:+.1f}, {bias + LIMITS * spread:+.1f}]"
            axis.set(title=f"{name}\n{said}", xlabel=f"mean of predicted and true ({unit})")
        axes[0].set_ylabel(f"predicted - true ({unit})")

    return draw(3.1 * len(data), 3.0, len(data), paint)


def calibration_panels(data: Mapping[str, Confidence]) -> str:
    """Share that is right over the probability that was said, a panel a backbone; areas are items."""

    def paint(axes: Sequence[Axes]) -> None:
        for axis, (name, one) in zip(axes, data.items(), strict=True):
            said, was, count = one.bins().T
            axis.plot([0, 1], [0, 1], color="#99a", lw=1, zorder=0)
            axis.plot(said, was, color=PALETTE[0], lw=1.2)
            axis.scatter(said, was, s=12 + 160 * count / count.sum(), color=PALETTE[0], alpha=0.8, lw=0)
            title = f"{name}\ncalibration error {one.calibration_error:.2f}"
            axis.set(title=title, xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", xlabel="probability said")
        axes[0].set_ylabel("share that is right")

    return draw(3.1 * len(data), 3.3, len(data), paint)


def risk_panel(data: Mapping[str, Confidence]) -> str:
    """Share that is wrong of those answered, over how many are answered, a line a backbone."""

    def paint(axes: Sequence[Axes]) -> None:
        for (name, one), colour in zip(data.items(), PALETTE * 2, strict=False):
            share, wrong = one.risk().T
            axes[0].plot(100 * share, 100 * wrong, color=colour, lw=1.6, label=name)
        axes[0].set(xlabel="answered, the surest first (%)", ylabel="of these wrong (%)", xlim=(0, 101))
        axes[0].set_ylim(bottom=0)
        axes[0].legend(loc="upper left", bbox_to_anchor=(1, 1))

    return draw(5.6, 2.8, 1, paint)


def agreement_figures(
    predicted: Mapping[str, TaskPredictions], units: Mapping[str, str]
) -> list[tuple[str, Markup, str]]:
    """Title, picture and caption of every figure that predictions allow, by task."""
    figures: list[tuple[str, Markup, str]] = []
    for task, found in predicted.items():
        values = {name: made for name, made in found.made.items() if not made.classes}
        classes = {name: Confidence.of(made) for name, made in found.made.items() if made.classes}
        if values:
            caption = (
                f"Test items, by {found.probe}. Above each panel the bias (line) with the limits of "
                "agreement (dashed: 1.96 standard deviations). A slope shows that a model shrinks "
                "towards the mean."
            )
            picture = bland_altman_panels(values, units.get(task, ""))
            figures.append((f"{task.upper()}: Bland-Altman", Markup(picture), caption))
        if classes:
            caption = (
                f"By {found.probe}: the share of test items that have the class, among items predicted with "
                "this probability. The line is perfect calibration; points are tenths of probability, and "
                "their area shows the number of items."
            )
            figures.append((f"{task.upper()}: calibration", Markup(calibration_panels(classes)), caption))
            caption = (
                f"By {found.probe}: how often the likeliest class is wrong if only the most certain items "
                "are answered. If the line rises to the right, the probe's certainty shows when it errs."
            )
            figures.append((f"{task.upper()}: risk and coverage", Markup(risk_panel(classes)), caption))
    return figures
