"""`prediction.html`: one page with the answer, the loops behind it, and the unused files.

It is made only from `prediction.json` and the films, and can be made again from both. Loops play at their own
frame times. The page loads nothing from other servers and names no person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.answer.writing.films import MOST_FRAMES, LoopFilm
from echojepa.report.page import write_page

TITLES = {
    "lvef": "Left ventricular ejection fraction",
    "rvsp": "Right ventricular systolic pressure",
}


@dataclass(frozen=True)
class Band:
    """A part of a strip with a meaning, up to where the next one begins."""

    low: float
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
        (Band(10, "reduced", "poor"), Band(41, "mild", "fair"), Band(50, "preserved", "good")),
        "Bands: universal definition of heart failure (Bozkurt 2021).",
    ),
    "rvsp": Reference(
        10,
        90,
        (Band(10, "up to 35 mmHg", "good"), Band(36, "raised", "fair")),
        "Upper limit 35 mmHg: Rudski, right heart in adults (2010).",
    ),
}


Entry = dict[str, Any]
"""A part of `prediction.json`."""


def write_answer_page(document: Entry, films: Mapping[int, LoopFilm], path: Path) -> Path:
    """Write the page whole; loops that serve no task are one picture each."""
    used = {loop["number"] for loop in document["loops"] if loop["used_for"]}
    shown = {number: film if number in used else film.middle for number, film in films.items()}
    return write_page(path, "prediction.html", **page_values(document, shown))


def page_values(
    document: Entry, films: Mapping[int, LoopFilm], served: Mapping[str, Any] | None = None
) -> Entry:
    """What a page of an answer shows; `served` says where a server has whole films, by their number, which
    have attention laid over them, and where it takes reviews, by the task's name."""
    return {
        "served": served,
        "answer": document,
        "notice": document["notice"],
        "headlines": [headline(task, reviews_of(document, task)) for task in document["tasks"]],
        "cards": [
            card(loop, document, films[loop["number"]], served is not None)
            for loop in in_order(document["loops"])
        ],
        "synthetic": synthetic_share([loop["synthetic"] for loop in document["loops"]]),
    }


def side_by_side(first: Entry, second: Entry) -> list[Entry]:
    """What two models say of each task of a study, and the second's value less the first's."""
    answers = [{task["name"]: task for task in document["tasks"]} for document in (first, second)]
    return [
        {
            "title": TITLES.get(name, name),
            "said": [in_words(tasks.get(name)) for tasks in answers],
            "difference": difference(*(tasks.get(name) for tasks in answers)),
        }
        for name in {**answers[0], **answers[1]}
    ]


def in_words(task: Entry | None) -> str:
    """A task's answer in a line."""
    if task is None:
        return "does not say"
    if task["value"] is None:
        return f"no answer: {task['abstention']['reason']}"
    low, high = task["interval"]["low"], task["interval"]["high"]
    return f"{task['value']:.0f} {task['unit']} ({low:.0f} to {high:.0f})"


def difference(first: Entry | None, second: Entry | None) -> str:
    """The second's value less the first's; "" where one has none."""
    if first is None or second is None or first["value"] is None or second["value"] is None:
        return ""
    unit = "points" if first["unit"] == "%" else first["unit"]
    return f"{second['value'] - first['value']:+.0f} {unit}"


def reviews_of(document: Entry, task: Entry) -> Entry | None:
    """What a person said of a task's answer; None where nobody did."""
    return next((one for one in document.get("reviews", ()) if one["task"] == task["name"]), None)


def in_order(loops: Sequence[Entry]) -> list[Entry]:
    """Loops that serve a task first."""
    return sorted(loops, key=lambda loop: (not loop["used_for"], loop["number"]))


def synthetic_share(flags: Sequence[bool]) -> str:
    """Whether "all", "some" or "none" of the loops are a phantom's."""
    return "all" if flags and all(flags) else "some" if any(flags) else "none"


def headline(task: Entry, review: Entry | None) -> Entry:
    """A task as the page shows it."""
    name, interval = task["name"], task["interval"]
    shown: Entry = {
        "task": task,
        "title": TITLES.get(name, name),
        "short": name.upper() if name in TITLES else name,
        "review": review,
        "strip": None,
    }
    if interval is not None:
        shown |= {
            "value": f"{task['value']:.0f}",
            "low": f"{interval['low']:.0f}",
            "high": f"{interval['high']:.0f}",
            "level": f"{100 * interval['level']:.0f}",
            "strip": strip(task),
        }
    return shown


def strip(task: Entry) -> Entry:
    """Places on the strip, in per cent of its width; ends stay on it."""
    ends = task["interval"]["low"], task["interval"]["high"]
    reach = max(ends[1] - ends[0], 1e-6)
    reference = REFERENCES.get(task["name"], Reference(ends[0] - reach, ends[1] + reach, (), ""))
    low, high = min(reference.low, ends[0]), max(reference.high, ends[1])

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    edges = pairwise([low, *(band.low for band in reference.bands[1:]), high])
    bands = [
        {"left": place(start), "width": place(end) - place(start), "name": band.name, "kind": band.kind}
        for band, (start, end) in zip(reference.bands, edges, strict=False)
    ]
    ticks = [{"at": place(edge), "text": f"{edge:.0f}"} for edge in ticks_of(low, high)]
    return {
        "value": place(task["value"]),
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


def card(loop: Entry, document: Entry, film: LoopFilm, served: bool) -> Entry:
    """A loop as the page shows it; `served`: its film is elsewhere, and whole."""
    count = min(loop["frames"], MOST_FRAMES) if served and film.frames else len(film.frames)
    shares = {
        task["name"]: f"{100 * share['weight']:.0f} %"
        for task in document["tasks"]
        for share in task["loops"]
        if share["loop"] == loop["number"]
    }
    return {
        "loop": loop,
        "film": film,
        "poster": next(iter(film.middle.frames), None),
        "count": count,
        "cut": 1 < count < loop["frames"],
        "shares": shares,
        "view": view_words(loop["view"]),
        "facts": facts_of(loop),
    }


def view_words(view: Entry) -> str:
    """Where the view comes from."""
    chance = None if view["probability"] is None else f"{100 * view['probability']:.0f} %"
    if view["source"] == "probe":
        return f"by the model, {chance}"
    if view["source"] == "none":
        return f"perhaps {view['likeliest']}" if view["likeliest"] else "not stated"
    if view["likeliest"] and view["likeliest"] != view["name"]:
        return f"stated by the file; the model takes it for {view['likeliest']}"
    return f"stated by the file; the model agrees, {chance}" if chance else "stated by the file"


def facts_of(loop: Entry) -> list[tuple[str, str]]:
    """Quality, in words."""
    quality = loop["quality"]
    assumed = "" if quality["heart_rate_stated"] else ", assumed"
    colour = ", colour" if loop["colour"] else ""
    diastoles = ", ".join(map(str, loop.get("end_diastole", ())))
    return [
        ("length", f"{quality['seconds']:.1f} s"),
        ("beats", f"{quality['beats']:.1f} at {quality['heart_rate']:.0f}/min{assumed}"),
        ("frames", f"{loop['frames']} at {quality['frame_rate']:.0f}/s{colour}"),
        *([("end-diastole", f"frame {diastoles}, at the ECG's R wave")] if diastoles else []),
        ("brightness", f"{quality['brightness']:.0f} of 255"),
        ("distance", f"{quality['distance']:.2f}"),
    ]
