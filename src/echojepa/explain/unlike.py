"""Which loops are unlike a training set: scores that may detect them, and how well each does.

Surprise is compared with simpler scores: the distance of the encoder's features from those of training loops,
the same for the encoder's random start and for plain pixels, and the error of a predictor that assumes no
motion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.backbones.contract import Backbone
from echojepa.data.store.loop_store import TABLE, LoopStore
from echojepa.errors import ConfigError, UserError
from echojepa.evaluation.features.likeness import Likeness, fit_likeness
from echojepa.evaluation.statistics.intervals import estimates
from echojepa.evaluation.statistics.metrics import AUROC
from echojepa.explain.foreseen import Errors, TrainedRun, Usual, cells_of, score_of
from echojepa.explain.loops import FACTS, ChosenLoops, ListedLoop, ShownLoop, of_files, of_rows, spaced
from echojepa.vocabulary import Kind, Split

WORD = re.compile(r"(?P<name>[^=\[\]]+)=(?P<path>[^\[\]]+?)(?:\[(?P<key>[^=\[\]]+)=(?P<value>[^\[\]]+)\])?")
COLUMNS = ("view", "site", "split")
"""Columns of a data set that a condition may be on; all else is a label's name."""
SURPRISE = "surprise"
SCORES = {
    SURPRISE: "error of the predictor on hidden tubelets, relative to the usual error there",
    "nothing moves": "the same for a pixel prediction that copies the nearest visible tubelet",
    "features": "distance of the encoder's features from those of training loops (Mahalanobis, nearest view)",
    "features, random start": "the same with the starting weights of training",
    "pixels": "the same for the mean and spread over time of blocks of pixels",
}
"""By name, in words."""


@dataclass(frozen=True)
class Kinds:
    """A kind of loops that is unlike the training set, and which loops it is held against."""

    name: str
    loops: ChosenLoops
    against: ChosenLoops | None
    """None: validation loops."""


def kinds_of(words: Sequence[str], most: int, workers: int) -> list[Kinds]:
    """Kinds by NAME=PATH or NAME=PATH[KEY=VALUE]; ConfigError and UserError for one that cannot be read.

    PATH is a data set, or files as a scanner writes them. With a condition on a column or a label the kind is
    the loops that meet it, held against the same data set's others.
    """
    found = []
    for word in words:
        match = WORD.fullmatch(word)
        if match is None:
            raise ConfigError(
                f"'{word}' does not describe a kind of loops; give NAME=PATH or NAME=PATH[KEY=VALUE], "
                "such as "
                '"no heart=SETS/heart[varied heart=0]"'
            )
        name, path, key, value = match.group("name", "path", "key", "value")
        if not (Path(path) / TABLE).exists():
            if key:
                raise ConfigError(f"'{word}' has a condition, but {path} is not a data set")
            found.append(Kinds(name, of_files([Path(path)], workers), None))
            continue
        store = LoopStore.open(path)
        table = store.metadata([*FACTS, "study_id", "site"]).to_pylist()
        cines = [number for number, row in enumerate(table) if row["kind"] == Kind.CINE]
        meets = set(cines) if key is None else set(meeting(store, table, key, value)) & set(cines)
        if not meets:
            raise UserError(f"no cine loop of {path} has {key} = {value}")
        mine, others = ([n for n in cines if (n in meets) == wanted] for wanted in (True, False))
        against = of_rows(store, table, spaced(others, most)) if others else None
        found.append(Kinds(name, of_rows(store, table, spaced(mine, most)), against))
    return found


def meeting(store: LoopStore, table: Sequence[dict[str, str]], key: str, value: str) -> Iterator[int]:
    """Rows that meet a condition on a column, or on a label of their study."""
    if key in COLUMNS:
        yield from (number for number, row in enumerate(table) if row[key] == value)
        return
    try:
        wanted = float(value)
    except ValueError:
        raise ConfigError(f"a label needs a number; got {key} = '{value}'") from None
    labels = store.labels().to_pylist()
    studies = {row["study_id"] for row in labels if row["label"] == key and row["value"] == wanted}
    yield from (number for number, row in enumerate(table) if row["study_id"] in studies)


def split_loops(root: Path, split: Split, most: int) -> ChosenLoops:
    """Cine loops of a split, evenly spaced; UserError where there is none."""
    store = LoopStore.open(root)
    table = store.metadata(FACTS).to_pylist()
    rows = [n for n, row in enumerate(table) if row["kind"] == Kind.CINE and row["split"] == split]
    if not rows:
        raise UserError(f"{root} has no cine loop of the split '{split}'")
    return of_rows(store, table, spaced(rows, most))


