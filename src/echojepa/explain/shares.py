"""Numbers for what a map claims: how much of it lies where, whether it beats with the heart, what moves it.

Of one clip of each loop, its middle. `share` is the part of a map inside a region, `area` the region's part
of the picture, `enrichment` the one over the other: 1 where the map does not prefer it. The sector's are of
the whole picture, all others' of the sector. A map that is the same for everybody is enriched wherever hearts
usually lie: so the same is told of other patients' regions, and the difference is what follows *this* heart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echojepa.evaluation.statistics.intervals import mean_over_patients
from echojepa.explain.regions import SECTOR

EVEN = 1e-3
"""A course over time that varies by less than this share of its mean does not move: its correlation is 0."""
OTHERS = 8
"""Other patients whose regions a map is held against, the next ones in order."""
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class ClipMap:
    """A map of one clip, and what lies under it."""

    patient: str
    view: str
    map: Floats
    """(T', H', W') of mean 1."""
    regions: Mapping[str, Floats]
    """Share of each token that is in a region, (T', H', W')."""
    volume: Floats | None = None
    """(T',) true volume of the left ventricle; None where nobody knows it."""


@dataclass(frozen=True, kw_only=True)
class AttentionRow:
    """A number, and what it is of."""

    backbone: str
    weights: str
    """The first digits of its weights' digest."""
    source: str
    region: str
    measure: str
    unit: str
    value: float
    lo: float
    hi: float
    patients: int
    loops: int


@dataclass(frozen=True)
class Whose:
    """Which maps a number is of."""

    backbone: str
    weights: str
    source: str
    resamples: int = field(compare=False)
    seed: int = field(compare=False)

    def row(
        self, region: str, measure: str, unit: str, values: Sequence[float] | Floats, patients: Sequence[str]
    ) -> AttentionRow:
        """The mean over loops, and its 95 % interval by resampling patients; values that are nan are left
        out."""
        known = ~np.isnan(values)
        kept, whose = np.array(values)[known], np.array(patients)[known]
        number = mean_over_patients(kept, whose, resamples=self.resamples, seed=self.seed)
        return AttentionRow(
            backbone=self.backbone, weights=self.weights, source=self.source, region=region, measure=measure,
            unit=unit, value=number.value, lo=number.low, hi=number.high, patients=number.patients,
            loops=number.items,
        )  # fmt: skip


def inside(clip: ClipMap, region: str, other: ClipMap | None = None) -> tuple[float, float]:
    """Share and area of a region, or of where it lies in another patient's clip; nan for one that is
    empty."""
    within = np.ones_like(clip.map) if region == SECTOR else clip.regions[SECTOR]
    part = clip.regions[region] if other is None else np.minimum(other.regions[region], within)
    if part.sum() <= 0:
        return float("nan"), float("nan")
    return float((clip.map * part).sum() / (clip.map * within).sum()), float(part.sum() / within.sum())


def share_rows(whose: Whose, clips: Sequence[ClipMap]) -> Iterator[AttentionRow]:
    """How much of the maps lies in each region, and how much of that is due to this heart."""
    patients = [clip.patient for clip in clips]
    for region in dict.fromkeys(name for clip in clips for name in clip.regions):
        there = [clip for clip in clips if region in clip.regions]
        whom = [clip.patient for clip in there]
        share, area = np.array([inside(clip, region) for clip in there]).T
        if np.isnan(share).all():
            continue
        yield whose.row(region, "share", "%", 100 * share, whom)
        yield whose.row(region, "area", "%", 100 * area, whom)
        yield whose.row(region, "enrichment", "x", share / area, whom)
        elsewhere = np.array([enriched_elsewhere(clip, region, there) for clip in there])
        if region != SECTOR and len(set(patients)) > 1 and not np.isnan(elsewhere).all():
            yield whose.row(region, "enrichment, others' regions", "x", elsewhere, whom)
            yield whose.row(region, "enrichment, own minus others'", "x", share / area - elsewhere, whom)


def enriched_elsewhere(clip: ClipMap, region: str, clips: Sequence[ClipMap]) -> float:
    """Mean enrichment of a map in the regions of other patients in the same view; nan where there are
    none."""
    begin = next(place for place, one in enumerate(clips) if one is clip)
    turned = [*clips[begin + 1 :], *clips[:begin]]
    others = [one for one in turned if one.patient != clip.patient and one.view == clip.view][:OTHERS]
    found = [inside(clip, region, other) for other in others]
    ratios = [share / area for share, area in found if area > 0]
    return float(np.mean(ratios)) if ratios else float("nan")


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's, of two courses (T',); 0 where one does not move, nan where there are less than three
    times."""
    if len(one) < 3:
        return float("nan")
    if min(course.std() / max(abs(course.mean()), 1e-12) for course in (one, other)) < EVEN:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def beat_rows(whose: Whose, clips: Sequence[ClipMap], cavity: str) -> Iterator[AttentionRow]:
    """Whether maps beat with the heart: correlation over a clip's times with the true cavity volume.

    Of the share in the cavity, which grows with the cavity itself, as an even spread's does; of that share
    over the cavity's area; and of how much of the sector's whole attention a time gets.
    """
    told = [clip for clip in clips if clip.volume is not None and cavity in clip.regions]
    found: dict[str, list[float]] = defaultdict(list)
    for clip in told:
        assert clip.volume is not None
        sector, part = clip.regions[SECTOR], clip.regions[cavity]
        whole = (clip.map * sector).sum((1, 2))
        share, area = (clip.map * part).sum((1, 2)) / whole, part.sum((1, 2)) / sector.sum((1, 2))
        found["share in it"].append(correlation(share, clip.volume))
        found["its area alone"].append(correlation(area, clip.volume))
        dense = share / np.maximum(area, 1e-9)
        found["share over area"].append(correlation(dense, clip.volume))
        found["attention that a time gets"].append(correlation(whole, clip.volume))
    for name, values in found.items():
        if not np.isnan(values).all():
            yield whose.row(cavity, f"correlation with volume: {name}", "", values, [c.patient for c in told])


def distance(one: Floats, other: Floats) -> float:
    """Part of a map that must be moved to make the other one (total variation), %: 0 for equal ones, 100 for
    ones that share no token."""
    return float(50 * np.abs(one / one.sum() - other / other.sum()).sum())


def shift_rows(whose: Whose, series: Sequence[Sequence[ClipMap]]) -> Iterator[AttentionRow]:
    """What other speckle alone moves of a map, beside what another patient does; `series` are the same
    recording of a patient with other speckle, the patient's own first."""
    several = [one for one in series if len(one) > 1]
    moved = [float(np.mean([distance(one[0].map, other.map) for other in one[1:]])) for one in several]
    patients = [one[0].patient for one in several]
    yield whose.row("", "moved by other speckle", "%", moved, patients)
    others = []
    for place, one in enumerate(several):
        turned = [other[0] for other in (*several[place + 1 :], *several[:place])]
        same = [other for other in turned if other.patient != one[0].patient and other.view == one[0].view]
        others.append(
            float(np.mean([distance(one[0].map, other.map) for other in same[:OTHERS]] or [np.nan]))
        )
    if not np.isnan(others).all():
        yield whose.row("", "moved by another patient", "%", others, patients)
        yield whose.row("", "moved by speckle, of what another patient moves", "%",
                        100 * np.array(moved) / np.array(others), patients)  # fmt: skip
