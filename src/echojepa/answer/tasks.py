"""Each task for one study: a value with its interval and the loops it rests on, or why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from echojepa.answer.loops import StudyFeatures, predicted, samples_of
from echojepa.answer.model import Model, ValuePart
from echojepa.answer.values import Abstention, Interval, LeftOut, LoopFinding, LoopShare, TaskAnswer
from echojepa.data.clips.studies import ViewSlot, choose_slots
from echojepa.evaluation.features.samples import SlotFeatures, with_features
from echojepa.evaluation.features.tokens import Features
from echojepa.evaluation.probes.fitting import OverTimeProbe, Readout
from echojepa.evaluation.probes.heads import HeadProbe
from echojepa.evaluation.probes.own import VectorProbe
from echojepa.evaluation.protocol.samples import ClipSamples
from echojepa.evaluation.statistics.conformal import cells_of
from echojepa.tasks import Task
from echojepa.vocabulary import Kind

STUDY = "study"
"""The one item of a study's samples, and the group of its intervals."""
REASONS = {LeftOut.SHORT: Abstention.SHORT, LeftOut.UNLIKE: Abstention.UNLIKE}


def answer_task(
    model: Model, part: ValuePart, found: Sequence[LoopFinding], timeless: int, features: StudyFeatures
) -> TaskAnswer:
    """The answer of one task; `timeless` files of the study were refused for want of times."""
    task = part.task
    if part.intervals is None:
        return abstained(task, Abstention.NO_CALIBRATION, "the model has no interval for this task")
    clips = clips_for(task, found, model.card.clips_per_loop)
    if not len(clips):
        return abstained(task, *why_none(task, found, timeless))
    each = task.clips if task.slots else model.card.clips_per_loop
    there = ((loop, clip) for store, loop, clip in clips.reshape(-1, 3).tolist() if store >= 0)
    made = features.of(list(dict.fromkeys(there)), each)
    samples = samples_of([STUDY] * len(clips), clips)
    value = float(predicted(model, task, part.probe, made, samples).values[0])
    (low,), (high,) = part.intervals.intervals(np.array([value]), np.array([STUDY]))
    if not np.isfinite(high):
        return abstained(
            task, Abstention.NO_CALIBRATION, "too few patients with a similar value calibrated its interval"
        )
    return TaskAnswer(
        name=task.name,
        unit=task.unit,
        value=value,
        interval=Interval(float(low), float(high), 1 - part.intervals.alpha, patients_of(part, value)),
        loops=shares(model, part, made, samples, found),
    )


def patients_of(part: ValuePart, value: float) -> int:
    """How many patients calibrated the interval of a value."""
    assert part.intervals is not None
    cell = cells_of(np.array([value]), np.array([STUDY]), part.intervals.edges)[0]
    return part.intervals.patients[str(cell)]


def abstained(task: Task, why: Abstention, detail: str) -> TaskAnswer:
    """No value."""
    return TaskAnswer(name=task.name, unit=task.unit, abstention=why, detail=detail)


def reads(task: Task, view: str | None, colour: bool) -> bool:
    """Whether a task reads loops of a view."""
    if task.slots:
        return any(ViewSlot(*slot).takes(view, colour) for slot in task.slots)
    return view is not None and (task.views is None or view in task.views)


def fit(task: Task, found: Sequence[LoopFinding]) -> list[int]:
    """Numbers, from 0, of the loops that a task may rest on."""
    return [
        number
        for number, loop in enumerate(found)
        if loop.left_out is None and reads(task, loop.view, loop.colour)
    ]


def clips_for(task: Task, found: Sequence[LoopFinding], each: int) -> NDArray[np.int64]:
    """Addresses (n, S, 3) of a task's samples, as `evaluation.protocol.samples` makes them.

    One sample a clip, or one of all slots, -1 where a slot is absent; none where no loop fits.
    """
    usable = fit(task, found)
    if not task.slots:
        return np.array([[(0, loop, clip)] for loop in usable for clip in range(each)], dtype=np.int64)
    table = pa.table({
        "study_id": [STUDY] * len(found),
        "view": pa.array([loop.view if n in usable else None for n, loop in enumerate(found)], pa.string()),
        "colour": [loop.colour for loop in found],
        "kind": [Kind.CINE.value] * len(found),
    })  # fmt: skip
    rows = choose_slots(table, [ViewSlot(*slot) for slot in task.slots], task.clips)
    rows = rows.reshape(len(rows), len(task.slots) * task.clips)
    number = np.tile(np.arange(task.clips), (len(rows), len(task.slots)))
    clips = np.stack([np.zeros_like(rows), rows, number], axis=2)
    return np.where(rows[..., None] >= 0, clips, -1)


