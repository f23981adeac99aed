"""When each frame was taken: by the first attribute that is plausible, with its name and what was odd."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from echojepa.data.reading.dicom.attributes import value, within
from echojepa.data.reading.rejection import Rejected
from echojepa.data.reading.times import pause_warning, plausible
from echojepa.data.reading.video import Video
from echojepa.vocabulary import Reason

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
    steps, warned = _stated_steps(data, frames)
    names = ["FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"]
    if value(data, "FrameIncrementPointer") == 0x00181065:
        names.insert(0, names.pop(1))
    sound = {name: steps[name] for name in names if name in steps and plausible(steps[name] / 1000)}
    warned += [f"{name} is implausible" for name in names if name in steps and name not in sound]
    if not sound:
        if video is None:
            raise Rejected(Reason.NO_TIME, f"{frames} frames without a plausible frame time or rate")
        return video.times, "container", told(warned, np.diff(video.times))
    source = next(iter(sound))
    chosen = sound[source]
    cine = sound.get("CineRate")
    if cine is not None and abs(cine.mean() / np.median(chosen) - 1) > DISAGREEMENT:
        warned.append(f"{source} and CineRate disagree")
    return np.concatenate([[0.0], np.cumsum(chosen)]) / 1000, source, told(warned, chosen / 1000)


def r_wave_frames(data: Dataset, times: NDArray[np.float64]) -> tuple[int, ...]:
    """Frames (0 the first) nearest to the R waves that the file states within its times (T,).

    RWaveTimeVector (0018,6060) has milliseconds since the first frame (DICOM PS3.3, C.8.5.6). An R wave is
    taken for end-diastole, as is usual where nothing else tells it.
    """
    stated = value(data, "RWaveTimeVector")
    several = stated if isinstance(stated, Sequence) and not isinstance(stated, str) else [stated]
    within_loop = (0.0, 1000 * float(times[-1]))
    waves = [wave for one in several if (wave := within(one, within_loop)) is not None]
    return tuple(sorted({int(np.argmin(np.abs(times - wave / 1000))) for wave in waves}))


def told(warned: list[str], steps: NDArray[np.float64]) -> str:
    """Warnings as one sentence, long pauses in the steps (seconds) among them."""
    return "; ".join([*warned, *filter(None, [pause_warning(steps)])])


def _stated_steps(data: Dataset, frames: int) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Milliseconds from each frame to the next (T - 1,), by each attribute that states them; what was odd."""
    steps, warned = {}, []
    positive = (0.0, math.inf)
    if value(data, "FrameTime") is not None:
        steps["FrameTime"] = np.full(frames - 1, within(value(data, "FrameTime"), positive) or 0.0)
    vector = value(data, "FrameTimeVector")
    if isinstance(vector, Sequence) and not isinstance(vector, str):
        stated = np.array([within(v, positive) or 0.0 for v in vector])
        if len(stated) == frames - 1:
            warned.append("FrameTimeVector has one value too few: used as the times between frames")
            stated = np.concatenate([[0.0], stated])
        if len(stated) == frames:
            if is_running_sum(stated):
                warned.append("FrameTimeVector contains running sums, not times between frames")
                stated = np.concatenate([[0.0], np.diff(stated)])
            steps["FrameTimeVector"] = stated[1:]
        else:
            warned.append("FrameTimeVector has another length than the loop")
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        if value(data, name) is not None:
            rate = within(value(data, name), positive)
            steps[name] = np.full(frames - 1, 1000 / rate if rate else 0.0)
    return steps, warned


def is_running_sum(stated: NDArray[np.float64]) -> bool:
    """Whether a vector (T,), milliseconds, counts from the first frame on: it grows at every frame by a
    plausible step.

    Times between frames do not: a heart's recording does not slow down from its first frame to its last.
    """
    growth = np.diff(stated[1:])
    if len(growth) < 2:
        return len(growth) == 1 and abs(stated[2] - 2 * stated[1]) <= 0.1 * stated[1]
    return bool(growth.min() > 0) and plausible(growth / 1000)
