"""When each frame was taken: by the first attribute that is plausible, with its name and what was odd."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from echojepa.data.dicom.attributes import value, within
from echojepa.data.rejection import Rejected
from echojepa.data.video import Video
from echojepa.vocabulary import Reason

FRAME_TIMES = (1.0, 1000.0)
"""Plausible milliseconds from a frame to the next."""
DISAGREEMENT = 0.1
"""Two attributes that give frame times further apart than this share are worth a warning."""


def frame_times(
    data: Dataset, frames: int, video: Video | None = None
) -> tuple[NDArray[np.float64], str, str]:
    """Seconds since the first frame (T,), the attribute they came from, and a warning or "".

    The first plausible of: what FrameIncrementPointer names, FrameTime, FrameTimeVector, CineRate,
    RecommendedDisplayFrameRate, the times in a video's own container. Rejected where there is none.
    """
    if frames == 1:
        return np.zeros(1), "single frame", ""
    steps = _stated_steps(data, frames)
    names = ["FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"]
    if value(data, "FrameIncrementPointer") == 0x00181065:
        names.insert(0, names.pop(1))
    plausible = {
        name: step
        for name in names
        if (step := steps.get(name)) is not None
        and FRAME_TIMES[0] <= step.min()
        and step.max() <= FRAME_TIMES[1]
    }
    warned = [f"{name} is implausible" for name in names if name in steps and name not in plausible]
    if not plausible:
        if video is None:
            raise Rejected(Reason.NO_TIME, f"{frames} frames, and no plausible frame time or rate")
        return video.times, "container", "; ".join(warned)
    source = next(iter(plausible))
    chosen = plausible[source]
    cine = plausible.get("CineRate")
    if cine is not None and abs(cine.mean() / chosen.mean() - 1) > DISAGREEMENT:
        warned.append(f"{source} and CineRate disagree")
    return np.concatenate([[0.0], np.cumsum(chosen)]) / 1000, source, "; ".join(warned)


def _stated_steps(data: Dataset, frames: int) -> dict[str, NDArray[np.float64]]:
    """Milliseconds from each frame to the next (T - 1,), by every attribute that states them."""
    steps = {}
    positive = (0.0, math.inf)
    if value(data, "FrameTime") is not None:
        steps["FrameTime"] = np.full(frames - 1, within(value(data, "FrameTime"), positive) or 0.0)
    vector = value(data, "FrameTimeVector")
    if isinstance(vector, Sequence) and len(vector) == frames:
        steps["FrameTimeVector"] = np.array([within(v, positive) or 0.0 for v in vector[1:]])
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        if value(data, name) is not None:
            rate = within(value(data, name), positive)
            steps[name] = np.full(frames - 1, 1000 / rate if rate else 0.0)
    return steps
