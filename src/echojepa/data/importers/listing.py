"""What a public data set's own tables say: which videos there are, whose, and what is known of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from echojepa.data.identity.people import most_guarded
from echojepa.errors import UserError
from echojepa.tasks import TASKS
from echojepa.vocabulary import Split, View

PLAUSIBLE: dict[str, tuple[float, float]] = {
    "edv": (1, 700), "esv": (0.5, 650), "weight": (0.3, 350), "height": (20, 250),
    "ivsd": (0.1, 5), "lvpwd": (0.1, 5), "lvidd": (0.5, 12), "lvids": (0.3, 11),
    **{task.label: task.valid_range for task in TASKS.values() if task.valid_range},
}  # fmt: skip
"""Values of labels that are kept, by unit mL, kg and cm; those of a task by the task's own range. Outside
is a slip of typing or of the unit. Wide on purpose: disease is inside."""
FRAME_RATES = (1.0, 1000.0)
"""Frames a second that a table may state; as for DICOM."""


class LayoutError(UserError):
    """A folder or a table is not laid out as its data set is."""


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a table says of one video; it wins over the file, and what it leaves open is as the file says."""

    patient: str | None = None
    """The person, named as no other data set names one."""
    study: str | None = None
    """The examination, likewise."""
    split: Split | None = None
    """The official split."""
    view: View | None = None
    """Echocardiographic view."""
    frame_rate: float | None = None
    """Frames a second."""
    rate_source: Literal["table", "setting"] = "table"
    """Who states the rate: the table, or the person who ran the ingest, because no table does."""
    sex: Literal["F", "M", "O"] | None = None
    """The patient's sex."""
    age: float | None = None
    """Years at the examination."""
    cropped: bool = False
    """Whether its publisher has cut the picture to the sector and cleared it of text: the whole is kept."""


NOTHING = Stated()


@dataclass
class Listing:
    """All that a data set's tables say."""

    videos: dict[Path, Stated] = field(default_factory=dict)
    """Resolved paths of files that are there."""
    labels: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    """(study, label) to (value, unit)."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Why something is left out, and what it is: a name of the data set's own, for its owner only."""
    plausible: Mapping[str, tuple[float, float]] = field(default_factory=lambda: PLAUSIBLE)
    """Label to the lowest and the highest value that is kept."""

    def leave_out(self, why: str, what: object) -> None:
        """Note that something does not come in."""
        self.left_out.append((why, str(what)))

    def counted(self) -> Counter[str]:
        """How much is left out, by reason."""
        return Counter(why for why, _ in self.left_out)

    def add_video(self, path: Path, stated: Stated) -> bool:
        """List a file; one that is not there, or stands in the table already, is left out."""
        real = path.resolve()
        if not real.is_file():
            self.leave_out("row whose file is missing", path)
        elif real in self.videos:
            self.second_row(real, stated)
        else:
            self.videos[real] = stated
            return True
        return False

    def second_row(self, real: Path, stated: Stated) -> None:
        """Another row for a file: what the first says counts, but of two splits the more guarded."""
        first = self.videos[real]
        self.leave_out("second row for a file", real)
        split = most_guarded(s for s in (first.split, stated.split) if s)
        if split != first.split:
            self.leave_out(f"rows of one video in several splits: {split} kept", real)
            self.videos[real] = replace(first, split=split)

    def add_label(self, study: str, label: str, text: object, unit: str) -> None:
        """Note a value for a study; no number, implausible, or a second and other one is left out.

        An empty value says nothing and is not counted.
        """
        if text is None or not str(text).strip():
            return
        value = number(text)
        low, high = self.plausible.get(label, (-math.inf, math.inf))
        if value is None:
            self.leave_out(f"{label}: not a number", study)
        elif not low <= value <= high:
            self.leave_out(f"{label}: outside {low:g} to {high:g} {unit}".rstrip(), study)
        elif self.labels.setdefault((study, label), (value, unit)) != (value, unit):
            self.leave_out(f"{label}: another value for the same study", study)

    def frame_rate(self, text: object, what: object) -> float | None:
        """A stated rate; None, and noted, where it is no plausible one: then the container's counts."""
        value = number(text)
        if value is not None and FRAME_RATES[0] <= value <= FRAME_RATES[1]:
            return value
        self.leave_out("implausible frame rate in the table; the container's is used", what)
        return None

    def add(self, other: Listing) -> None:
        """Take in what another source's tables say. A file in both keeps what the first says of it, but the
        more guarded of two splits."""
        for path, stated in other.videos.items():
            if self.videos.setdefault(path, stated) is not stated:
                self.second_row(path, stated)
        self.labels = other.labels | self.labels
        self.left_out += other.left_out

    def official_splits(self) -> dict[str, set[Split]]:
        """The official splits that each named patient's videos stand in."""
        found: dict[str, set[Split]] = {}
        for stated in self.videos.values():
            if stated.patient and stated.split:
                found.setdefault(stated.patient, set()).add(stated.split)
        return found

    def keep_patients_together(self) -> None:
        """One split a patient: of several official ones the most guarded, noted for each video."""
        found = self.official_splits()
        for path, stated in self.videos.items():
            if stated.patient in found and stated.split:
                split = most_guarded(found[stated.patient])
                if split != stated.split:
                    why = f"official split {stated.split} not kept: the patient is also in {split}"
                    self.leave_out(why, path)
                    self.videos[path] = replace(stated, split=split)


def number(text: object) -> float | None:
    """A finite number, or None."""
    try:
        value = float(str(text).strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


SPLITS = {
    "train": Split.TRAIN, "training": Split.TRAIN, "val": Split.VAL, "valid": Split.VAL,
    "validation": Split.VAL, "test": Split.TEST, "testing": Split.TEST,
}  # fmt: skip
"""How data sets write the three splits, in lower case."""


def split_of(word: object) -> Split | None:
    """The split that a word stands for, however it is written; None for none."""
    return SPLITS.get(str(word).strip().lower())


def sex_of(word: object) -> Literal["F", "M", "O"] | None:
    """F, M or O; None where nothing of the kind is stated."""
    sexes: dict[str, Literal["F", "M", "O"]] = {"f": "F", "m": "M", "o": "O"}
    return sexes.get(str(word).strip().lower()[:1])
