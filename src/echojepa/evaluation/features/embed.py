"""Features of every cine loop as a table: Parquet in parts, each written whole or not at all.

A loop is in one part only. Run again after a kill, or when loops have been added, it embeds only loops that
no part holds. On a cluster tasks embed and this process writes.
"""

from __future__ import annotations

import functools
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from echojepa.backbones.contract import Backbone
from echojepa.backbones.loading import RANDOM, load_backbone
from echojepa.config import ConfigError, EmbedConfig
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.files.durable import write_file
from echojepa.files.records import keep_record, plain, read_plain
from echojepa.files.tables import TableError, compute, read_parquet, write_parquet
from echojepa.processes.ahead import read_ahead
from echojepa.processes.allocator import give_back_pages
from echojepa.processes.cluster import map_on_cluster
from echojepa.processes.lock import locked
from echojepa.progress import Progress
from echojepa.vocabulary import Kind

CARD, PARTS = "embed.json", "features"
"""In the folder of a table: what made it, and the folder of its parts."""
FORMAT_VERSION = 1
COMMIT_SECONDS, COMMIT_ROWS = 60.0, 8192
"""A part is written after so long, or so many rows: what a kill can cost at most."""
TASK_LOOPS = 64
"""Loops that a task of a cluster embeds."""
GIVE_BACK = 256
"""Loops between two looks at memory that is freed but held."""
MOST_CSV = 50_000_000
"""Numbers in a CSV at most: half a gigabyte of text."""
Rows = NDArray[np.int64]
"""Rows of the data set's table."""
KEYS = ("loop_id", "study_id", "patient_id", "split", "view")
METADATA = b"echojepa"
"""Under which name a part's facts stand in its Parquet metadata."""


@dataclass(frozen=True)
class EmbedSummary:
    """What an embedding made, and what there is now."""

    new: int
    """Loops embedded by this run."""
    before: int
    """Loops that were there."""
    clips: int
    """Rows of the table."""
    width: int
    """Numbers of a row."""
    csv: Path | None


@dataclass
class FeatureTable:
    """The parts in a folder, and what is about to become the next one."""

    folder: Path
    facts: dict[str, Any]
    """What made the features, in every part's metadata."""
    loops: set[str] = field(default_factory=set)
    """Loops that are in a part."""
    parts: set[str] = field(default_factory=set)
    number: int = 0
    """Of the next part."""
    waiting: list[pa.Table] = field(default_factory=list)
    committed: float = field(default_factory=time.monotonic)

    def learn(self) -> None:
        """Take note of parts that were written since the last look, by this process or another."""
        for path in parts_of(self.folder):
            if path.name not in self.parts:
                self.number = max(self.number, 1 + int(path.stem.removeprefix("part-")))
                try:
                    loops = read_parquet(path, ("loop_id",))["loop_id"].to_pylist()
                except TableError as error:
                    warnings.warn(f"{error}; its loops are embedded again", stacklevel=2)
                    path.unlink()
                else:
                    self.parts.add(path.name)
                    self.loops |= set(loops)

    def take(self, rows: pa.Table) -> None:
        """Accept features of whole loops; write them when enough have come, or time has passed."""
        self.waiting.append(rows)
        late = time.monotonic() - self.committed > COMMIT_SECONDS
        if late or sum(table.num_rows for table in self.waiting) >= COMMIT_ROWS:
            self.commit()

    def commit(self) -> None:
        """Write what has been taken, less what another process has written in the meantime, as one part."""
        if self.waiting:
            with locked(self.folder.parent / ".lock"):
                self.learn()
                rows = pa.concat_tables(self.waiting)
                rows = rows.filter(pa.array([loop not in self.loops for loop in rows["loop_id"].to_pylist()]))
                if rows.num_rows:
                    path = self.folder / f"part-{self.number:06d}.parquet"
                    facts = {METADATA: json.dumps(self.facts).encode()}
                    write_parquet(path, rows.replace_schema_metadata(facts))
                self.learn()
        self.waiting, self.committed = [], time.monotonic()


