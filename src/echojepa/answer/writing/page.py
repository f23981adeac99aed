"""`prediction.html`: one page with the answer, the loops it rests on, and what was not used.

Loops play at their own frame times. The page asks for nothing from outside and names nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echojepa.answer.values import NOTICE, LoopFinding, StudyAnswer, TaskAnswer
from echojepa.data.store.memory import loop_of
from echojepa.report.page import jpeg_uri, write_page

SIDE, QUALITY = 232, 72
"""Longer side of the page's pictures, pixels, and their JPEG quality."""
MOST_FRAMES = 150
"""Frames of a loop on the page at most, from its first on."""
TITLES = {
    "lvef": "Left ventricular ejection fraction",
    "rvsp": "Right ventricular systolic pressure",
}


@dataclass(frozen=True)
class Band:
    """A part of a strip with a meaning."""

    low: float
    high: float
    name: str
    kind: str
    """`good`, `fair` or `poor`."""


@dataclass(frozen=True)
class Reference:
    """What a strip shows beside a value."""

    low: float
    """Left end of the strip."""
    high: float
    bands: tuple[Band, ...]
    source: str


REFERENCES = {
    "lvef": Reference(
        10,
        80,
        (
            Band(10, 41, "reduced", "poor"),
            Band(41, 50, "mild", "fair"),
            Band(50, 80, "preserved", "good"),
        ),
        "Bands: universal definition of heart failure (Bozkurt 2021).",
    ),
    "rvsp": Reference(
        10,
        90,
        (Band(10, 36, "up to 35 mmHg", "good"), Band(36, 90, "raised", "fair")),
        "Upper limit 35 mmHg: Rudski, right heart in adults (2010).",
    ),
}


def write_answer_page(answer: StudyAnswer, path: Path) -> Path:
    """Write the page whole."""
    return write_page(
        path,
        "prediction.html",
        answer=answer,
        notice=NOTICE,
        headlines=[headline(task) for task in answer.tasks],
        cards=[card(loop, answer) for loop in in_order(answer.loops)],
        synthetic=synthetic_share([loop.synthetic for loop in answer.loops]),
    )


def in_order(loops: Sequence[LoopFinding]) -> list[LoopFinding]:
    """Loops that serve a task first."""
    return sorted(loops, key=lambda loop: (not loop.used_for, loop.number))


def synthetic_share(flags: Sequence[bool]) -> str:
    """Whether "all", "some" or "none" of the loops are a phantom's."""
    return "all" if flags and all(flags) else "some" if any(flags) else "none"


def headline(task: TaskAnswer) -> dict[str, Any]:
    """A task as the page shows it."""
    shown: dict[str, Any] = {
        "task": task,
        "title": TITLES.get(task.name, task.name),
        "short": task.name.upper() if task.name in TITLES else task.name,
        "strip": None,
    }
    if task.value is not None and task.interval is not None:
        shown |= {
            "value": f"{task.value:.0f}",
            "low": f"{task.interval.low:.0f}",
            "high": f"{task.interval.high:.0f}",
            "level": f"{100 * task.interval.level:.0f}",
            "strip": strip(task),
        }
    return shown


def strip(task: TaskAnswer) -> dict[str, Any]:
    """Places on the strip, in per cent of its width; ends stay on it."""
    assert task.value is not None and task.interval is not None
    ends = task.interval.low, task.interval.high
    reach = max(ends[1] - ends[0], 1e-6)
    reference = REFERENCES.get(task.name, Reference(ends[0] - reach, ends[1] + reach, (), ""))
    low, high = min(reference.low, ends[0]), max(reference.high, ends[1])

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    bands = [
        {
            "left": place(max(low, band.low) if number else low),
            "width": place(high if number == len(reference.bands) - 1 else band.high)
            - place(band.low if number else low),
            "name": band.name,
            "kind": band.kind,
        }
        for number, band in enumerate(reference.bands)
    ]
    ticks = [{"at": place(edge), "text": f"{edge:.0f}"} for edge in ticks_of(low, high)]
    return {
        "value": place(task.value),
        "low": place(ends[0]),
        "width": place(ends[1]) - place(ends[0]),
        "bands": bands,
        "ticks": ticks,
        "source": reference.source,
    }


def ticks_of(low: float, high: float) -> NDArray[np.float64]:
    """Round numbers between two, some five of them."""
    rough = (high - low) / 5
    step = 10 ** np.floor(np.log10(rough))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def card(loop: LoopFinding, answer: StudyAnswer) -> dict[str, Any]:
    """A loop as the page shows it: all frames where it serves a task, else the middle one."""
    pictures, times = ([], []) if loop.picture_withheld else pictures_of(loop)
    shares = {
        task.name: f"{100 * share.weight:.0f} %"
        for task in answer.tasks
        for share in task.loops
        if share.loop == loop.number
    }
    return {
        "loop": loop,
        "pictures": pictures,
        "milliseconds": times,
        "cut": bool(loop.used_for) and loop.frames > MOST_FRAMES,
        "shares": shares,
        "view": view_words(loop),
        "facts": facts_of(loop),
    }


def view_words(loop: LoopFinding) -> str:
    """Where the view comes from."""
    chance = None if loop.view_probability is None else f"{100 * loop.view_probability:.0f} %"
    if loop.view_source == "probe":
        return f"by the model, {chance}"
    if loop.view_source == "none":
        return f"perhaps {loop.likeliest_view}" if loop.likeliest_view else "not stated"
    if loop.likeliest_view and loop.likeliest_view != loop.view:
        return f"stated by the file; the model takes it for {loop.likeliest_view}"
    return f"stated by the file; the model agrees, {chance}" if chance else "stated by the file"


def facts_of(loop: LoopFinding) -> list[tuple[str, str]]:
    """Quality, in words."""
    quality = loop.quality
    assumed = "" if quality.heart_rate_stated else ", assumed"
    return [
        ("length", f"{quality.seconds:.1f} s"),
        ("beats", f"{quality.beats:.1f} at {quality.heart_rate:.0f}/min{assumed}"),
        ("frames", f"{loop.frames} at {quality.frame_rate:.0f}/s{', colour' if loop.colour else ''}"),
        ("brightness", f"{quality.brightness:.0f} of 255"),
        ("distance", f"{quality.distance:.2f}"),
    ]


def pictures_of(loop: LoopFinding) -> tuple[list[str], list[int]]:
    """Frames as data URIs, and how long each is shown, milliseconds."""
    pixels = loop_of(loop.row)
    chosen = list(range(min(loop.frames, MOST_FRAMES))) if loop.used_for else [loop.frames // 2]
    steps = np.diff(pixels.times)
    steps = np.append(steps, np.median(steps))
    return (
        [small_jpeg(frame) for frame in pixels.frames(chosen)],
        [max(1, round(1000 * float(steps[index]))) for index in chosen],
    )


def small_jpeg(frame: NDArray[np.uint8]) -> str:
    """A small JPEG of a frame (H, W) or (H, W, 3)."""
    height, width = frame.shape[:2]
    factor = SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return jpeg_uri(np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)), QUALITY)
