"""An answer as plain values: `prediction.json`, whose schema lies beside this file, and `prediction.csv`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from echojepa.answer.values import NOTICE, LoopFinding, StudyAnswer, TaskAnswer
from echojepa.files.records import plain

FORMAT_VERSION = 3
"""Of `prediction.json`: 2 may hold reviews, 3 frames at end-diastole; what reads it reads 1 and 2, too."""
DIGITS = 6
"""Significant digits of numbers: more are noise, and differ between machines."""


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `prediction.json`."""
    text = resources.files("echojepa.answer.writing").joinpath("prediction.schema.json").read_text("utf-8")
    return json.loads(text)


def rounded(value: Any) -> Any:
    """Plain values with all their fractions of few digits."""
    if isinstance(value, dict):
        return {name: rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def document_of(answer: StudyAnswer) -> dict[str, Any]:
    """All that `prediction.json` holds; no identifier of a patient, file or study is among it."""
    return {
        "format": "echojepa prediction",
        "format_version": FORMAT_VERSION,
        "notice": NOTICE,
        "model": plain(answer.model),
        "study": {"number": answer.number, "files": answer.files, "loops": len(answer.loops)},
        "tasks": [rounded(task_entry(task)) for task in answer.tasks],
        "loops": [rounded(loop_entry(loop)) for loop in answer.loops],
        "unused_files": plain(answer.unused),
    }


def task_entry(task: TaskAnswer) -> dict[str, Any]:
    """A task."""
    interval = task.interval and {
        "low": task.interval.low,
        "high": task.interval.high,
        "level": task.interval.level,
        "calibration_patients": task.interval.patients,
    }
    return {
        "name": task.name,
        "unit": task.unit,
        "value": task.value,
        "interval": interval,
        "loops": plain(task.loops),
        "abstention": task.abstention and {"reason": task.abstention.value, "detail": task.detail},
    }


def loop_entry(loop: LoopFinding) -> dict[str, Any]:
    """A loop."""
    view = {
        "name": loop.view,
        "source": loop.view_source,
        "probability": loop.view_probability,
        "likeliest": loop.likeliest_view,
    }
    return {
        "number": loop.number,
        "file": loop.file,
        "frames": loop.frames,
        "colour": loop.colour,
        "end_diastole": list(loop.end_diastole),
        "view": view,
        "quality": plain(loop.quality),
        "used_for": list(loop.used_for),
        "left_out": loop.left_out and loop.left_out.value,
        "picture_withheld": loop.picture_withheld,
        "synthetic": loop.synthetic,
    }


def table_rows(document: dict[str, Any]) -> Iterator[dict[str, object]]:
    """A row a task of what `prediction.json` holds, for spreadsheets; what is not known is empty."""
    reviews = {one["task"]: one for one in document.get("reviews", ())}
    for task in document["tasks"]:
        interval, abstention = task["interval"] or {}, task["abstention"] or {}
        review = reviews.get(task["name"], {})
        yield {
            "study": document["study"]["number"],
            "task": task["name"],
            "value": "" if task["value"] is None else task["value"],
            "unit": task["unit"],
            "low": interval.get("low", ""),
            "high": interval.get("high", ""),
            "level": interval.get("level", ""),
            "calibration_patients": interval.get("calibration_patients", ""),
            "abstention": abstention.get("reason", ""),
            "detail": abstention.get("detail", ""),
            "loops": " ".join(str(share["loop"]) for share in task["loops"]),
            "verdict": review.get("verdict", ""),
            "reason": as_text(review.get("reason", "")),
            "model": document["model"]["name"],
            "model_sha256": document["model"]["sha256"],
            "notice": document["notice"],
        }


def as_text(words: str) -> str:
    """A person's words as a spreadsheet shows them: it takes some first letters for a formula's."""
    return f"'{words}" if words.startswith(("=", "+", "-", "@", "\t")) else words
