"""Features on disk: each clip goes through each frozen backbone once, whatever asks for it.

A folder a key; in it shards of at most SHARD clips, each named by a checksum of them, so that evaluations
that fill one folder at the same time never write over each other's files: `NAME.tokens.npy`, float16 or
float32, which is mapped into memory and read where it is needed, and `NAME.index.npz`, written last, which
says which clips those are, with a checksum of the tokens and one of itself. A shard without an index, cut or
changed does not count: it is made again, with a warning. Nothing is augmented. Indices of before, which have
no checksums, are read for as long as their shards have the shape that they say.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from echojepa.backbones.contract import Backbone
from echojepa.errors import ConfigError, UserError
from echojepa.evaluation.features.tokens import Features, Tokens
from echojepa.files.durable import write_file
from echojepa.files.records import decode_plain, read_plain, write_record
from echojepa.models.contract import TokenGrid
from echojepa.processes.ahead import read_ahead
from echojepa.weights.tensors import file_sha256

SHARD = 64
"""Clips of a shard at most."""
SHAPE_FILE = "facts.json"
StoredAs = Literal["float16", "float32"]
BYTES: dict[StoredAs, int] = {"float16": 2, "float32": 4}


class CacheError(UserError):
    """Features do not fit: in the cache's limit, on the disk, or in the numbers they are stored as."""


@dataclass(frozen=True)
class FeatureKey:
    """All that the features of a clip depend on."""

    data: str
    """Fingerprint of the data set."""
    weights: str
    """`weights_digest` of the backbone."""
    sampling: dict[str, Any]
    """Its InputSpec, and the clips of each loop."""
    perturbation: str
    severity: int
    seed: int
    """Of the perturbation."""
    precision: str
    engine: str
    stored_as: StoredAs

    @property
    def name(self) -> str:
        """The key's folder: hex digits of a checksum."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:24]


def weights_digest(backbone: Backbone) -> str:
    """SHA-256 over every tensor of a backbone, fixed tables included.

    Over its name and checksum besides where another library holds its weights.
    """
    tensors = [*backbone.network.named_parameters(), *backbone.network.named_buffers()]
    held = sum(value.numel() for _, value in backbone.network.named_parameters()) == backbone.parameters
    digest = hashlib.sha256(type(backbone).__name__.encode())
    if not held or not tensors:
        digest.update(f"{backbone.name}\n{backbone.sha256}".encode())
    for name, tensor in tensors:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@dataclass(frozen=True)
class Shape:
    """What one clip becomes."""

    grid: tuple[int, int, int]
    width: int

    @property
    def tokens(self) -> int:
        """Tokens of a clip."""
        return int(np.prod(self.grid))


def shape_of(backbone: Backbone) -> Shape:
    """Grid and width of a backbone's tokens, by showing it one black clip."""
    spec = backbone.spec
    output = backbone(torch.zeros(1, 3, spec.frames, spec.size, spec.size, dtype=torch.uint8))
    return Shape(output.grid, output.tokens.shape[-1])


def stored_shape(root: Path, key: FeatureKey) -> Shape | None:
    """The shape of a key's features; None where none was stored."""
    file = root / key.name / SHAPE_FILE
    if not file.is_file():
        return None
    try:
        facts = read_plain(file)
        return decode_plain(Shape, {name: facts[name] for name in ("grid", "width")})
    except (ConfigError, KeyError):
        warnings.warn(f"{file} is damaged; its features are made again", stacklevel=2)
        file.unlink(missing_ok=True)
        return None


