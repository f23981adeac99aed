"""Loops to be explained: of a data set by one stated rule or by their ids, or files read as ingest reads
them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from echojepa.config import IngestConfig, InputSpec
from echojepa.data.clips.clips import fitted
from echojepa.data.clips.times import clock, frame_indices
from echojepa.data.importers.archive import list_archive
from echojepa.data.ingest.convert import ConvertedLoop, Job, Refused
from echojepa.data.ingest.ingest import convert_here
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.memory import LoopsInMemory
from echojepa.data.store.rows import Loops
from echojepa.data.verify.verify import evenly_spaced
from echojepa.errors import UserError
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, Kind

EVERY_SPLIT = "all"
FACTS = ("loop_id", "patient_id", "view", "split", "kind", "manufacturer")


@dataclass(frozen=True)
class ListedLoop:
    """What is known of a loop beside its pixels."""

    name: str
    """Its id; of a file its place in what was given: paths can name a patient."""
    patient: str
    view: str
    synthetic: bool


def synthetic_words(loops: Sequence[ListedLoop]) -> str:
    """Which of some loops are synthetic; nothing where none is."""
    synthetic = sum(loop.synthetic for loop in loops)
    which = "All" if synthetic == len(loops) else f"{synthetic} of {len(loops)} loops"
    return f"{which} are synthetic: nothing here is clinical." if synthetic else ""


@dataclass(frozen=True)
class ShownLoop:
    """A loop in its true pixels and at its true times."""

    facts: ListedLoop
    frames: NDArray[np.uint8]
    """(T, H, W) grey or (T, H, W, 3)."""
    times: NDArray[np.float64]
    """(T,) seconds since the first frame."""
    sector: NDArray[np.bool_]
    """(H, W)."""

    def indices(self, spec: InputSpec, start: float) -> NDArray[np.int64]:
        """Stored frames (spec.frames,) of a clip that begins at `start` (see `clock`)."""
        return frame_indices(self.times, start, spec)

    def clip(self, spec: InputSpec, start: float) -> tuple[Tensor, Tensor]:
        """A clip uint8 (3, T, size, size), and the sector (size, size) as it shows it."""
        pixels = fitted(spec, self.frames[self.indices(spec, start)]).expand(3, -1, -1, -1)
        return pixels, fitted(spec, self.sector[None].astype(np.uint8) * 255)[0, 0] > 127

    def starts(self, spec: InputSpec) -> list[float]:
        """When clips begin that cover the loop, one after another, the last one ending with the loop; 0 alone
        for a loop that is no longer than a clip."""
        moments, interval = clock(self.times, spec)
        own = float(np.median(np.diff(moments))) if len(moments) > 1 else 0.0
        length, span = float(moments[-1]) + own, interval * spec.frames
        count = max(1, int(np.ceil(length / span - 1e-6)))
        return np.linspace(0, max(0.0, length - span), count).tolist()

    def clips(self, spec: InputSpec) -> tuple[Tensor, Tensor]:
        """Clips (K, 3, T, size, size) that cover the loop, and the sector (size, size) in them."""
        pixels, sectors = zip(*(self.clip(spec, start) for start in self.starts(spec)), strict=True)
        return torch.stack(pixels), sectors[0]

    def slots(self, spec: InputSpec, starts: Sequence[float], count: int) -> tuple[NDArray[np.int64], ...]:
        """Which clip (T,), and which of its `count` time slots (T,), each stored frame belongs to: of two
        clips that hold it, the one whose middle is nearer."""
        moments, interval = clock(self.times, spec)
        span = interval * spec.frames
        away = np.abs(moments[:, None] - (np.array(starts) + (span - interval) / 2))
        clip = away.argmin(1)
        slot = (moments - np.array(starts)[clip]) / span * count
        return clip, np.clip(np.floor(slot + 1e-9), 0, count - 1).astype(np.int64)


def cells_inside(sector: Tensor, grid: tuple[int, int]) -> Tensor:
    """Places (H', W') of which half or more lies in a clip's sector (size, size)."""
    return F.adaptive_avg_pool2d(sector[None, None].float(), grid)[0, 0] >= 0.5


