"""What may make a loop fit or unfit, measured in one way on training loops and on a user's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echojepa.answer.values import Quality
from echojepa.data.reading.frames import luma
from echojepa.data.store.rows import Loop

RESTING_RATE = 70.0
"""Beats a minute, taken where neither the file nor any training loop states them."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What a loop must have to take part, chosen on validation patients, and what they had."""

    least_beats: float
    """A beat, or less where validation loops were shorter."""
    most_distance: float
    """That 98 % of validation loops do not exceed."""
    least_view_probability: float
    """From which on 95 % of validation loops have the view that the probe names; above 1 where none does."""
    heart_rate: float
    """Median of training loops, for files that state none."""
    brightness: tuple[float, float]
    """What the middle 90 % of validation loops have."""
    frame_rate: tuple[float, float]
    """Likewise."""
    patients: int
    """Validation patients behind these numbers."""
    loops: int
    """Their loops."""


def brightness_of(loop: Loop) -> float:
    """Mean grey level of the sector in the middle frame."""
    frame = loop.frames([len(loop) // 2])[0]
    return float((luma(frame) if frame.ndim == 3 else frame)[loop.mask].mean())


def quality_of(loop: Loop, heart_rate: float | None, assumed: float, distance: float) -> Quality:
    """The quality of a loop whose file states a heart rate, or none: then `assumed` is taken."""
    step = float(np.median(np.diff(loop.times)))
    seconds = float(loop.times[-1]) + step  # the last frame lasts as long as the others
    rate = heart_rate or assumed
    return Quality(
        frame_rate=1 / step,
        seconds=seconds,
        beats=seconds * rate / 60,
        heart_rate=rate,
        heart_rate_stated=heart_rate is not None,
        sector=float(loop.mask.mean()),
        brightness=brightness_of(loop),
        distance=distance,
    )
