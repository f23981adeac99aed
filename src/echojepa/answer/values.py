"""What an answer is made of. Nothing here carries an identifier but what `repr` hides, for DICOM alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from echojepa.data.store.rows import StoredLoop

NOTICE = "Research use only. Not a medical device."


class Abstention(StrEnum):
    """Why a task has no value: the closed list."""

    VIEW = "required view missing"
    SHORT = "too short for a beat"
    UNLIKE = "unlike training"
    NO_CALIBRATION = "no calibration"
    NO_TIME = "no time base"


class LeftOut(StrEnum):
    """Why a loop that was read takes no part in any task: the closed list."""

    SHORT = "too short for a beat"
    UNLIKE = "unlike training"
    UNCERTAIN = "view not certain"
    NO_TASK = "no task reads this view"
    NO_ANSWER = "its task has no answer"
    ENOUGH = "other loops of this view came first"


@dataclass(frozen=True)
class UnusedFile:
    """A file of the input that became no loop."""

    file: int
    """Its place in the input, 1 the first: see `answer.gathering`."""
    reason: str
    """From a closed list."""
    detail: str = ""
    """More of it; never a value of the file."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What may make a loop fit or unfit."""

    frame_rate: float
    """Frames a second, by the median interval."""
    seconds: float
    """From the first frame to one interval after the last."""
    beats: float
    """Beats that it covers."""
    heart_rate: float
    """Beats a minute that this rests on."""
    heart_rate_stated: bool
    """Whether the file states it; else it is the median of the model's training set."""
    sector: float
    """Share of the kept picture that is ultrasound."""
    brightness: float
    """Mean grey level, 0 to 255, of the ultrasound in the middle frame."""
    distance: float
    """From the nearest view of the model's training set; see `evaluation.features.likeness`."""


@dataclass(frozen=True, kw_only=True)
class LoopFinding:
    """A cine loop of the study, and what became of it."""

    number: int
    """Within the study, 1 the first."""
    file: int
    """Place of its file in the input."""
    frames: int
    colour: bool
    end_diastole: tuple[int, ...]
    """Frames, 1 the first, at the R waves that the file states; none where it states none."""
    view: str | None
    """The view that tasks go by; None where none is certain."""
    view_source: Literal["file", "probe", "none"]
    """Who says so: the file's own code, or the model's probe."""
    view_probability: float | None
    """Of that view, by the probe; None where the model has no probe or it does not know the view."""
    likeliest_view: str | None
    """What the probe takes it for."""
    quality: Quality
    used_for: tuple[str, ...]
    """Names of the tasks that rest on it."""
    left_out: LeftOut | None
    """Why it serves none of them."""
    picture_withheld: bool
    """Whether still text was found in its picture, which may be a name: it is read, and not shown."""
    synthetic: bool
    """Whether it is a phantom's."""
    row: StoredLoop = field(repr=False, compare=False)
    """Its pixels and times."""
    header: Any = field(repr=False, compare=False)
    """Its file's DICOM attributes, identifiers among them; None for a video. For SR and key image alone."""


@dataclass(frozen=True)
class LoopShare:
    """A loop that a value rests on."""

    loop: int
    """Its number in the study."""
    weight: float
    """Share of the value's weight, 0 to 1; those of a task sum to 1."""
    value: float | None
    """What the loop alone gives, where the task is the mean over loops."""


@dataclass(frozen=True)
class Interval:
    """A prediction interval and what it is worth."""

    low: float
    high: float
    level: float
    """Share of patients whose truth it holds: of patients exchangeable with those who calibrated it."""
    patients: int
    """How many calibrated it."""


@dataclass(frozen=True, kw_only=True)
class TaskAnswer:
    """A value with its interval, or why there is none."""

    name: str
    unit: str
    value: float | None = None
    interval: Interval | None = None
    loops: tuple[LoopShare, ...] = ()
    """Those it rests on, the weightiest first."""
    abstention: Abstention | None = None
    detail: str = ""
    """Why it abstains, in a sentence; empty where it does not."""


@dataclass(frozen=True)
class ModelFacts:
    """Which model answered."""

    name: str
    sha256: str
    """Checksum of its card, which holds the checksums of all its parts."""
    version: str
    """Version of this package that answered."""
    synthetic: str
    """Whether "all", "some" or "none" of the loops it was trained on are a phantom's."""


@dataclass(frozen=True, kw_only=True)
class StudyAnswer:
    """All that is said of one study."""

    number: int
    """Within the batch, 1 the first."""
    files: int
    """Files of it."""
    tasks: tuple[TaskAnswer, ...]
    loops: tuple[LoopFinding, ...]
    unused: tuple[UnusedFile, ...]
    model: ModelFacts

    def task(self, name: str) -> TaskAnswer:
        """The answer of a task; KeyError for one that the model has not."""
        answers = {answer.name: answer for answer in self.tasks}
        if name not in answers:
            raise KeyError(f"this model answers {list(answers)}, not '{name}'")
        return answers[name]