def embed(config: EmbedConfig, progress: Progress) -> EmbedSummary:
    """Embed every cine loop that the table lacks; calls progress(loops done, loops).

    ConfigError where the folder holds features of other weights, settings or data, or the table is too large
    for CSV; UserError for a data set without cine loops.
    """
    store = LoopStore.open(config.data)
    backbone = load_backbone(config.backbone, precision=config.precision, engine=config.engine)
    columns = store.metadata([*KEYS, "kind"]).combine_chunks()
    cines = np.flatnonzero(compute.equal(columns["kind"], Kind.CINE.value).to_numpy())
    if not len(cines):
        raise UserError(f"{config.data} has no cine loop to embed")
    if config.csv and len(cines) * config.clips_per_loop * backbone.embed_dim > MOST_CSV:
        raise ConfigError(f"the table has more than {MOST_CSV:,} numbers; read features/ instead of a CSV")
    table = open_table(config, backbone, store)
    there = pa.array(sorted(table.loops), pa.string())
    if not compute.is_in(there, columns["loop_id"].combine_chunks()).to_numpy(zero_copy_only=False).all():
        raise ConfigError(
            f"{config.out} has features of loops that are not in {config.data}; give a new --out"
        )
    todo = cines[~compute.is_in(columns["loop_id"], there).to_numpy()[cines]]
    before = done = len(cines) - len(todo)
    run = embed_on_cluster if config.ray else embed_here
    try:
        for rows, vectors in run(config, backbone, store, todo):
            table.take(as_table(columns, rows, vectors))
            done += len(rows)
            if done % GIVE_BACK < len(rows):
                give_back_pages()
            progress(done, len(cines))
    finally:  # what is done stays done, also where the next loop is damaged or a person stops it
        table.commit()
    whole = pq.ParquetDataset(table.folder)
    clips = sum(fragment.count_rows() for fragment in whole.fragments)
    width = whole.schema.field("embedding").type.list_size
    written = write_csv(table.folder, config.out / "features.csv") if config.csv else None
    return EmbedSummary(len(todo), before, clips, width, written)


def open_table(config: EmbedConfig, backbone: Backbone, store: LoopStore) -> FeatureTable:
    """The table in a folder, made where there is none; ConfigError where other settings made it."""
    settings = {
        "format_version": FORMAT_VERSION,
        "backbone": backbone.name,
        "backbone_sha256": backbone.sha256,
        "precision": config.precision,
        "engine": config.engine,
        "clips_per_loop": config.clips_per_loop,
        "input": plain(backbone.spec),
    }
    folder, card = config.out / PARTS, config.out / CARD
    folder.mkdir(parents=True, exist_ok=True)
    with locked(config.out / ".lock"):
        keep_record(card, settings, "table of features")
    table = FeatureTable(folder, {**settings, "data_fingerprint": store.fingerprint()})
    table.learn()
    return table


loaded = functools.lru_cache(maxsize=1)(load_backbone)
"""A cluster's worker keeps a backbone from one task to the next."""


def pooled(
    config: EmbedConfig, backbone: Backbone, store: LoopStore, rows: Rows
) -> Iterator[NDArray[np.float32]]:
    """One vector (E,) a clip, in batches (n, E), loop by loop."""
    dataset = ClipDataset(store, rows, backbone.spec, clips_per_loop=config.clips_per_loop)
    for clips, _ in read_ahead(dataset, config.workers, batch_size=config.batch_size):
        yield backbone(clips).pooled.float().cpu().numpy()


Embedded = tuple[Rows, NDArray[np.float32]]
"""Rows, and the features (rows * clips_per_loop, E) of their clips."""


def embed_here(config: EmbedConfig, backbone: Backbone, store: LoopStore, rows: Rows) -> Iterator[Embedded]:
    """Embed in this process, a few loops at a time."""
    done, kept = 0, np.empty((0, 0), dtype=np.float32)
    for vectors in pooled(config, backbone, store, rows):
        kept = np.concatenate([kept, vectors]) if len(kept) else vectors
        whole = len(kept) // config.clips_per_loop
        if whole:
            yield rows[done : done + whole], kept[: whole * config.clips_per_loop]
            done, kept = done + whole, kept[whole * config.clips_per_loop :]


