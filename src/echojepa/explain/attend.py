"""`echojepa attend`: maps of several backbones on the same loops, as films and as numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from echojepa.backbones.contract import Backbone
from echojepa.config import AttendConfig, InputSpec
from echojepa.data.clips.times import even_start
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation.features.backbones import ComparedBackbone, find_backbones
from echojepa.evaluation.mechanism import VARIED
from echojepa.explain.films import RULE, LoopMap, film, loop_map, top_of
from echojepa.explain.heads import reader_of
from echojepa.explain.loops import FACTS, ChosenLoops, ShownLoop, by_ids, first_of_patients, of_files, of_rows
from echojepa.explain.regions import Masks, PhantomTruth, coverage, pixel_regions
from echojepa.explain.shares import (
    AttentionRow,
    ClipMap,
    Whose,
    paired_rows,
    rows_of,
    shift_rows,
    values_of,
)
from echojepa.explain.sources import ClipBatch, MapSource, check_source, source_of
from echojepa.explain.tables import numbers_page
from echojepa.explain.writing import Seen, write_loop
from echojepa.files.durable import write_text
from echojepa.files.records import plain, write_record
from echojepa.files.tables import write_csv, write_parquet
from echojepa.phantom.cohort.regions import RegionName
from echojepa.progress import Progress
from echojepa.tasks import find_task

RECORD, NUMBERS, PAGE = "attend.json", "numbers", "numbers.md"
SPECKLE = f"{VARIED}speckle"


class Ground:
    """Clips and regions below the maps of the chosen loops; shared by backbones of one input and grid."""

    def __init__(self, loops: ChosenLoops, truth: PhantomTruth | None) -> None:
        self.loops, self.truth = loops, truth
        self.known: dict[tuple[int, str], tuple[dict[str, Any], Any]] = {}

    def of(self, place: int, loop: ShownLoop, spec: InputSpec, shown: np.ndarray) -> ClipMap:
        """A clip's map, the middle clip of a loop, with its regions."""
        grid = (shown.shape[0], shown.shape[1], shown.shape[2])
        key = place, f"{spec} {grid}"
        if key not in self.known:
            indices = loop.indices(spec, even_start(loop.times, spec, 0, 1))
            row = self.truth.row(loop.facts.name) if self.truth else None
            masks: Masks = dict(pixel_regions(loop, indices))
            volume = None
            if row and self.truth:
                masks |= self.truth.regions(row, loop, indices)
                volume = np.array(row["volume"])[indices].reshape(grid[0], -1).mean(1)
            covered = {name: coverage(spec, grid, mask).numpy() for name, mask in masks.items()}
            self.known[key] = covered, volume
        covered, volume = self.known[key]
        return ClipMap(loop.facts.patient, loop.facts.view, shown, covered, volume)


def attend(config: AttendConfig, progress: Progress) -> Seen:
    """Make maps of every backbone and its random start, write films of the first loops and numbers of all.

    Calls progress(loops through a backbone, all of them). ConfigError and UserError as `source_of`,
    `find_backbones`, `first_of_patients`, `by_ids` and `of_files`.
    """
    for name in config.sources:
        check_source(name)
    find_task(config.task)
    loops, truth = chosen(config)
    varied = speckle_series(config.speckle) if config.speckle else []
    compared = find_backbones(config.backbones)
    ground = Ground(loops, truth)
    work = Work(progress, len(compared) * (len(loops) + sum(map(len, varied))))
    rows: list[AttentionRow] = []
    films: dict[int, list[LoopMap]] = defaultdict(list)
    said: dict[str, str] = {}
    seen: dict[tuple[str, str], list[ClipMap]] = {}
    for one in compared:
        backbone = one.make()
        sources = sources_for(config, one, backbone)
        said |= {f"{one.name}, {source.name}": source.said for source in sources}
        maps = {source.name: [] for source in sources}
        for place, loop in enumerate(loops):
            for source in sources:
                shown = middle_map(loop, backbone, source)
                maps[source.name].append(ground.of(place, loop, backbone.spec, shown))
                if place < config.films:
                    films[place].append(loop_map(loop, backbone, one.name, source))
            work.step(one.name)
        shifted = shifts(varied, backbone, sources, work)
        for source in sources:
            whose = Whose(one.name, one.weights[:12], source.name, config.resamples, config.seed)
            rows += rows_of(whose, maps[source.name], values_of(maps[source.name], RegionName.CAVITY))
            rows += shift_rows(whose, shifted[source.name]) if varied else ()
            seen[one.weights, source.name] = maps[source.name]
    rows += less_their_starts(config, compared, seen)
    return written(config, loops, rows, films, said)


