"""Tasks as plain values: what is predicted, from which views, in which unit."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Literal

from echojepa.errors import ConfigError
from echojepa.files.records import decode_plain, plain, read_plain
from echojepa.vocabulary import View

TaskKind = Literal["regression", "binary", "classification", "ordinal"]
Slot = tuple[View, bool | None]
"""A view that a study probe reads, and whether of colour loops alone (True), grey ones (False), or either."""


@dataclass(frozen=True)
class Task:
    """One thing a probe learns to predict from frozen features."""

    name: str
    """Name on the command line and in tables."""
    label: str
    """Label name in `labels.parquet`, or `view` for the loop's own view column."""
    kind: TaskKind
    """Kind of prediction: a value, one of two classes, one of several, or one of several in order."""
    unit: str = ""
    """Clinical unit of the prediction; empty for classes."""
    views: tuple[View, ...] | None = None
    """Loops of these views are used, each by itself; None uses every loop that has the label."""
    level: Literal["study", "loop"] = "study"
    """Predictions are averaged to this level before they are scored."""
    valid_range: tuple[float, float] | None = None
    """Labels outside are an error: they are typing slips or another unit."""
    slots: tuple[Slot, ...] = ()
    """Views that one probe reads together, for tasks that need a study's views at once; replaces `views`."""
    clips: int = 1
    """Clips of each slot."""

    def __post_init__(self) -> None:
        if self.slots and (self.views or self.level != "study"):
            raise ConfigError(
                f"task {self.name}: slots read a study's views together; leave `views` out and set "
                "`level` to study"
            )
        if self.kind == "regression" and self.label == "view":
            raise ConfigError(f"task {self.name}: a view is a class, not a value; give another `kind`")

    @property
    def classes(self) -> bool:
        """Whether a class is predicted, not a value."""
        return self.kind != "regression"


LVEF = Task("lvef", "lvef", "regression", "%", (View.A4C, View.A2C), "study", (5.0, 100.0))
"""Up to 100 %, the most that can be ejected, not to a plausible 90 %: EchoNet-Dynamic has some above that,
and who scores its test set without them scores another set. From 5 %: less is a share, 0.55 for 55 %."""
LVEF_BY_LOOP = replace(LVEF, name="lvef by loop", level="loop")
"""Of each loop by itself, for what is told by view."""
VIEW = Task("view", "view", "classification", level="loop")
RVSP = Task(
    "rvsp",
    "rvsp",
    "regression",
    "mmHg",
    valid_range=(5.0, 130.0),
    slots=((View.A4C, True), (View.PSAX_AV, None)),
    clips=2,
)

TASKS: dict[str, Task] = {task.name: task for task in (LVEF, VIEW, RVSP)}


def find_task(name: str) -> Task:
    """A task by name, or the one that a JSON file describes by the fields of `Task`.

    ConfigError for an unknown name, and for a file with an unknown, missing or impossible entry.
    """
    if name in TASKS:
        return TASKS[name]
    path = Path(name)
    if path.suffix != ".json" or not path.is_file():
        known = ", ".join(sorted(TASKS))
        raise ConfigError(
            f"unknown task '{name}'. Known: {known}; or give a JSON file with the fields of a task"
        )
    optional = {field.name: field.default for field in fields(Task) if field.default is not MISSING}
    try:
        return decode_plain(Task, plain(optional) | read_plain(path))
    except ConfigError as error:
        raise ConfigError(
            f"{path.name} does not describe a task: {error}; it needs name, label and kind, and may have "
            f"{', '.join(optional)}"
        ) from error