DAMAGED = (CacheError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a cut, changed or half deleted shard raises."""


def say_damaged(index: Path, error: Exception) -> None:
    """Warn of a shard that is not as it was written, and put it out of the way; CacheError where it may not
    be read."""
    if isinstance(error, PermissionError):
        raise CacheError(f"{index.parent} cannot be read: {error}; give another --cache") from error
    warnings.warn(
        f"features in {index} are damaged ({type(error).__name__}: {error}); they are made again",
        stacklevel=3,
    )
    index.unlink(missing_ok=True)


@cache
def sha256_of(file: Path, size: int, changed_ns: int) -> str:
    """Checksum of a file that has this size and time of change: a process reads a shard once for it."""
    return file_sha256(file)


def checksum(file: Path, *columns: NDArray[Any]) -> str:
    """Hex digest of a file of tokens and what its index says."""
    there = file.stat()
    digest = hashlib.sha256(sha256_of(file, there.st_size, there.st_mtime_ns).encode())
    for column in columns:
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


class FeatureFolder:
    """The shards of one key. A clip is (row of the data set's table, number of the clip in its loop)."""

    def __init__(self, root: Path, key: FeatureKey) -> None:
        self.path, self.key = root / key.name, key
        self.parts: list[NDArray[Any]] = []
        self.pooled: list[NDArray[np.float32]] = []
        self.where: dict[tuple[int, int], tuple[int, int]] = {}
        self.shape = stored_shape(root, key)
        for index in sorted(self.path.glob("*.index.npz")):
            try:
                if self.shape is None:
                    raise CacheError("the facts beside it are gone")
                self._take(index)
            except DAMAGED as error:
                say_damaged(index, error)

    def _take(self, index: Path) -> None:
        """Add a finished shard; one of DAMAGED where it is not as it was written."""
        with np.load(index) as table:
            rows, clips, pooled = (table[name] for name in ("rows", "clips", "pooled"))
            sums = str(table["sha256"]) if "sha256" in table else ""
        file = index.with_name(index.name.replace("index.npz", "tokens.npy"))
        tokens = np.load(file, mmap_mode="r")
        assert self.shape is not None
        if tokens.shape != (len(rows), self.shape.tokens, self.shape.width) or len(pooled) != len(rows):
            raise CacheError("its shape is another")
        if sums and sums != checksum(file, rows, clips, pooled):
            raise CacheError("its checksum is another")
        number = len(self.parts)
        self.parts.append(tokens)
        self.pooled.append(pooled)
        for place, clip in enumerate(zip(rows.tolist(), clips.tolist(), strict=True)):
            self.where[clip] = (number, place)

    def missing(self, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Clips that are not here, in the order given."""
        return [clip for clip in wanted if clip not in self.where]

    def as_stored(self, output: TokenGrid) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, D) of a batch as they are stored, and its pooled vectors (B, E).

        CacheError for tokens of another shape than those that are here.
        """
        self._note_shape(Shape(output.grid, output.tokens.shape[-1]))
        tokens = output.tokens.float().cpu().to(getattr(torch, self.key.stored_as))
        return tokens, output.pooled.float().cpu()

    def _note_shape(self, shape: Shape) -> None:
        """Note the shape of features the first time."""
        if self.shape is None:
            facts = {"grid": shape.grid, "width": shape.width, "key": asdict(self.key)}
            self.path.mkdir(parents=True, exist_ok=True)
            write_record(self.path / SHAPE_FILE, facts)
            self.shape = shape
        if shape != self.shape:
            raise CacheError(
                f"{self.path} has features of shape {self.shape}, but the new ones have {shape}; delete it"
            )

    def add(self, clips: Sequence[tuple[int, int]], batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Write one shard of what `as_stored` made, its index last; CacheError for a number that is not
        finite."""
        tokens, pooled = (torch.cat(parts) for parts in zip(*batches, strict=True))
        if not torch.isfinite(tokens).all():
            raise CacheError(
                f"features are non-finite as {self.key.stored_as}; use --features-as float32. If that "
                "also fails, the weights are damaged"
            )
        rows, numbers = np.array(clips, dtype=np.int64).T
        vectors = pooled.numpy()
        name = hashlib.sha256(json.dumps(clips).encode()).hexdigest()[:16]
        index = self.path / f"{name}.index.npz"

        def save_tokens(file: Path) -> None:
            with file.open("wb") as out:
                np.save(out, tokens.numpy())

        def save_index(file: Path) -> None:
            sums = checksum(self.path / f"{name}.tokens.npy", rows, numbers, vectors)
            with file.open("wb") as out:
                np.savez(out, rows=rows, clips=numbers, pooled=vectors, sha256=np.array(sums))

        write_file(self.path / f"{name}.tokens.npy", save_tokens)
        write_file(index, save_index)
        self._take(index)

    def features(self, wanted: Sequence[tuple[int, int]], store: int) -> Features:
        """Features of clips that are here, in the order given; `store` is their data set's number."""
        assert self.shape is not None
        found = np.array([self.where[clip] for clip in wanted], dtype=np.int64).reshape(-1, 2)
        pooled = np.stack([self.pooled[part][place] for part, place in found])
        tokens = Tokens(self.parts, found[:, 0], found[:, 1])
        clips = np.array([(store, *clip) for clip in wanted], dtype=np.int64)
        return Features(tokens, torch.from_numpy(pooled), self.shape.grid, clips)


def fill(
    readers: Sequence[tuple[FeatureFolder, Backbone]],
    dataset: Dataset[tuple[Tensor, int]],
    clips: Sequence[tuple[int, int]],
    batch_size: int,
    progress: Callable[[int], None],
) -> None:
    """Run `dataset`, whose items are `clips` in order, through backbones that are fed alike, by shards.

    Each clip is read once, whatever the number of backbones. Calls progress(clips done) for each of them.
    CacheError for a feature that is not finite as it is stored.
    """
    for start in range(0, len(clips), SHARD):
        items = list(range(start, min(len(clips), start + SHARD)))
        made: list[list[tuple[Tensor, Tensor]]] = [[] for _ in readers]
        for batch, _ in read_ahead(dataset, 0, batch_size=batch_size, sampler=items):
            for (folder, backbone), batches in zip(readers, made, strict=True):
                batches.append(folder.as_stored(backbone(batch)))
                progress(len(batch))
        for (folder, _), batches in zip(readers, made, strict=True):
            folder.add([clips[item] for item in items], batches)


def check_room(root: Path, needed: int, limit_gb: float) -> None:
    """CacheError when so many bytes more would exceed the limit of the whole cache, or the disk."""
    root.mkdir(parents=True, exist_ok=True)
    there = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    free = shutil.disk_usage(root).free
    advice = (
        "take a smaller plan, fewer backbones or fewer --clips-per-loop, store features as float16, or "
        "delete cache folders that you no longer need"
    )
    if there + needed > limit_gb * 1e9:
        raise CacheError(
            f"the missing features need {needed / 1e9:.2f} GB in addition to {there / 1e9:.2f} GB; the "
            f"limit is {limit_gb:g} GB. Raise it with --cache-gb, or {advice}"
        )
    if needed > free:
        raise CacheError(
            f"the missing features need {needed / 1e9:.2f} GB; the disk has {free / 1e9:.2f} GB. Give "
            f"another --cache, or {advice}"
        )