def why_none(task: Task, found: Sequence[LoopFinding], timeless: int) -> tuple[Abstention, str]:
    """Why no loop of a study serves a task."""
    wanted = [loop for loop in found if reads(task, loop.view or loop.likeliest_view, loop.colour)]
    reasons = Counter(loop.left_out for loop in wanted if loop.left_out in REASONS)
    if reasons:
        why, number = reasons.most_common(1)[0]
        assert why is not None
        return REASONS[why], f"{number} of {len(wanted)} loops of its views: {why.value}"
    if timeless and not wanted:
        return Abstention.NO_TIME, f"the frame times of {timeless} files are unknown"
    unsure = sum(loop.left_out is LeftOut.UNCERTAIN for loop in wanted)
    there = ", ".join(sorted({loop.view for loop in found if loop.view})) or "none that is certain"
    more = f"; {unsure} loops may be, and are not certain" if unsure else ""
    return Abstention.VIEW, f"it needs {needed(task)}; the study has {there}{more}"


def needed(task: Task) -> str:
    """The views that a task reads, in words."""
    if not task.slots:
        return " or ".join(task.views or ("any view",))
    colours = {True: " in colour", False: " without colour", None: ""}
    return " or ".join(f"{view}{colours[colour]}" for view, colour in task.slots)


def shares(
    model: Model, part: ValuePart, features: Features, samples: ClipSamples, found: Sequence[LoopFinding]
) -> tuple[LoopShare, ...]:
    """The loops a value rests on with their weight, the weightiest first.

    A mean over clips weighs each the same. A probe of several views weighs loops by its attention, or where
    it is linear by how far each alone moves the value from the training mean.
    """
    task = part.task
    loops = samples.clips[..., 1]
    if not task.slots:
        each = samples_of([f"{n:06d}" for n in loops[:, 0].tolist()], samples.clips)
        made = predicted(model, task, part.probe, features, each)
        rows = [int(name) for name in made.items.tolist()]
        weights, values = np.full(len(rows), 1 / len(rows)), made.values.tolist()
    else:
        slots = slot_weights(model.readouts[task.name], with_features(samples, features, task))
        there = loops[0] >= 0
        rows = sorted(set(loops[0, there].tolist()))
        weights = np.array([slots[there & (loops[0] == row)].sum() for row in rows])
        values = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda n: (-weights[n], rows[n]))
    return tuple(LoopShare(found[rows[n]].number, float(weights[n]), values[n]) for n in order)


@torch.no_grad()
def slot_weights(readout: Readout, data: SlotFeatures) -> NDArray[np.float64]:
    """Weight (S,) of each slot of one study, 0 where absent; they sum to 1."""
    if isinstance(readout, OverTimeProbe):
        return slot_weights(readout.inner, replace(data, features=readout.given(data.features)))
    tokens, present = data.tokens(torch.arange(1))
    if isinstance(readout, VectorProbe):
        weights = present[0].double().numpy()
    elif isinstance(readout, HeadProbe) and readout.model.pooler is not None:
        attention = readout.model.attention(tokens, None if present.all() else present)
        weights = attention[0, 0].mean(0).unflatten(0, (present.shape[1], -1)).sum(1).double().numpy()
    else:
        alone = np.where(np.eye(present.shape[1], dtype=bool), data.places, -1)
        none = np.full((1, present.shape[1]), -1)
        places = np.concatenate([none, alone])
        outputs = readout.outputs(SlotFeatures(features=data.features, places=places, views=data.views))
        weights = (outputs[1:, 0] - outputs[0, 0]).abs().double().numpy() * present[0].numpy()
    return weights / weights.sum()