@dataclass(frozen=True)
class EmbedTask:
    """What a node of a cluster does with some rows; it opens data and weights at the paths given."""

    config: EmbedConfig
    sha256: str

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        """Features (rows * clips_per_loop, E); ConfigError where the node's weights are others."""
        config = self.config
        backbone = loaded(config.backbone, precision=config.precision, engine=config.engine)
        if backbone.sha256 != self.sha256:
            raise ConfigError(
                f"a node has different weights at {config.backbone}; copy the same weights to all nodes"
            )
        return np.concatenate(list(pooled(config, backbone, LoopStore.open(config.data), rows)))


def embed_on_cluster(
    config: EmbedConfig, backbone: Backbone, store: LoopStore, rows: Rows
) -> Iterator[Embedded]:
    """The same on a Ray cluster; data and weights stand at the same absolute paths on every node."""
    assert config.ray is not None
    prefix = RANDOM if config.backbone.startswith(RANDOM) else ""
    weights = Path(config.backbone.removeprefix(prefix))
    name = f"{prefix}{weights.resolve()}" if weights.exists() else config.backbone
    there = replace(config, data=config.data.resolve(), backbone=name, workers=0)
    tasks = [rows[start : start + TASK_LOOPS] for start in range(0, len(rows), TASK_LOOPS)]
    results = map_on_cluster(EmbedTask(there, backbone.sha256), tasks, config.ray, on_gpus=True)
    yield from zip(tasks, results, strict=True)


def as_table(columns: pa.Table, rows: Rows, vectors: NDArray[np.float32]) -> pa.Table:
    """Features with their keys: a row a clip."""
    clips, width = len(vectors) // len(rows), vectors.shape[1]
    table = columns.select(list(KEYS)).take(np.repeat(rows, clips))
    table = table.append_column("clip", pa.array(np.tile(np.arange(clips, dtype=np.int32), len(rows))))
    flat = pa.array(np.ascontiguousarray(vectors).ravel())
    return table.append_column("embedding", pa.FixedSizeListArray.from_arrays(flat, width))


def read_embedding(out: Path, backbone_sha256: str) -> tuple[list[str], NDArray[np.float64]]:
    """Ids of the loops (n,) of a finished table and the means (n, E) of their clips' features.

    UserError where there is no table, ConfigError for one of another backbone.
    """
    if not (out / CARD).is_file():
        raise UserError(f"{out} has no {CARD}; run `echojepa embed` with this --out first")
    if read_plain(out / CARD)["backbone_sha256"] != backbone_sha256:
        raise ConfigError(f"{out} has features of another encoder; embed with the model's own")
    tables = [read_parquet(path) for path in parts_of(out / PARTS)]
    ids = [name for table in tables for name in table["loop_id"].to_pylist()]
    vectors = np.concatenate([np.stack(table["embedding"].to_numpy()) for table in tables])
    names, owner = np.unique(ids, return_inverse=True)
    total = np.zeros((len(names), vectors.shape[1]))
    np.add.at(total, owner, vectors)
    return names.tolist(), total / np.bincount(owner)[:, None]


def parts_of(folder: Path) -> list[Path]:
    """The parts of a table, in the order in which they were written."""
    return sorted(folder.glob("part-*.parquet"))


def write_csv(folder: Path, path: Path) -> Path:
    """The whole table as text, a column a number: e0, e1, ...; replaced as one."""
    table = pq.read_table(folder)
    vectors = table["embedding"].combine_chunks()
    values = vectors.flatten().to_numpy().reshape(table.num_rows, -1)
    names = {f"e{number}": values[:, number] for number in range(values.shape[1])}
    keys = {name: table[name] for name in (*KEYS, "clip")}
    write_file(path, lambda file: csv.write_csv(pa.table({**keys, **names}), file))
    return path
