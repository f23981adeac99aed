"""From folders of files to a data set: every file comes in, or has a row that says why not.

Workers decode, find the sector, crop and encode; the parent alone writes. Stopped at any moment and run
again, it goes on with the files that are neither in the table nor in `rejected.parquet`.
"""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from echojepa.config import IngestConfig
from echojepa.data.dicom import pseudonym, read_cine
from echojepa.data.labels import read_labels
from echojepa.data.private import IngestError, read_key, write_file_map
from echojepa.data.rejection import Rejected
from echojepa.data.sector import find_sector
from echojepa.data.splits import assign_split
from echojepa.data.store import LABEL_SCHEMA, LoopStore, StoredLoop, to_png
from echojepa.vocabulary import Kind, Reason

COMMIT_EVERY = 64
"""Files between two commits: what a kill can cost at most."""
COLOUR_DIFFERENCE, COLOUR_SHARE = 24, 0.002
"""A loop is colour when this share of the sector's pixels differs by this much between channels."""


@dataclass(frozen=True)
class IngestSummary:
    """What one run brought in."""

    loops: int
    already: int
    rejected: dict[str, int]
    views: dict[str, int]
    splits: dict[str, int]
    patients: int
    labels: int
    labels_without_study: int
    file_map: Path

    def came_in(self) -> list[tuple[str, int]]:
        """Rows for a table a person reads."""
        rows = [
            ("new loops", self.loops),
            ("already there", self.already),
            ("patients in the data set", self.patients),
        ]
        rows += [(f"view {view}", count) for view, count in sorted(self.views.items())]
        rows += [(f"split {split}", count) for split, count in sorted(self.splits.items())]
        return [*rows, ("labels", self.labels), ("labels of unknown studies", self.labels_without_study)]


