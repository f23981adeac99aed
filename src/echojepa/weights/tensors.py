"""The only place that reads or writes tensors on disk: atomic, strict, without pickled code."""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from echojepa.errors import UserError
from echojepa.files.durable import write_file
from echojepa.files.records import entry, read_plain

ModuleType = TypeVar("ModuleType", bound=nn.Module)


class CheckpointError(UserError):
    """A weights file is missing, damaged, or belongs to another model."""


class Left:
    """What stands for a setting of the program that saved a file: it keeps its entries and does nothing."""

    def __init__(self, *given: object, **named: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


NUMPY = [
    f"numpy.{core}.multiarray.{part}" for core in ("core", "_core") for part in ("scalar", "_reconstruct")
]
DTYPES = [f"numpy.dtypes.{kind}DType" for kind in ("Float16", "Float32", "Float64", "Int32", "Int64", "Bool")]
SETTINGS = (
    "argparse.Namespace", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath",
    "pathlib._local.PosixPath", "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler", "numpy.dtype", "numpy.ndarray", *NUMPY, *DTYPES,
)  # fmt: skip
"""What training programs save beside their tensors. Each of these names becomes a `Left`; none is called."""
LOAD_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError,
    AssertionError, ArithmeticError, OSError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What torch raises on files that are none of its own, or damaged."""
STARTS = {
    b"version https://git-lfs": "a Git LFS pointer instead of the file: run `git lfs pull`",
    b"<": "a web page instead of the file: download the file itself",
    b"{": "JSON text",
    b"\x89HDF": "HDF5, as written by Keras; torch weights are needed",
}
"""What stands in place of weights, by how it begins."""


def load_foreign(path: Path) -> dict[str, Any]:
    """Read a dictionary that another package saved with `torch.save`; none of its code is run.

    Settings beside the tensors (`SETTINGS`) become a `Left`. CheckpointError for a missing, damaged or
    foreign file, for one that holds anything else beside plain values, and for one without a dictionary.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is no file; give the path of a weights file")
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path} is one part of a folder; give the folder, with its config.json")
    with path.open("rb") as file:
        start = file.read(64)
    if not start.startswith((b"PK\x03\x04", b"\x80")):
        found = next((what for sign, what in STARTS.items() if start.lstrip().startswith(sign)), "other data")
        raise CheckpointError(
            f"{path} is not a weights file of torch.save; it contains {found if start else 'nothing'}"
        )
    names: list[Any] = [(Left, name) for name in SETTINGS]
    try:
        with torch.serialization.safe_globals(names):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except LOAD_ERRORS as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        why = (
            f"contains an object of {code[1]}, which would need to run code"
            if code
            else "is cut short or damaged"
        )
        raise CheckpointError(
            f"{path} cannot be read as plain tensors ({type(error).__name__}): it {why}. Such files are "
            "refused. Save only the model's state_dict, or copy the file again"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} contains a {type(content).__name__}, not a dictionary of tensors")
    return content


WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before names, once or several times."""
STATES = ("model", "module", "state_dict", "model_state_dict", "weights")
"""Entries that hold a whole model's tensors: of plain loops, DeepSpeed, Lightning, PanEcho."""


def state_of(content: dict[str, Any], name: str) -> dict[str, Tensor]:
    """The model's tensors in a file's dictionary, in an entry of `STATES` or bare, under plain names."""
    state = next((content[key] for key in STATES if isinstance(content.get(key), dict)), content)
    return plain_names(state, name)


def plain_names(state: Any, name: str) -> dict[str, Tensor]:
    """Tensors without what wrappers put before their names; CheckpointError where an entry is none, or two
    become one."""
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{name} contains a {type(state).__name__}; named tensors are expected")
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        short = key
        while short.startswith(WRAPPERS):
            short = short.removeprefix(next(w for w in WRAPPERS if short.startswith(w)))
        if not isinstance(value, Tensor):
            entries = sorted(map(str, state))[:8]
            raise CheckpointError(
                f"{name} has the entries {entries}; {key} is a {type(value).__name__}, not a tensor"
            )
        if short in plain:
            raise CheckpointError(f"{name} contains {short} twice, with different prefixes")
        plain[short] = value
    return plain


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def renamed(name: str, parts: Iterable[tuple[str, str]]) -> str:
    """A name with its parts replaced, one after another: the first of each pair by the second."""
    for theirs, ours in parts:
        name = name.replace(theirs, ours)
    return name


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
    """CheckpointError unless tensors have exactly the module's names and shapes and are finite numbers."""
    odd = [key for key, value in tensors.items() if not isinstance(value, Tensor)]
    if odd:
        raise CheckpointError(f"{name} has a {type(tensors[odd[0]]).__name__} as {odd[0]}, not a tensor")
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
    for key, value in tensors.items():
        if not value.is_floating_point() or value.layout != torch.strided:
            raise CheckpointError(
                f"{name} holds {key} as {value.dtype}, {value.layout}; weights must be dense real "
                "numbers. Convert quantised files to float16 or float32 first"
            )
        if not all_finite(value):
            raise CheckpointError(f"{name} has NaN or infinity in {key}: its training or its copy failed")


def all_finite(value: Tensor) -> bool:
    """Whether every number is finite as float32. Their sum tells it faster, unless it overflows."""
    if value.device.type == "meta" or not value.numel():
        return True
    whole = value.detach().float()
    return bool(whole.sum().isfinite()) or bool(whole.isfinite().all())


def file_sha256(path: Path) -> str:
    """Hex checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_sha256(files: Sequence[Path]) -> str:
    """Hex checksum of one file, or over the names and checksums of several."""
    if len(files) == 1:
        return file_sha256(files[0])
    lines = "".join(f"{file.name} {file_sha256(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Hugging Face's names of a model in several files, and in one."""


def shards(folder: Path) -> list[Path]:
    """The files that a Hugging Face folder's tensors stand in: those of its index, or the one; else every
    safetensors file. CheckpointError where one is missing or there is none."""
    index = next((folder / name for name in INDEX if (folder / name).is_file()), None)
    if index is not None:
        named = entry(read_plain(index), "weight_map", dict, index).values()
        files = [folder / Path(str(name)).name for name in sorted({str(name) for name in named})]
    else:
        one = next((folder / name for name in WHOLE if (folder / name).is_file()), None)
        files = [one] if one else sorted(folder.glob("*.safetensors"))
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise CheckpointError(
            f"{folder} lacks {', '.join(missing) or 'its weights, ' + WHOLE[0]}; copy it again"
        )
    return files


def load_shards(files: Sequence[Path]) -> dict[str, Tensor]:
    """Tensors of several files as one; CheckpointError for a damaged one, and a name that comes twice."""
    tensors: dict[str, Tensor] = {}
    for file in files:
        part = load_safetensors(file) if file.suffix == ".safetensors" else load_foreign(file)
        twice = sorted(tensors.keys() & part.keys())
        if twice:
            raise CheckpointError(f"{file} and another file of its folder both contain {twice[0]}")
        tensors |= part
    return tensors


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; CheckpointError for a missing or damaged one."""
    if not path.is_file():
        raise CheckpointError(f"{path} is no file; give the path of a weights file")
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path.name} is damaged or not a safetensors file: {error}") from error


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically; CheckpointError where the disk does not take them."""
    whole = {name: value.contiguous() for name, value in tensors.items()}
    try:
        write_file(path, lambda file: save_file(whole, file))
    except SafetensorError as error:
        raise CheckpointError(
            f"{path.name} cannot be written: {error}; the previous content is kept"
        ) from error
