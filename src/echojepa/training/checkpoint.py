"""The only place that reads or writes tensors on disk: atomic, strict, without pickled code."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import echojepa
from echojepa.config import config_from_json
from echojepa.errors import UserError
from echojepa.models.contract import InputSpec
from echojepa.models.vit import Architecture, VisionTransformer


class CheckpointError(UserError):
    """A weights file is missing, damaged, or belongs to another model."""


@dataclass(frozen=True)
class EncoderCard:
    """What travels beside an encoder's tensors."""

    architecture: Architecture
    """Size and tubelets."""
    spec: InputSpec
    """How to feed it."""
    steps: int
    """Training steps behind the weights."""
    clips: int
    """Training clips behind the weights."""
    data_fingerprint: str
    """Fingerprint of the data set it was trained on."""
    version: str
    """Version of this package that wrote it."""
    sha256: str
    """Checksum of the tensors' file."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary sibling, then rename it over `path`: never a half file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old or the new file, never a half."""

    def write(file: Path) -> None:
        file.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state (tensors, numbers, strings) atomically."""
    write_atomically(path, lambda file: torch.save(state, file))


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state; CheckpointError if the file is not a whole one."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}); delete it to start this run from the beginning"
        ) from error


def load_foreign(path: Path) -> dict[str, Any]:
    """Read a dictionary that another package saved with `torch.save`; none of its code is run.

    CheckpointError for a missing, damaged or pickled file, and for one that holds no dictionary.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is no file; give the path of a weights file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as plain tensors ({type(error).__name__}); it is damaged, is not made "
            "by torch.save, or needs code to be run, which is refused"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Load tensors into a module; CheckpointError tells what was found and what was expected."""
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    if expected != found:
        missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        shapes = [
            f"{key}: {found[key]} where {expected[key]} is expected"
            for key in sorted(expected.keys() & found.keys())
            if expected[key] != found[key]
        ]
        raise CheckpointError(
            f"{name} does not fit this architecture. Missing: {missing[:5]} ({len(missing)} in all); "
            f"unknown: {unknown[:5]} ({len(unknown)}); other shapes: {shapes[:5]} ({len(shapes)})"
        )
    module.load_state_dict(tensors)


def file_sha256(path: Path) -> str:
    """Hex checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    whole = {name: value.contiguous() for name, value in tensors.items()}
    write_atomically(path, lambda file: save_file(whole, file))


def save_encoder(
    folder: Path,
    encoder: VisionTransformer,
    architecture: Architecture,
    spec: InputSpec,
    *,
    steps: int,
    clips: int,
    data_fingerprint: str,
) -> EncoderCard:
    """Write `encoder.safetensors` and, last, `encoder.json` that vouches for it."""
    weights = folder / "encoder.safetensors"
    save_tensors(weights, encoder.state_dict())
    card = EncoderCard(
        architecture, spec, steps, clips, data_fingerprint, echojepa.__version__, file_sha256(weights)
    )
    text = json.dumps(asdict(card), indent=2) + "\n"
    write_text_atomically(folder / "encoder.json", text)
    return card


def load_card(folder: Path) -> EncoderCard:
    """Read `encoder.json`; CheckpointError where the run has not finished."""
    path = folder / "encoder.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds no encoder.json; give the folder of a finished `echojepa pretrain` run"
        )
    return config_from_json(EncoderCard, path.read_text(encoding="utf-8"))


def load_encoder(folder: Path) -> tuple[VisionTransformer, EncoderCard]:
    """The trained encoder of a run folder; CheckpointError if the tensors are not those of the card."""
    card, weights = load_card(folder), folder / "encoder.safetensors"
    if not weights.is_file() or file_sha256(weights) != card.sha256:
        raise CheckpointError(
            f"{weights} is missing or is not the file that encoder.json describes; "
            "copy both files together again"
        )
    encoder = VisionTransformer(card.architecture, card.spec, torch.Generator().manual_seed(0))
    try:
        load_strictly(encoder, load_file(weights), weights.name)
    except SafetensorError as error:
        raise CheckpointError(f"{weights.name} is damaged: {error}") from error
    return encoder, card
