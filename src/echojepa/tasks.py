"""Tasks as plain values: what is predicted, from which views, in which unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echojepa.vocabulary import View


@dataclass(frozen=True)
class Task:
    """One thing a probe learns to predict from frozen features."""

    name: str
    """Name on the command line and in tables."""
    label: str
    """Label name in `labels.parquet`, or `view` for the loop's own view column."""
    kind: Literal["regression", "classification"]
    unit: str
    """Clinical unit of the prediction; empty for classes."""
    views: tuple[View, ...] | None
    """Loops of these views are used; None uses every loop that has the label."""
    level: Literal["study", "loop"]
    """Predictions are averaged to this level before they are scored."""
    valid_range: tuple[float, float] | None = None
    """Labels outside are an error: they are typing slips or another unit."""


LVEF = Task("lvef", "lvef", "regression", "%", (View.A4C, View.A2C), "study", (5.0, 100.0))
"""Up to 100 %, the most that can be ejected, not to a plausible 90 %: EchoNet-Dynamic has some above that,
and who scores its test set without them scores another set. From 5 %: less is a share, 0.55 for 55 %."""
VIEW = Task("view", "view", "classification", "", None, "loop")

TASKS: dict[str, Task] = {task.name: task for task in (LVEF, VIEW)}