@dataclass(frozen=True)
class Measured:
    """What is measured of a loop, before anything is known of what is usual."""

    facts: ListedLoop
    cells: Tensor
    """(H', W') places inside the sector."""
    errors: Errors
    still: Errors
    vectors: dict[str, Tensor]
    """(E,) by the name of the score that is a distance of it."""


def pixel_vector(clips: Tensor, places: tuple[int, int]) -> Tensor:
    """Mean and standard deviation over time of the grey level of each place, of clips (K, 3, T, H, W): their
    mean, (2 * H' * W',)."""
    blocks = F.adaptive_avg_pool2d(clips[:, 0].float() / 255, places).flatten(2)
    return torch.cat([blocks.mean(1), blocks.std(1, correction=0)], dim=1).mean(0)


class Measures:
    """Measures loops, and scores them by what training loops have."""

    def __init__(self, run: TrainedRun, backbone: Backbone) -> None:
        self.run = run
        self.encoders = {"features": backbone, "features, random start": backbone.random_start()}
        self.usual: dict[str, Usual] = {}
        self.likeness: dict[str, Likeness] = {}

    def measure(self, loop: ShownLoop) -> Measured:
        """Of all clips that cover the loop, by itself: no other loop changes it."""
        clips, sector = loop.clips(self.run.spec)
        vectors = {name: one(clips).pooled.float().cpu().mean(0) for name, one in self.encoders.items()}
        vectors["pixels"] = pixel_vector(clips, self.run.grid[1:])
        cells = cells_of(sector, self.run.grid)
        return Measured(loop.facts, cells, self.run.errors(clips), self.run.still_errors(clips), vectors)

    def learn(self, loops: Sequence[Measured]) -> None:
        """What training loops have."""
        self.usual = {
            SURPRISE: Usual.of([loop.errors for loop in loops]),
            "nothing moves": Usual.of([loop.still for loop in loops]),
        }
        views = [loop.facts.view for loop in loops]
        for name in loops[0].vectors:
            self.likeness[name] = fit_likeness(torch.stack([loop.vectors[name] for loop in loops]), views)

    def map(self, loop: Measured, name: str = SURPRISE) -> Tensor:
        """Surprise of each token of a loop's clips, (K, T', H', W')."""
        errors = loop.errors if name == SURPRISE else loop.still
        return self.usual[name].map(errors, self.run.masks, self.run.grid)

    def scores(self, loop: Measured) -> dict[str, float]:
        """By name, the higher the less alike."""
        found = {name: score_of(self.map(loop, name), loop.cells) for name in self.usual}
        found |= {
            name: float(one.distances(loop.vectors[name][None])[0]) for name, one in self.likeness.items()
        }
        return {name: found[name] for name in SCORES}


@dataclass(frozen=True)
class ScoredLoop:
    """A loop with its scores."""

    facts: ListedLoop
    scores: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class UnlikeRow:
    """How well a score tells a kind of loops from those that it is held against."""

    kind: str
    score: str
    auroc: float
    """Chance that a loop of the kind scores above one of the others."""
    lo: float
    hi: float
    patients: int
    loops: int
    """Of the kind."""
    other_loops: int
    against: str


def told(
    kind: str,
    mine: Sequence[ScoredLoop],
    others: Sequence[ScoredLoop],
    against: str,
    resamples: int,
    seed: int,
) -> list[UnlikeRow]:
    """A row a score, with 95 % intervals by resampling the patients of both."""
    both = [*mine, *others]
    truth = np.array([1] * len(mine) + [0] * len(others))
    patients = np.array([one.facts.patient for one in both])
    rows = []
    for name in SCORES:
        values = np.array([one.scores[name] for one in both])
        sides = np.stack([-values, values], axis=1)
        found = estimates(truth, sides, patients, {"AUROC": AUROC}, resamples=resamples, seed=seed)["AUROC"]
        rows.append(
            UnlikeRow(
                kind=kind, score=name, auroc=found.value, lo=found.low, hi=found.high,
                patients=len({one.facts.patient for one in mine}), loops=len(mine),
                other_loops=len(others), against=against,
            )
        )  # fmt: skip
    return rows


def of_same_views(kind: Sequence[ScoredLoop], others: Sequence[ScoredLoop]) -> tuple[list[ScoredLoop], str]:
    """Those of the others whose view the kind has too, and what they are; all, where it states none of
    theirs."""
    views = {one.facts.view for one in kind} - {""}
    same = [one for one in others if one.facts.view in views]
    if not same:
        return list(others), "validation loops"
    return same, "validation loops of its views"