class ChosenLoops:
    """Loops that are decoded when they are asked for."""

    def __init__(
        self, source: Loops, rows: Sequence[int], facts: Sequence[ListedLoop], left_out: Sequence[str]
    ) -> None:
        self.source, self.rows, self.facts = source, list(rows), list(facts)
        self.left_out = list(left_out)
        """Why files are not among them, a sentence a reason."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> ShownLoop:
        loop = self.source.loop(self.rows[place])
        return ShownLoop(self.facts[place], loop.frames(), loop.times, loop.mask)

    def __iter__(self) -> Iterator[ShownLoop]:
        return (self[place] for place in range(len(self)))


def by_ids(root: Path, ids: Sequence[str]) -> ChosenLoops:
    """Loops of a data set by their ids, in that order; UserError for one that is not there."""
    store = LoopStore.open(root)
    table = store.metadata(FACTS).to_pylist()
    places = {row["loop_id"]: number for number, row in enumerate(table)}
    missing = [name for name in ids if name not in places]
    if missing:
        raise UserError(
            f"{root} has no loops with the ids {missing}; take ids from the column `loop_id` of its table"
        )
    return of_rows(store, table, [places[name] for name in ids])


def first_of_patients(root: Path, split: str, view: str | None, most: int) -> ChosenLoops:
    """The first cine loop of each patient of a split, or of all (and of a view), of `most` patients at most,
    evenly spaced in the data set's order; UserError where there is none."""
    store = LoopStore.open(root)
    table = store.metadata(FACTS).to_pylist()
    first: dict[str, int] = {}
    for number, row in enumerate(table):
        if row["kind"] == Kind.CINE and split in (EVERY_SPLIT, row["split"]) and view in (None, row["view"]):
            first.setdefault(row["patient_id"], number)
    if not first:
        known = Counter(f"{row['split']} {row['view'] or 'view not stated'}" for row in table)
        raise UserError(
            f"{root} has no cine loop of the split '{split}' and the view '{view or 'any'}'; it has "
            f"{', '.join(sorted(known))}"
        )
    return of_rows(store, table, spaced(list(first.values()), most))


def spaced(rows: Sequence[int], most: int) -> list[int]:
    """At most so many of some rows, evenly spaced."""
    return [rows[place] for place in sorted(evenly_spaced(len(rows), most))]


def of_rows(store: LoopStore, table: Sequence[dict[str, Any]], rows: Sequence[int]) -> ChosenLoops:
    """Some rows of a data set, whose facts stand in `table`."""
    facts = [
        ListedLoop(
            table[row]["loop_id"],
            table[row]["patient_id"],
            table[row]["view"] or "",
            table[row]["manufacturer"] == SYNTHETIC_MANUFACTURER,
        )
        for row in rows
    ]
    return ChosenLoops(store, rows, facts, ())


def of_files(paths: Sequence[Path], workers: int) -> ChosenLoops:
    """Cine loops of DICOM and video files, or folders of them, read as ingest reads them; UserError where
    none is one.

    Nothing is kept but pixels: ids are made with a key that is thrown away. A picture that may show a name is
    left out, as at ingest.
    """
    key, files = secrets.token_bytes(32), list(list_archive(tuple(paths)).videos)
    jobs = [
        Job(path, str(place), key, "", IngestConfig.max_side, cleared=False)
        for place, path in enumerate(files, start=1)
    ]
    loops: list[ConvertedLoop] = []
    facts, why = [], Counter[str]()
    for job, result in zip(jobs, convert_here(jobs, workers), strict=True):
        if isinstance(result, Refused):
            why[str(result.why.reason)] += 1
        elif result.kind != Kind.CINE:
            why["not a cine loop"] += 1
        else:
            synthetic = result.manufacturer == SYNTHETIC_MANUFACTURER
            loops.append(result)
            facts.append(ListedLoop(f"file {job.file_id}", result.patient_id, result.view or "", synthetic))
    left_out = [f"{count} files: {reason}" for reason, count in why.most_common()]
    if not loops:
        raise UserError(f"none of the {len(files)} files is a cine loop ({'; '.join(left_out)})")
    return ChosenLoops(LoopsInMemory(loops), range(len(loops)), facts, left_out)
