"""Several folders of results, each of another run of pretraining, on the same test items.

Errors are an item's: points off for values, 100 % where the likeliest class is wrong. Every patient is read
by every run, so that patients and runs are drawn with replacement, each by itself: a crossed bootstrap (Owen,
Annals of Applied Statistics 1:386, 2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.errors import UserError
from echojepa.evaluation.probes.stored import CARD, PROBES_FOLDER, StoredProbe
from echojepa.evaluation.protocol.plans import EVERYWHERE, Condition
from echojepa.evaluation.results import read_fingerprints, read_settings

RESAMPLES = 5000
START = "random encoder"
"""What results call the random start of a run of ours."""
PROTOCOL = (
    "clips_per_loop", "learning_rates", "weight_decays", "epochs", "min_steps", "batch_size", "seed", "sites",
    "children", "test_loops",
)  # fmt: skip
"""Settings that make other numbers of the same encoder."""
Numbers = NDArray[np.float64]
Range = tuple[float, float, float]
"""A number and the ends of its 95 % interval."""
Asked = tuple[str, str, float]
"""Task, probe, and share of the training patients whose labels it was given."""


@dataclass(frozen=True)
class Errors:
    """Of the test items of one trained probe, in the order of their ids."""

    items: NDArray[np.str_]
    patients: NDArray[np.str_]
    truth: NDArray[Any]
    errors: Numbers
    unit: str


@dataclass(frozen=True)
class RunsLine:
    """One kind of encoder, read by one probe, in all runs that have it."""

    task: str
    unit: str
    probe: str
    labels: float
    """Share of the training patients whose labels the probe was given."""
    encoder: str
    each: dict[str, Range]
    """Error in each run, by its name; intervals over patients."""
    beside_first: dict[str, Range]
    """Error of each other run less that of the first folder, where it has this encoder, on the same items;
    intervals over patients."""
    error: Range
    """The mean over runs; its interval over patients and runs."""
    gain: Range | None
    """Error of the runs' random starts less their own; None for random starts and where there are none."""


def errors_of(stored: StoredProbe) -> Errors:
    """A stored probe's errors on test patients; UserError where it has no predictions of plain clips."""
    made = stored.predictions(Condition())
    if made is None:
        raise UserError(
            f"{stored.folder} has no predictions for unperturbed clips; run `echojepa evaluate` again"
        )
    test = made.of_test()
    wrong = (
        100.0 * (test.values.argmax(1) != test.truth) if test.classes else np.abs(test.values - test.truth)
    )
    order = np.argsort(test.items)
    unit = "%" if test.classes else stored.card().unit
    return Errors(test.items[order], test.patients[order], test.truth[order], wrong[order], unit)


def stacked(runs: Mapping[str, Errors]) -> Numbers:
    """Errors (runs, items), runs in their order."""
    return np.stack([one.errors for one in runs.values()])


def crossed(errors: Numbers, patients: NDArray[np.str_], resamples: int = RESAMPLES) -> Range:
    """Mean of errors (runs, items) and its interval over runs and patients."""
    return weighted([(1.0, errors)], patients, resamples)


def weighted(
    parts: Sequence[tuple[float, Numbers]], patients: NDArray[np.str_], resamples: int = RESAMPLES
) -> Range:
    """Weighted sum of the parts' mean errors (runs, items), and its interval over patients and each part's
    runs."""
    unique, place = np.unique(patients, return_inverse=True)
    sums = [(weight, np.stack([np.bincount(place, row) for row in errors])) for weight, errors in parts]
    counts = np.bincount(place)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(resamples):
        runs = [rng.integers(len(one), size=len(one)) for _, one in sums]
        drawn = rng.integers(len(unique), size=len(unique))
        picked = zip(sums, runs, strict=True)
        total = sum(weight * one[np.ix_(some, drawn)].sum() / len(some) for (weight, one), some in picked)
        means.append(total / counts[drawn].sum())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sum(weight * errors.mean() for weight, errors in parts)), float(low), float(high)


def read_errors(results: Sequence[Path]) -> dict[Asked, dict[str, dict[str, Errors]]]:
    """Errors by what was asked, encoder and run, the mean over draws of labels: of what every run was asked.

    Each folder of results is a run of pretraining. UserError where folders are not comparable: other data,
    another protocol, other test items, nothing in common.
    """
    names = named(results)
    check_comparable(results)
    found: dict[Asked, dict[str, dict[str, dict[int, Errors]]]] = {}
    for folder, name in zip(results, names, strict=True):
        for file in sorted((folder / PROBES_FOLDER).glob(f"*/*/*/{CARD}")):
            stored = StoredProbe(file.parent)
            card = stored.card()
            if card.trained_on == EVERYWHERE and not card.calibrated:
                kinds = found.setdefault((card.task, card.probe, card.fraction), {})
                kinds.setdefault(card.backbone, {}).setdefault(name, {})[card.seed] = errors_of(stored)
    shared = {asked: kinds for asked, kinds in sorted(found.items()) if same_runs(kinds, names)}
    if not shared:
        raise UserError(
            f"{', '.join(names)} share no probe of the same task, kind and share of labels that was "
            "trained on all sites (calibrated probes do not count), so nothing can be compared"
        )
    return {asked: averaged(asked, kinds) for asked, kinds in shared.items()}


