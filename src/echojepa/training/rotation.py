"""A run's checkpoints: the newest and the one before, each a folder that is whole or not there.

`checkpoints/00000100/` holds the tensors of step 100 as safetensors, a file a rank, and `facts.json`, written
last, with the checksum of each. torch.distributed.checkpoint cuts and joins the tensors, so that another
number of ranks can read them. The folder is filled under another name and renamed; only then is the oldest
deleted: a full disk or a power cut costs no earlier checkpoint.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_shards
from torch.distributed.checkpoint.state_dict_saver import save as save_shards

from echojepa.files.durable import replace_folder
from echojepa.files.records import LATER, read_record, write_record
from echojepa.training.distributed import World
from echojepa.weights.tensors import CheckpointError, file_sha256

FOLDER, FACTS = "checkpoints", "facts.json"
KEPT = 2


@dataclass(frozen=True)
class Facts:
    """What stands beside the tensors."""

    step: int
    """The next step."""
    flops: float = 0.0
    """Arithmetic spent so far."""
    branch: int = 0
    """Rollbacks so far: each draws clips, crops and masks anew."""
    computed_on: tuple[str, ...] = field(default=(), metadata=LATER)
    """Device and precision of the steps so far; several where the run went on elsewhere."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file of tensors."""


@dataclass(frozen=True)
class NewestCheckpoint:
    """The newest checkpoint that is whole, and sentences about newer ones that are not."""

    path: Path | None
    facts: Facts
    damaged: tuple[str, ...] = ()


def checkpoints(run: Path) -> list[Path]:
    """Folders of a run's checkpoints, newest first."""
    return sorted((run / FOLDER).glob("[0-9]*"), reverse=True)


def read_facts(path: Path) -> Facts:
    """The facts of a checkpoint; CheckpointError names the file that is not as it was written."""
    try:
        facts = read_record(Facts, path / FACTS)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path.name} is damaged: its {FACTS} cannot be read") from error
    for name, sha256 in facts.files.items():
        if not (path / name).is_file() or file_sha256(path / name) != sha256:
            raise CheckpointError(f"checkpoint {path.name} is damaged: {name} is not as it was written")
    return facts


def find(run: Path) -> NewestCheckpoint:
    """The newest whole checkpoint of a run, none for a new one; CheckpointError where none is whole."""
    damaged: list[str] = []
    for path in checkpoints(run):
        try:
            return NewestCheckpoint(path, read_facts(path), tuple(damaged))
        except CheckpointError as error:
            damaged.append(str(error))
    if damaged:
        raise CheckpointError(
            f"{'; '.join(damaged)}. No checkpoint is left; delete the run's folder to start again"
        )
    return NewestCheckpoint(None, Facts(0))


def save(run: Path, facts: Facts, tensors: dict[str, Tensor], world: World) -> None:
    """Write a checkpoint, then delete all but the newest two; every rank takes part.

    Raises OSError for a disk that is full: what was there before still is.
    """
    path = run / FOLDER / f"{facts.step:08d}"
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        if world.first:
            path.parent.mkdir(exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
        world.barrier()
        with plain_errors(path):
            writer = HuggingFaceStorageWriter(str(temporary), save_distributed=True)
            save_shards({**tensors}, storage_writer=writer)
        world.barrier()
        mine = sorted(temporary.glob("*.safetensors"))[world.rank :: world.ranks]
        parts = world.gather({file.name: file_sha256(file) for file in mine})
        files = {name: value for part in parts for name, value in part.items()}
        if world.first:
            complete(temporary, path, replace(facts, files=files))
    finally:
        if world.first:
            shutil.rmtree(temporary, ignore_errors=True)
    world.barrier()


def complete(temporary: Path, path: Path, facts: Facts) -> None:
    """Make a filled folder the newest checkpoint, on the disk and not only in its cache."""
    write_record(temporary / FACTS, facts)
    replace_folder(temporary, path)  # one of this very step was written before a rollback, or is damaged
    for old in checkpoints(path.parent.parent)[KEPT:]:
        shutil.rmtree(old)


def forget_after(run: Path, step: int, world: World) -> None:
    """Delete checkpoints of later steps."""
    if world.first:
        for path in checkpoints(run):
            if int(path.name) > step:
                shutil.rmtree(path)
    world.barrier()


def read(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint whose names begin with `prefix`, whole."""
    with plain_errors(path):
        reader = HuggingFaceStorageReader(str(path))
        known = {n: m for n, m in reader.read_metadata().state_dict_metadata.items() if n.startswith(prefix)}
        tensors = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype)
            for name, entry in known.items()
            if isinstance(entry, TensorStorageMetadata)
        }
        load_shards({**tensors}, storage_reader=reader)
    return tensors


def load(path: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors in place; CheckpointError where one is missing or has another shape."""
    with plain_errors(path):
        load_shards({**tensors}, storage_reader=HuggingFaceStorageReader(str(path)))


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Within, what torch.distributed.checkpoint raises (no Exception, but a table of them) is what went
    wrong, and its remark that there is one process alone is not made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except CheckpointException as error:
            cause = next(iter(error.failures.values()))[0]
            if isinstance(cause, OSError):
                raise cause from error
            raise CheckpointError(f"checkpoint {path.name} does not fit this run: {cause}") from error
