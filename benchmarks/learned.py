"""What pretraining added to its random starts, over patients and pretraining seeds.

    echojepa evaluate learned --data DATA --backbones RUN0 --out RESULTS0       # of each seed of pretraining
    python benchmarks/learned.py RESULTS0 RESULTS1 ...

For every probe of the plan: the error of each run and of its own random start on the same test items (LVEF:
points off by study; view: % wrong by loop), the mean over seeds of labels, and the difference, positive where
the run is better. Intervals, 95 %: patients and pretraining seeds are drawn with replacement, each
by itself (a crossed bootstrap), since every patient is read by every run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from echojepa.evaluation.probes.stored import CARD, PROBES_FOLDER, StoredProbe
from echojepa.evaluation.protocol.plans import Condition
from echojepa.evaluation.tables.curves import PALETTE, draw

RESAMPLES = 5000
START = "random encoder"
SHOWN = ("attentive, over time", "ridge, over time")
"""Probes of the figure."""
TITLES = {"lvef": "LVEF: mean absolute error, points", "view": "View: wrong, % of loops"}
COLOURS = ("#888888", *PALETTE)
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """Of the test items of one trained probe, in the order of their ids."""

    items: NDArray[np.str_]
    patients: NDArray[np.str_]
    errors: Numbers


def errors_of(stored: StoredProbe) -> Errors:
    """A stored probe's errors on test patients."""
    made = stored.predictions(Condition())
    if made is None:
        raise SystemExit(f"{stored.folder} holds no predictions of unperturbed clips; evaluate again")
    test = made.of_test()
    wrong = (
        100.0 * (test.values.argmax(1) != test.truth) if test.classes else np.abs(test.values - test.truth)
    )
    order = np.argsort(test.items)
    return Errors(test.items[order], test.patients[order], wrong[order])


def mean_over_labels(several: list[Errors]) -> Errors:
    """The mean error of each item over seeds of labels."""
    first = several[0]
    assert all(np.array_equal(one.items, first.items) for one in several)
    return Errors(first.items, first.patients, np.mean([one.errors for one in several], axis=0))


def crossed(errors: Numbers, patients: NDArray[np.str_]) -> tuple[float, float, float]:
    """Mean of errors (runs, items) and its interval over runs and patients."""
    unique, place = np.unique(patients, return_inverse=True)
    sums = np.stack([np.bincount(place, row) for row in errors])
    counts = np.bincount(place)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        runs = rng.integers(len(errors), size=len(errors))
        drawn = rng.integers(len(unique), size=len(unique))
        means.append(sums[np.ix_(runs, drawn)].sum() / (len(runs) * counts[drawn].sum()))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(errors.mean()), float(low), float(high)


@dataclass(frozen=True)
class Line:
    """A line of the table: one kind of encoder, read by one probe."""

    task: str
    probe: str
    labels: float
    """Share of the training patients whose labels it was given."""
    encoder: str
    runs: int
    error: tuple[float, float, float]
    gain: tuple[float, float, float] | None
    """Error of the random start less its own; None for random starts."""

    @property
    def asked(self) -> str:
        """What was asked, for a figure."""
        return f"{self.probe}\n{100 * self.labels:g} % of labels"

    def text(self) -> str:
        """The line."""
        cells = ["{:.2f} ({:.2f}, {:.2f})".format(*self.error)]
        cells.append("{:+.2f} ({:+.2f}, {:+.2f})".format(*self.gain) if self.gain else "")
        named = [self.task, self.probe, f"{100 * self.labels:g} %", self.encoder, str(self.runs)]
        return "| " + " | ".join(named + cells) + " |"


def lines_of(results: Sequence[Path]) -> list[Line]:
    """Every line; each folder of results is a seed of pretraining, with the start of its own."""
    found: dict[tuple[str, str, float], dict[str, dict[Path, list[Errors]]]] = {}
    for folder in results:
        for file in sorted((folder / PROBES_FOLDER).glob(f"*/*/*/{CARD}")):
            stored = StoredProbe(file.parent)
            card = stored.card()
            rows = found.setdefault((card.task, card.probe, card.fraction), {})
            rows.setdefault(card.backbone, {}).setdefault(folder, []).append(errors_of(stored))
    lines = []
    for (task, probe, labels), rows in sorted(found.items()):
        means = {
            kind: {run: mean_over_labels(several) for run, several in runs.items()}
            for kind, runs in rows.items()
        }
        for kind, runs in means.items():
            errors = np.stack([one.errors for one in runs.values()])
            patients = next(iter(runs.values())).patients
            gain = None
            if kind != START:
                gain = crossed(np.stack([means[START][run].errors for run in runs]) - errors, patients)
            lines.append(Line(task, probe, labels, kind, len(runs), crossed(errors, patients), gain))
    return lines


def figure_of(lines: list[Line]) -> str:
    """Errors with their intervals, a panel a task, as SVG."""
    kinds = sorted({line.encoder for line in lines}, key=lambda kind: kind != START)

    def paint(panels: Iterable[Axes]) -> None:
        for axes, (task, title) in zip(panels, TITLES.items(), strict=True):
            mine = [line for line in lines if line.task == task and line.probe in SHOWN]
            asked = list(dict.fromkeys(line.asked for line in mine))[::-1]
            for number, kind in enumerate(kinds):
                its = [line for line in mine if line.encoder == kind]
                middle, low, high = np.array([line.error for line in its]).T
                where = [asked.index(line.asked) - 0.16 * (number - (len(kinds) - 1) / 2) for line in its]
                reach = np.stack([middle - low, high - middle])
                axes.errorbar(middle, where, xerr=reach, fmt="o", label=kind, color=COLOURS[number])
            axes.set_yticks(range(len(asked)), asked)
            axes.set_xlabel(title)
            axes.grid(axis="x", alpha=0.3)
        axes.legend()

    return draw(9.0, 3.2, 2, paint)


def main() -> None:
    """Print the table, and draw it where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path, help="SVG to write")
    options = parser.parse_args()
    lines = lines_of(options.results)
    print("| task | probe | labels | encoder | runs | error | better than random by |")
    print("|---|---|---|---|---|---|---|")
    for line in lines:
        print(line.text())
    if options.figure:
        options.figure.write_text(figure_of(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
