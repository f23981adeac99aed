"""When clips begin, and which stored frames they show: by a loop's own times alone, without its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echojepa.config import InputSpec


def clock(times: NDArray[np.float64], spec: InputSpec) -> tuple[NDArray[np.float64], float]:
    """Times of the stored frames, and the interval between a clip's frames, for this spec.

    In seconds, or in stored frames for a spec with a stride.
    """
    if spec.seconds is not None:
        return times, spec.seconds / spec.frames
    assert spec.stride is not None
    return np.arange(len(times), dtype=np.float64), float(spec.stride)


def frame_indices(times: NDArray[np.float64], start: float, spec: InputSpec) -> NDArray[np.int64]:
    """Stored frames (spec.frames,) of a clip that begins `start` (see `clock`) into a loop."""
    times, interval = clock(times, spec)
    wanted = start + np.arange(spec.frames) * interval
    length = times[-1]
    if length == 0:
        return np.zeros(spec.frames, dtype=np.int64)
    if spec.clips == "halves":
        return np.minimum(wanted, length).astype(np.int64)
    wanted = length - np.abs(wanted % (2 * length) - length)
    after = np.minimum(np.maximum(np.searchsorted(times, wanted), 1), len(times) - 1)
    before = after - 1
    return np.where(wanted - times[before] <= times[after] - wanted, before, after)


def latest_start(times: NDArray[np.float64], spec: InputSpec) -> float:
    """The last `start` of a clip that does not run past the loop's end; 0 for short loops."""
    times, interval = clock(times, spec)
    return max(0.0, float(times[-1]) - interval * (spec.frames - 1))


def is_short(times: NDArray[np.float64], spec: InputSpec) -> bool:
    """Whether a loop, its last frame's own interval included, is shorter than a clip: then it is played
    forwards and backwards."""
    times, interval = clock(times, spec)
    own = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return float(times[-1]) + own < interval * spec.frames * (1 - 1e-6)


def even_start(times: NDArray[np.float64], spec: InputSpec, number: int, clips: int) -> float:
    """When (see `clock`) clip `number` of the `clips` evenly spaced ones of a loop begins."""
    if spec.clips == "halves":
        return float(number * (len(times) // clips))
    return latest_start(times, spec) * (number + 0.5) / clips
