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
COURSES = ("share in it", "its area alone", "share over area", "attention that a time gets")
"""What is held against the volume over a clip's times."""
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


LoopValues = dict[tuple[str, str, str], Floats]
"""Values of clips (n,) by region, measure and unit; nan for a clip without a value."""


def rows_of(
    whose: Whose, clips: Sequence[ClipMap], values: Mapping[tuple[str, str, str], Floats]
) -> Iterator[AttentionRow]:
    """A row a measure."""
    patients = [clip.patient for clip in clips]
    for (region, measure, unit), each in values.items():
        yield whose.row(region, measure, unit, each, patients)


PAIRED = ("enrichment", "enrichment, own minus others'")
"""Measures of regions that are told as differences, beside all correlations."""


def paired_rows(
    whose: Whose, clips: Sequence[ClipMap], starts: Sequence[ClipMap], cavity: str
) -> Iterator[AttentionRow]:
    """Measures of maps of clips less those of the random start's maps of the same clips, loop by loop."""
    mine, theirs = (values_of(some, cavity) for some in (clips, starts))
    both = {
        (region, measure, unit): mine[region, measure, unit] - theirs[region, measure, unit]
        for region, measure, unit in mine.keys() & theirs.keys()
        if measure in PAIRED or unit == ""
    }
    ordered = {key: both[key] for key in mine if key in both and not np.isnan(both[key]).all()}
    return rows_of(whose, clips, ordered)


def values_of(clips: Sequence[ClipMap], cavity: str) -> LoopValues:
    """How much of the maps lies in each region, and whether they beat with the heart."""
    return share_values(clips) | beat_values(clips, cavity)


def share_values(clips: Sequence[ClipMap]) -> LoopValues:
    """Of each region share, area and enrichment, and the enrichment less that of others' regions."""
    found: LoopValues = {}
    patients = {clip.patient for clip in clips}
    for region in dict.fromkeys(name for clip in clips for name in clip.regions):
        nothing = (float("nan"), float("nan"))
        there = [clip for clip in clips if region in clip.regions]
        share, area = np.array([inside(c, region) if region in c.regions else nothing for c in clips]).T
        if np.isnan(share).all():
            continue
        found[region, "share", "%"] = 100 * share
        found[region, "area", "%"] = 100 * area
        found[region, "enrichment", "x"] = share / area
        elsewhere = np.array(
            [enriched_elsewhere(c, region, there) if region in c.regions else np.nan for c in clips]
        )
        if region != SECTOR and len(patients) > 1 and not np.isnan(elsewhere).all():
            found[region, "enrichment, others' regions", "x"] = elsewhere
            found[region, "enrichment, own minus others'", "x"] = share / area - elsewhere
    return found


def others_of(clip: ClipMap, clips: Sequence[ClipMap]) -> list[ClipMap]:
    """The next clips after one of them, around the end, that are of other patients in the same view."""
    begin = next(place for place, one in enumerate(clips) if one is clip)
    turned = [*clips[begin + 1 :], *clips[:begin]]
    return [one for one in turned if one.patient != clip.patient and one.view == clip.view][:OTHERS]


def enriched_elsewhere(clip: ClipMap, region: str, clips: Sequence[ClipMap]) -> float:
    """Mean enrichment of a map in the regions of other patients in the same view; nan where there are
    none."""
    found = [inside(clip, region, other) for other in others_of(clip, clips)]
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


def beat_values(clips: Sequence[ClipMap], cavity: str) -> LoopValues:
    """Correlation over a clip's times with the true cavity volume.

    Three quantities: the share in the cavity, which grows with the cavity even for an even map; that share
    divided by the cavity's area; and the share of the sector's whole attention at each time.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for clip in clips:
        if clip.volume is None or cavity not in clip.regions:
            known = dict.fromkeys(COURSES, float("nan"))
        else:
            sector, part = clip.regions[SECTOR], clip.regions[cavity]
            whole = (clip.map * sector).sum((1, 2))
            share, area = (clip.map * part).sum((1, 2)) / whole, part.sum((1, 2)) / sector.sum((1, 2))
            courses = (share, area, share / np.maximum(area, 1e-9), whole)
            each = (correlation(course, clip.volume) for course in courses)
            known = dict(zip(COURSES, each, strict=True))
        for name, value in known.items():
            found[name].append(value)
    values = {(cavity, f"correlation with volume: {name}", ""): np.array(v) for name, v in found.items()}
    return {key: each for key, each in values.items() if not np.isnan(each).all()}


def distance(one: Floats, other: Floats) -> float:
    """Part of a map that must be moved to make the other one (total variation), %: 0 for equal ones, 100 for
    ones that share no token."""
    return float(50 * np.abs(one / one.sum() - other / other.sum()).sum())


def mean_distance(clip: ClipMap, others: Sequence[ClipMap]) -> float:
    """How far a map lies from others, %; nan where there are none."""
    return float(np.mean([distance(clip.map, other.map) for other in others] or [np.nan]))


def shift_rows(whose: Whose, series: Sequence[Sequence[ClipMap]]) -> Iterator[AttentionRow]:
    """What other speckle alone moves of a map, beside what another patient does; `series` are the same
    recording of a patient with other speckle, the patient's own first."""
    several = [one for one in series if len(one) > 1]
    own = [one[0] for one in several]
    moved = [mean_distance(one[0], one[1:]) for one in several]
    patients = [clip.patient for clip in own]
    yield whose.row("", "moved by other speckle", "%", moved, patients)
    others = [mean_distance(clip, others_of(clip, own)) for clip in own]
    if not np.isnan(others).all():
        yield whose.row("", "moved by another patient", "%", others, patients)
        yield whose.row("", "moved by speckle, of what another patient moves", "%",
                        100 * np.array(moved) / np.array(others), patients)  # fmt: skip