def compare_runs(results: Sequence[Path], resamples: int = RESAMPLES) -> list[RunsLine]:
    """Every line; each folder has the random start of its own. Raises as `read_errors`."""
    names = named(results)
    return [
        line
        for asked, kinds in read_errors(results).items()
        for line in lines_of(asked, kinds, names, resamples)
    ]


def named(results: Sequence[Path]) -> list[str]:
    """Names of folders: their own, or the last two parts of their paths if the names are equal."""
    if len({folder.resolve() for folder in results}) < len(results):
        raise UserError("a results folder is given twice; give each once")
    short = [folder.resolve().name for folder in results]
    if len(set(short)) == len(short):
        return short
    return ["/".join(folder.resolve().parts[-2:]) for folder in results]


def check_comparable(results: Sequence[Path]) -> None:
    """UserError where two folders are of other data or another protocol."""
    settings = [read_settings(folder) for folder in results]
    for (one, mine), (other, theirs) in pairwise(zip(results, settings, strict=True)):
        fingerprints = read_fingerprints(one), read_fingerprints(other)
        if all(fingerprints) and fingerprints[0] != fingerprints[1]:
            raise UserError(
                f"{one.name} and {other.name} used different data (their fingerprints differ); compare "
                "only runs that were tested on the same data"
            )
        for name in PROTOCOL:
            if getattr(mine, name) != getattr(theirs, name):
                raise UserError(
                    f"{one.name} was made with {name} {getattr(mine, name)}, {other.name} with "
                    f"{getattr(theirs, name)}; numbers of different protocols cannot be compared. Run "
                    "`echojepa evaluate` again with the same settings"
                )


def same_runs(kinds: Mapping[str, Mapping[str, object]], names: Sequence[str]) -> bool:
    """Whether every run has some encoder here."""
    return {run for runs in kinds.values() for run in runs} == set(names)


def averaged(
    asked: Asked, kinds: Mapping[str, Mapping[str, Mapping[int, Errors]]]
) -> dict[str, dict[str, Errors]]:
    """The mean error of each item over the draws of labels that all have; UserError where items differ."""
    draws = set.intersection(*(set(seeds) for runs in kinds.values() for seeds in runs.values()))
    if not draws:
        raise UserError(f"probes of {asked[0]} by {asked[1]} have no draw of labels in common")
    first = next(one for runs in kinds.values() for seeds in runs.values() for one in seeds.values())
    means: dict[str, dict[str, Errors]] = {}
    for kind, runs in kinds.items():
        for run, seeds in runs.items():
            several = [seeds[draw] for draw in sorted(draws)]
            for one in several:
                check_items(first, one)
            mean = np.mean([one.errors for one in several], axis=0)
            means.setdefault(kind, {})[run] = replace(first, errors=mean)
    return means


def check_items(one: Errors, other: Errors) -> None:
    """UserError where two probes were not tested on the same items, patients and labels."""
    if not all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("items", "patients", "truth")
    ):
        both = len(np.intersect1d(one.items, other.items))
        raise UserError(
            f"runs were tested on different items ({len(one.items)} and {len(other.items)}, of which "
            f"{both} are shared) or labels; compare only runs that were tested on the same items"
        )


def lines_of(
    asked: Asked, kinds: Mapping[str, Mapping[str, Errors]], names: Sequence[str], resamples: int
) -> list[RunsLine]:
    """A line of each encoder that was asked the same."""
    lines, starts = [], kinds.get(START, {})
    for kind, runs in kinds.items():
        whole = stacked(runs)
        first, some = runs.get(names[0]), next(iter(runs.values()))
        beside = {
            run: crossed((one.errors - first.errors)[None], some.patients, resamples)
            for run, one in runs.items()
            if first and one is not first
        }
        gain = None
        if kind != START and all(run in starts for run in runs):
            gain = crossed(stacked({run: starts[run] for run in runs}) - whole, some.patients, resamples)
        task, probe, labels = asked
        line = RunsLine(
            task, some.unit, probe, labels, kind,
            {run: crossed(one.errors[None], some.patients, resamples) for run, one in runs.items()},
            beside, crossed(whole, some.patients, resamples), gain,
        )  # fmt: skip
        lines.append(line)
    return lines