def less_their_starts(
    config: AttendConfig, compared: Sequence[ComparedBackbone], seen: dict[tuple[str, str], list[ClipMap]]
) -> Iterator[AttentionRow]:
    """What each backbone's numbers are over those of its random start, on the same loops."""
    for one in compared:
        for (weights, source), maps in seen.items():
            if weights == one.weights and (one.start, source) in seen:
                name = f"{one.name} minus its start"
                whose = Whose(name, one.weights[:12], source, config.resamples, config.seed)
                yield from paired_rows(whose, maps, seen[one.start, source], RegionName.CAVITY)


class Work:
    """How far it is."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def step(self, note: str) -> None:
        """One loop more has gone through a backbone."""
        self.done += 1
        self.progress(self.done, self.total, note)


def chosen(config: AttendConfig) -> tuple[ChosenLoops, PhantomTruth | None]:
    """The loops, and the truth beside them where they are the phantom's."""
    if config.data is None:
        return of_files(config.files, config.workers), None
    if config.loop_ids:
        loops = by_ids(config.data, config.loop_ids)
    else:
        loops = first_of_patients(config.data, config.split, config.view, config.loops)
    return loops, PhantomTruth.beside(config.data)


def sources_for(config: AttendConfig, one: ComparedBackbone, backbone: Backbone) -> list[MapSource]:
    """The sources of a backbone; a random start that no probe was trained on has no `probe`."""
    head, unit = reader_of(config, one) or (None, "")
    names = [name for name in config.sources if name != "probe" or head is not None or not one.random]
    return [source_of(name, backbone, head, config.hide, unit) for name in names]


def middle_map(loop: ShownLoop, backbone: Backbone, source: MapSource) -> np.ndarray:
    """The map (T', H', W') of a loop's middle clip."""
    pixels, sector = loop.clip(backbone.spec, even_start(loop.times, backbone.spec, 0, 1))
    return source.of(ClipBatch(pixels[None], sector[None]))[0].numpy()


def speckle_series(root: Path) -> list[ChosenLoops]:
    """Recordings that differ by speckle alone, patient by patient and view by view, the patient's own first.

    UserError for a data set that does not vary it.
    """
    store = LoopStore.open(root)
    moved = {row["study_id"]: row["value"] for row in store.labels().to_pylist() if row["label"] == SPECKLE}
    table = store.metadata([*FACTS, "study_id"]).to_pylist()
    found: dict[tuple[str, str], list[tuple[float, str, int]]] = defaultdict(list)
    for number, row in enumerate(table):
        if row["study_id"] in moved:
            found[row["patient_id"], row["view"]].append((moved[row["study_id"]], row["loop_id"], number))
    if not found:
        raise UserError(
            f"{root} does not vary speckle; make such a set with `echojepa simulate --preset "
            "counterfactual --vary speckle`"
        )
    return [of_rows(store, table, [number for *_, number in sorted(several)]) for several in found.values()]


def shifts(
    varied: Sequence[ChosenLoops], backbone: Backbone, sources: Sequence[MapSource], work: Work
) -> dict[str, list[list[ClipMap]]]:
    """Maps of each series, by source."""
    found: dict[str, list[list[ClipMap]]] = {source.name: [[] for _ in varied] for source in sources}
    for place, series in enumerate(varied):
        for loop in series:
            for source in sources:
                shown = middle_map(loop, backbone, source)
                found[source.name][place].append(ClipMap(loop.facts.patient, loop.facts.view, shown, {}))
            work.step("speckle")
    return found


def written(
    config: AttendConfig,
    loops: ChosenLoops,
    rows: Sequence[AttentionRow],
    films: dict[int, list[LoopMap]],
    said: dict[str, str],
) -> Seen:
    """Write films, numbers and, last, the record of what they are."""
    every = [one for maps in films.values() for one in maps]
    tops = {name: top_of([m for m in every if m.source == name]) for name in {one.source for one in every}}
    folders = []
    for place, maps in films.items():
        loop, folder = loops[place], config.out / f"loop-{place + 1:02d}"
        config.out.mkdir(parents=True, exist_ok=True)
        write_loop(folder, loop, maps, film(loop, maps, tops))
        folders.append(folder)
    config.out.mkdir(parents=True, exist_ok=True)
    entries = [asdict(row) for row in rows]
    write_parquet(config.out / f"{NUMBERS}.parquet", pa.Table.from_pylist(entries))
    write_csv(config.out / f"{NUMBERS}.csv", entries)
    page = numbers_page(rows, said, loops.facts)
    write_text(config.out / PAGE, page)
    write_record(config.out / RECORD, record(config, loops, tops, said))
    return Seen(page, tuple(folders), tuple(loops.left_out))


def record(
    config: AttendConfig, loops: ChosenLoops, tops: dict[str, float], said: dict[str, str]
) -> dict[str, Any]:
    """What the folder shows; of files how many, for their paths can name a patient."""
    settings = plain(config) | {"files": len(config.files)}
    shown = [{"loop": fact.name, "view": fact.view, "synthetic": fact.synthetic} for fact in loops.facts]
    return {"settings": settings, "rule": RULE, "tops": tops, "sources": said, "loops": shown}