def list_files(sources: tuple[Path, ...]) -> list[Path]:
    """Every file below the sources, sorted; hidden files and tables of labels are left out."""
    for source in sources:
        if not source.exists():
            raise IngestError(f"{source} does not exist; give folders or files to read")
    found = {
        path
        for source in sources
        for path in ([source] if source.is_file() else source.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix not in (".csv", ".parquet", ".json")
    }
    if not found:
        raise IngestError(
            f"no files in {', '.join(map(str, sources))}; give the folder that holds the DICOM files"
        )
    return sorted(found)


def shrink(frames: NDArray[np.uint8], max_side: int) -> tuple[NDArray[np.uint8], float]:
    """Reduce (T, H, W[, 3]) so that no side exceeds max_side, aspect ratio kept; also the factor."""
    height, width = frames.shape[1:3]
    factor = min(1.0, max_side / max(height, width))
    if factor == 1.0:
        return frames, factor
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.stack(
        [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f in frames]
    ), factor


def to_grey(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB without colour -> grey, rounded ITU-R BT.601; equal channels come out unchanged."""
    if frames.ndim == 3:
        return frames
    spread = frames.max(-1).astype(np.int16) - frames.min(-1)
    if (spread > COLOUR_DIFFERENCE).mean() > COLOUR_SHARE:
        return frames
    weighted = frames.astype(np.uint32) @ np.array([299, 587, 114], dtype=np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)


def convert(path: Path, key: bytes, file_id: str, config: IngestConfig) -> StoredLoop | tuple[str, Rejected]:
    """One file to one row (patient ordinal and split still open), or the reason why not."""
    try:
        loop = read_cine(path, key)
        sector = find_sector(loop.frames)
    except Rejected as rejected:
        return file_id, rejected
    rows, columns = sector.box
    mask = sector.mask[rows, columns]
    cropped = loop.frames[:, rows, columns]
    inside = mask if cropped.ndim == 3 else mask[..., None]
    frames, factor = shrink(to_grey(cropped * inside), config.max_side)
    small_mask, _ = shrink(mask[None].astype(np.uint8) * 255, config.max_side)
    calibrated = [
        region.mm_per_pixel for region in loop.regions if region.kind == "tissue" and region.mm_per_pixel
    ]
    return StoredLoop(
        loop_id=loop.loop_id,
        file_id=file_id,
        study_id=loop.study_id,
        patient_id=loop.patient_id,
        patient_ordinal=-1,
        split="",
        site=config.site,
        view=loop.view,
        kind=Kind.CINE if len(frames) > 1 else Kind.STILL,
        frames=[to_png(frame) for frame in frames],
        times=loop.times.tolist(),
        frame_rate=1 / float(np.median(np.diff(loop.times))) if len(frames) > 1 else None,
        time_source=loop.time_source,
        time_warning=loop.time_warning,
        mask=to_png(small_mask[0] > 127),
        height=frames.shape[1],
        width=frames.shape[2],
        colour=frames.ndim == 4,
        pixel_height_mm=calibrated[0][0] / factor if calibrated else None,
        pixel_width_mm=calibrated[0][1] / factor if calibrated else None,
        heart_rate=loop.heart_rate,
        sex=loop.sex,
        age=loop.age,
        study_date=loop.study_date,
        manufacturer=loop.manufacturer,
        pixel_sha256=hashlib.sha256(frames.tobytes()).hexdigest(),
    )


def in_parallel(
    jobs: list[tuple[Path, str]], key: bytes, config: IngestConfig
) -> Iterator[StoredLoop | tuple[str, Rejected]]:
    """Convert files in order, on several processes where there are enough to pay for starting them."""
    workers = min(config.workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1 or len(jobs) < 16:
        for path, file_id in jobs:
            yield convert(path, key, file_id, config)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for begin in range(0, len(jobs), COMMIT_EVERY):
            part = jobs[begin : begin + COMMIT_EVERY]
            yield from pool.map(
                convert, *zip(*((p, key, i, config) for p, i in part), strict=True), chunksize=4
            )


class Registrar:
    """Gives patients their ordinal and split, refuses duplicates, and commits in batches."""

    def __init__(self, store: LoopStore) -> None:
        self.store, self.split_seed = store, store.split_seed
        known = store.metadata(["patient_id", "patient_ordinal", "loop_id", "pixel_sha256"]).to_pydict()
        self.ordinals = dict(zip(known["patient_id"], known["patient_ordinal"], strict=True))
        self.seen = {*known["loop_id"], *known["pixel_sha256"]}
        self.loops: list[StoredLoop] = []
        self.rejected: list[dict[str, str]] = []
        self.added: list[StoredLoop] = []
        self.reasons: Counter[str] = Counter()

    def take(self, result: StoredLoop | tuple[str, Rejected]) -> None:
        """Accept a converted file."""
        if isinstance(result, StoredLoop) and {result.loop_id, result.pixel_sha256} & self.seen:
            result = result.file_id, Rejected(Reason.DUPLICATE, "these pixels came in before")
        if isinstance(result, tuple):
            file_id, why = result
            self.rejected.append({"file_id": file_id, "reason": why.reason.value, "detail": why.detail})
            self.reasons[why.reason.value] += 1
            return
        self.seen |= {result.loop_id, result.pixel_sha256}
        ordinal = self.ordinals.setdefault(result.patient_id, len(self.ordinals))
        split = assign_split(self.split_seed, ordinal)
        self.loops.append(replace(result, patient_ordinal=ordinal, split=split))

    def commit(self) -> None:
        """Write what has been taken."""
        if self.loops:
            self.store.append(self.loops)
        if self.rejected:
            self.store.add_rejected(self.rejected)
        self.added += [replace(loop, frames=[], mask=b"") for loop in self.loops]
        self.loops, self.rejected = [], []


def ingest(config: IngestConfig, progress: Callable[[int, int], None]) -> IngestSummary:
    """Ingest every file below the sources; calls progress(done, total).

    Raises IngestError when there is nothing to ingest, nothing came in, the disk is full, or `strict`
    is set and a file was rejected; what was committed stays.
    """
    files = list_files(config.sources)
    key = read_key(config.key, config.out)
    labels = read_labels(config.labels, key) if config.labels else LABEL_SCHEMA.empty_table()
    try:
        store = LoopStore.create(config.out, config.seed)
        ids = [pseudonym(key, "file", str(path.resolve())) for path in files]
        file_map = write_file_map(config.key, files, ids)
        done = {*store.metadata(["file_id"])["file_id"].to_pylist(), *store.rejected()["file_id"].to_pylist()}
        jobs = [(path, file_id) for path, file_id in zip(files, ids, strict=True) if file_id not in done]
        registrar = Registrar(store)
        for number, result in enumerate(in_parallel(jobs, key, config), start=1):
            registrar.take(result)
            if number % COMMIT_EVERY == 0 or number == len(jobs):
                registrar.commit()
            progress(len(files) - len(jobs) + number, len(files))
        store.add_labels(labels)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise IngestError(
                f"the disk of {config.out} is full; make room and run again: what came in so far is safe"
            ) from error
        raise
    return summarise(config, store, registrar, len(files) - len(jobs), labels, file_map)


def summarise(
    config: IngestConfig,
    store: LoopStore,
    registrar: Registrar,
    already: int,
    labels: pa.Table,
    file_map: Path,
) -> IngestSummary:
    """Count what came in; IngestError when nothing did, or something did not and `strict` is set."""
    table = store.metadata(["study_id", "patient_id"]).to_pydict()
    studies = set(table["study_id"])
    rejected = dict(registrar.reasons)
    if not studies:
        raise IngestError(
            f"nothing came in; reasons by number of files: {rejected}. See {file_map} for which"
        )
    if config.strict and rejected:
        raise IngestError(
            f"rejected files by reason: {rejected}; the others came in. See {file_map} for which"
        )
    joined = sum(study in studies for study in labels["study_id"].to_pylist())
    return IngestSummary(
        loops=len(registrar.added),
        already=already,
        rejected=rejected,
        views=dict(Counter(loop.view or "not stated" for loop in registrar.added)),
        splits=dict(Counter(loop.split for loop in registrar.added)),
        patients=len(set(table["patient_id"])),
        labels=joined,
        labels_without_study=labels.num_rows - joined,
        file_map=file_map,
    )
