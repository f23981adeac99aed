"""What a run, its data set and its results left on record, read for the card."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, quantiles, stdev
from typing import Any

from echojepa.config import LABELLED, PlanConfig, PretrainConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.evaluation.protocol.cohort import synthetic_share
from echojepa.evaluation.results import ResultRow
from echojepa.evaluation.statistics.subgroups import MINIMUM_PATIENTS
from echojepa.vocabulary import Kind, Split
from echojepa.weights.folder import WeightsCard

COLUMNS = (
    "study_id", "patient_id", "split", "site", "view", "kind", "manufacturer", "frame_rate", "width",
    "height", "pixel_height_mm", "sex", "age",
)  # fmt: skip


@dataclass(frozen=True)
class SplitPart:
    """The patients of one split."""

    split: str
    patients: int
    studies: int
    loops: int
    sexes: tuple[str, ...]
    """Of the patients whose sex is stated."""
    ages: tuple[float, ...]
    """Years, of the patients whose age is stated."""
    labels: dict[str, tuple[float, ...]]
    """Values of each label, one a study."""


@dataclass(frozen=True)
class Records:
    """Everything that the card is filled from."""

    weights: WeightsCard
    pretraining: PretrainConfig
    steps: list[dict[str, Any]]
    """The run's log."""
    parameters: int
    """Of the encoder."""
    name: str
    """What the results call this very encoder; empty where none of their rows is of it."""
    fingerprint: str
    """Of the data set that the report is of."""
    split_seed: int
    loops: list[dict[str, Any]]
    """A row of `COLUMNS` for each cine loop."""
    rejected: dict[str, int]
    """Files by reason."""
    parts: tuple[SplitPart, ...]
    units: dict[str, str]
    """Unit of each label."""
    synthetic: str
    """Whether "all", "some" or "none" of the loops with a view are a phantom's."""
    rows: Sequence[ResultRow]
    settings: PlanConfig | None
    """What the evaluation was run with; None where its folder does not say."""

    @property
    def invented(self) -> bool:
        """Whether no patient stands behind any loop."""
        return self.synthetic == "all"

    @property
    def labelled(self) -> bool:
        """Whether pretraining learned from labels."""
        return self.pretraining.objective in LABELLED

    @property
    def own(self) -> list[ResultRow]:
        """Rows of this encoder."""
        return [row for row in self.rows if self.name and row.backbone == self.name]

    @property
    def children(self) -> str:
        """The paediatric site's name; empty for none."""
        return self.settings.children if self.settings else ""

    @property
    def training_loops(self) -> int:
        """Cine loops of training patients, which pretraining sees."""
        return sum(part.loops for part in self.parts if part.split == Split.TRAIN)

    def stated(self, column: str) -> int:
        """How many loops state a column."""
        return sum(row[column] is not None for row in self.loops)

    def counted(self, column: str) -> str:
        """Values of a column with their loops, the commonest first."""
        counts = Counter(str(row[column] or "not stated") for row in self.loops)
        return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def read_records(
    store: LoopStore,
    weights: WeightsCard,
    pretraining: PretrainConfig,
    steps: list[dict[str, Any]],
    encoder: tuple[int, str],
    rows: Sequence[ResultRow],
    settings: PlanConfig | None,
) -> Records:
    """The records; `encoder` has its parameters and the digest of its weights, as rows of results have it."""
    loops = [row for row in store.metadata([*COLUMNS]).to_pylist() if row["kind"] == Kind.CINE]
    labels = store.labels().to_pylist()
    parameters, digest = encoder
    return Records(
        weights, pretraining, steps, parameters,
        next((row.backbone for row in rows if row.weights == digest), ""), store.fingerprint(),
        store.split_seed, loops, dict(Counter(store.rejected()["reason"].to_pylist())),
        tuple(part_of(str(split), loops, labels) for split in Split),
        {row["label"]: row["unit"] for row in labels}, synthetic_share(store), rows, settings,
    )  # fmt: skip


def part_of(split: str, loops: Sequence[dict[str, Any]], labels: Sequence[dict[str, Any]]) -> SplitPart:
    """The patients of a split, and their labels."""
    mine = [row for row in loops if row["split"] == split]
    people = {row["patient_id"]: row for row in mine}
    studies = {row["study_id"] for row in mine}
    values: dict[str, list[float]] = defaultdict(list)
    for row in labels:
        if row["study_id"] in studies:
            values[row["label"]].append(row["value"])
    sexes = tuple(row["sex"] for row in people.values() if row["sex"])
    ages = tuple(row["age"] for row in people.values() if row["age"] is not None)
    known = {name: tuple(several) for name, several in sorted(values.items())}
    return SplitPart(split, len(people), len(studies), len(mine), sexes, ages, known)


def middle(values: Sequence[float]) -> str:
    """Median [quartiles]; of few patients their number alone, for a number could be a person's."""
    if len(values) < MINIMUM_PATIENTS:
        return f"of {len(values)}, too few to report"
    low, half, high = quantiles(values, n=4)
    return f"{half:.0f} [{low:.0f}, {high:.0f}]"


def centre(values: Sequence[float]) -> str:
    """Mean and standard deviation of how many; of few patients their number alone."""
    if len(values) < MINIMUM_PATIENTS:
        return f"of {len(values)}, too few to report"
    return f"{mean(values):.1f}, SD {stdev(values):.1f}, of {len(values)}"
