"""Where JEPA weights of each layout are read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from echojepa.config import InputSpec, Layout, Untold
from echojepa.weights.folder import CARD, Weights, load_weights, save_weights
from echojepa.weights.huggingface import read_huggingface, write_huggingface
from echojepa.weights.meta import read_meta, write_meta
from echojepa.weights.tensors import CheckpointError

WRITERS: dict[Layout, Callable[[Path, Weights], object]] = {
    "echojepa": save_weights,
    "huggingface": write_huggingface,
    "meta": write_meta,
}


def read_weights(path: Path, spec: InputSpec | None = None, untold: Untold | None = None) -> Weights:
    """JEPA weights of any layout: our folder, a Hugging Face `VJEPA2Model` folder, or Meta's file.

    `spec` replaces the input that the weights name; `untold` is what a file of Meta's does not tell. Every
    tensor is checked against the architecture;
    CheckpointError tells what was found and what was expected.
    """
    if path.is_file():
        return read_meta(path, spec, untold).check()
    if untold is not None and untold != Untold():
        raise CheckpointError(f"{path} is a folder, whose files state these facts; leave `untold` out")
    if (path / CARD).is_file():
        weights = load_weights(path)
    elif (path / "config.json").is_file() and [*path.glob("*.safetensors*"), *path.glob("*.bin*")]:
        weights = read_huggingface(path)
    else:
        raise CheckpointError(
            f"{path} is not a weights file, the folder of a finished `echojepa pretrain` run ({CARD}), or "
            "a Hugging Face folder (config.json and *.safetensors)"
        )
    return (replace(weights, spec=spec) if spec else weights).check()


def write_weights(out: Path, weights: Weights, layout: Layout) -> None:
    """Write weights in a layout; CheckpointError where it cannot hold them, or something is there already."""
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise CheckpointError(f"{out} already exists; give another --out, because nothing is overwritten")
    WRITERS[layout](out, weights)
