"""Each loop of a study through the encoder: what it shows, how good it is, and whether it takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from echojepa.answer.model import Model, ProbePart
from echojepa.answer.quality import Thresholds, quality_of
from echojepa.answer.study import ReadLoop, ReadStudy
from echojepa.answer.values import LeftOut, LoopFinding
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.reading.dicom.frame_times import r_wave_frames
from echojepa.data.store.memory import LoopsInMemory
from echojepa.evaluation.features.samples import with_features
from echojepa.evaluation.features.tokens import Features, Tokens
from echojepa.evaluation.probes.predictions import Predictions, average
from echojepa.evaluation.protocol.plans import PROBES
from echojepa.evaluation.protocol.samples import ClipSamples
from echojepa.evaluation.statistics.sharpening import sharpened
from echojepa.progress import Progress
from echojepa.tasks import VIEW, Task
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, Split

AT_ONCE = 8
"""Clips that go through the encoder together."""


class StudyFeatures:
    """Features of a study's clips, each made once, when it is asked for."""

    def __init__(self, model: Model, loops: Sequence[ReadLoop], progress: Progress) -> None:
        self.model, self.progress = model, progress
        self.memory = LoopsInMemory([loop.row for loop in loops])
        self.made: dict[tuple[int, int, int], tuple[torch.Tensor, torch.Tensor]] = {}
        self.grid: tuple[int, int, int] = (0, 0, 0)

    def of(self, clips: Sequence[tuple[int, int]], each: int) -> Features:
        """Features of clips (loop, which of the `each` evenly spaced ones of its loop), in that order."""
        missing = [clip for clip in dict.fromkeys(clips) if (*clip, each) not in self.made]
        self.fill(missing, each)
        tokens, pooled = zip(*(self.made[*clip, each] for clip in clips), strict=True)
        addresses = np.array([(0, *clip) for clip in clips], dtype=np.int64)
        return Features(Tokens.of(torch.stack(tokens)), torch.stack(pooled), self.grid, addresses)

    def fill(self, clips: Sequence[tuple[int, int]], each: int) -> None:
        """Run clips through the encoder; tokens are rounded as in the training of the probes."""
        backbone, kept_as = self.model.backbone, getattr(torch, self.model.card.features_as)
        source = ClipDataset(self.memory, range(len(self.memory)), backbone.spec, clips_per_loop=each)
        for start in range(0, len(clips), AT_ONCE):
            part = clips[start : start + AT_ONCE]
            output = backbone(torch.stack([source.clip(*clip) for clip in part]))
            self.grid = output.grid
            tokens, pooled = output.tokens.float().cpu().to(kept_as), output.pooled.float().cpu()
            for clip, one, vector in zip(part, tokens, pooled, strict=True):
                self.made[*clip, each] = one, vector
            self.progress(start + len(part), len(clips), "clips through the encoder")


def samples_of(items: Sequence[str], clips: NDArray[np.int64], classes: tuple[str, ...] = ()) -> ClipSamples:
    """Samples of clips (n, S, 3) that nobody knows the truth of."""
    names, nobody = np.array(items, dtype=str), np.full(len(items), "")
    return ClipSamples(
        items=names, patients=nobody, splits=np.full(len(items), Split.TEST), sites=nobody,
        truth=np.zeros(len(items)), classes=classes, clips=clips,
    )  # fmt: skip


def predicted(
    model: Model, task: Task, probe: ProbePart, features: Features, samples: ClipSamples
) -> Predictions:
    """What a task's probe predicts of samples, averaged to their items, as in an evaluation."""
    readout = model.view if task is VIEW else model.readouts[task.name]
    assert readout is not None
    data = with_features(samples, features, task)
    data = data.separate() if PROBES[probe.probe].fusion == "late" else data
    return average(readout.outputs(data), data)


def findings_of(model: Model, study: ReadStudy, features: StudyFeatures) -> list[LoopFinding]:
    """What is found of each loop; which tasks rest on it is still open."""
    if not study.loops:
        return []
    each = model.card.clips_per_loop
    clips = [(loop, clip) for loop in range(len(study.loops)) for clip in range(each)]
    made = features.of(clips, each)
    pooled = made.pooled.unflatten(0, (len(study.loops), each)).mean(1)
    of_each = zip(study.loops, model.likeness.distances(pooled), view_chances(model, made), strict=True)
    return [
        finding(model, number, loop, float(distance), chance, features)
        for number, (loop, distance, chance) in enumerate(of_each, start=1)
    ]


def view_chances(model: Model, features: Features) -> list[dict[str, float]]:
    """Probability of each view, by loop; nothing where the model has no probe of views."""
    part = model.card.view
    loops = int(features.clips[:, 1].max()) + 1
    if part is None:
        return [{} for _ in range(loops)]
    items = [f"{loop:06d}" for loop in features.clips[:, 1].tolist()]
    samples = samples_of(items, features.clips[:, None], part.classes)
    made = predicted(model, VIEW, part.probe, features, samples)
    chances = sharpened(made.values, part.sharpness)
    return [dict(zip(part.classes, row, strict=True)) for row in chances.tolist()]


def finding(
    model: Model,
    number: int,
    loop: ReadLoop,
    distance: float,
    chance: dict[str, float],
    features: StudyFeatures,
) -> LoopFinding:
    """One loop: a view that its file states counts, else the probe's where it is sure enough."""
    thresholds, row = model.card.thresholds, loop.row
    likeliest = max(chance, key=chance.__getitem__) if chance else None
    sure = likeliest is not None and chance[likeliest] >= thresholds.least_view_probability
    view = row.view or (likeliest if sure else None)
    found = LoopFinding(
        number=number,
        file=loop.file,
        frames=len(row.times),
        colour=row.colour,
        end_diastole=end_diastole(loop),
        view=view,
        view_source="file" if row.view else "probe" if view else "none",
        view_probability=chance.get(view) if view else None,
        likeliest_view=likeliest,
        quality=quality_of(features.memory.loop(number - 1), row.heart_rate, thresholds.heart_rate, distance),
        used_for=(),
        left_out=None,
        picture_withheld=loop.withheld,
        synthetic=row.manufacturer == SYNTHETIC_MANUFACTURER,
        row=row,
        header=loop.header,
    )
    return replace(found, left_out=unfit(found, thresholds))


def end_diastole(loop: ReadLoop) -> tuple[int, ...]:
    """Frames, 1 the first, at the R waves that a loop's file states."""
    if loop.header is None:
        return ()
    return tuple(1 + frame for frame in r_wave_frames(loop.header, np.array(loop.row.times)))


def unfit(found: LoopFinding, thresholds: Thresholds) -> LeftOut | None:
    """Why no task may rest on a loop; None where one may."""
    if found.quality.beats < thresholds.least_beats * (1 - 1e-6):
        return LeftOut.SHORT
    if found.quality.distance > thresholds.most_distance * (1 + 1e-6):
        return LeftOut.UNLIKE
    return LeftOut.UNCERTAIN if found.view is None else None
