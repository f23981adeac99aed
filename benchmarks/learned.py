"""What pretraining added to its random starts, over patients and pretraining seeds.

    echojepa evaluate learned --data DATA --backbones RUN0 RUN1 ... --out RESULTS
    python benchmarks/learned.py RESULTS

For every probe of the plan: the error of each run and of its own random start on the same test items (LVEF:
points off by study; view: % wrong by loop), the mean over seeds of labels, and the difference, positive where
the run is better. Intervals, 95 %: patients and pretraining seeds are drawn with replacement, each
by itself (a crossed bootstrap), since every patient is read by every run.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echojepa.evaluation.probes.stored import CARD, PROBES_FOLDER, StoredProbe
from echojepa.evaluation.protocol.plans import Condition

RESAMPLES = 5000
START = "random encoder"
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


def run_of(backbone: str) -> tuple[str, str]:
    """Kind and run of a backbone's name, which tables give as `KIND (RUN)` where there are several runs."""
    kind, _, run = backbone.partition(" (")
    return kind, run.rstrip(")")


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


def main() -> None:
    """Print a table of the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    found: dict[tuple[str, str, float], dict[str, dict[str, list[Errors]]]] = {}
    for file in sorted((options.results / PROBES_FOLDER).glob(f"*/*/*/{CARD}")):
        stored = StoredProbe(file.parent)
        card = stored.card()
        kind, run = run_of(card.backbone)
        rows = found.setdefault(
            (card.task, card.probe, card.fraction), defaultdict(lambda: defaultdict(list))
        )
        rows[kind][run].append(errors_of(stored))
    print("| task | probe | labels | encoder | runs | error | better than random by |")
    print("|---|---|---|---|---|---|---|")
    for (task, probe, fraction), rows in sorted(found.items()):
        means = {
            kind: {run: mean_over_labels(several) for run, several in runs.items()}
            for kind, runs in rows.items()
        }
        for kind, runs in means.items():
            errors = np.stack([one.errors for one in runs.values()])
            patients = next(iter(runs.values())).patients
            cells = ["{:.2f} ({:.2f}, {:.2f})".format(*crossed(errors, patients)), ""]
            starts = means.get(START, {})
            if kind != START and set(runs) <= set(starts):
                gain = np.stack([starts[run].errors for run in runs]) - errors
                cells[1] = "{:+.2f} ({:+.2f}, {:+.2f})".format(*crossed(gain, patients))
            print(
                f"| {task} | {probe} | {100 * fraction:g} % | {kind} | {len(runs)} | "
                + " | ".join(cells)
                + " |"
            )


if __name__ == "__main__":
    main()
