"""The only place that reads or writes tensors on disk: atomic, strict, without pickled code."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from echojepa.errors import UserError
from echojepa.files.durable import write_file

ModuleType = TypeVar("ModuleType", bound=nn.Module)


class CheckpointError(UserError):
    """A weights file is missing, damaged, or belongs to another model."""


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


def build_from(
    build: Callable[[], ModuleType], tensors: dict[str, Tensor], name: str, dtype: torch.dtype = torch.float32
) -> ModuleType:
    """The module that `build` makes, with these tensors as its weights; CheckpointError as `load_strictly`.

    It is built without storage: drawing a ViT-L's first weights takes ten seconds, only to be overwritten.
    """
    with torch.device("meta"):
        module = build()
    check_fit(module, tensors, name)
    module.load_state_dict({key: value.to(dtype) for key, value in tensors.items()}, assign=True)
    return module


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Copy tensors into a module's own; CheckpointError tells what was found and what was expected."""
    check_fit(module, tensors, name)
    module.load_state_dict(tensors)


def check_fit(module: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """CheckpointError unless the tensors have exactly the module's names and shapes."""
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


def file_sha256(path: Path) -> str:
    """Hex checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; CheckpointError for a missing or damaged one."""
    if not path.is_file():
        raise CheckpointError(f"{path} is no file; give the path of a weights file")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged: {error}") from error


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically; CheckpointError where the disk does not take them."""
    whole = {name: value.contiguous() for name, value in tensors.items()}
    try:
        write_file(path, lambda file: save_file(whole, file))
    except SafetensorError as error:
        raise CheckpointError(
            f"{path.name} cannot be written: {error}; what was there before is kept"
        ) from error
