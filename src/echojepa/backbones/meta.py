"""Encoders of V-JEPA 2 and EchoJEPA as Meta's training code saves them.

Such a file is a dictionary with `target_encoder` (the moving average, what one evaluates with) and `encoder`,
whose keys are ours behind `module.backbone.`. V-JEPA 2 files also carry a `pos_embed` that their own code
leaves unused under rotary positions (github facebookresearch/vjepa2, src/hub/backbones.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echojepa.models.contract import InputSpec
from echojepa.models.vit import SIZES, Architecture, VisionTransformer
from echojepa.training.checkpoint import CheckpointError, load_foreign, load_strictly

META_SUFFIXES = (".pt", ".pth")
ENCODERS = ("target_encoder", "encoder")
"""Entries that hold an encoder, the one to evaluate with first."""
EMBEDDING = "patch_embed.proj.weight"
UNUSED = "pos_embed"


def load_meta_encoder(path: Path, spec: InputSpec | None = None) -> tuple[VisionTransformer, InputSpec]:
    """The encoder of a V-JEPA 2 file and what it is fed: EchoJEPA's 16 frames over 2 s at 224 px unless
    `spec` says otherwise, because the file does not tell.

    CheckpointError for a file of another kind, a size that is not in the table, or other keys or shapes.
    """
    spec = spec or InputSpec()
    tensors = encoder_tensors(load_foreign(path), path.name)
    tensors = {name: value for name, value in tensors.items() if name != UNUSED}
    encoder = VisionTransformer(recognise(tensors, path.name), spec, torch.Generator().manual_seed(0))
    load_strictly(encoder, tensors, path.name)
    return encoder, spec


def encoder_tensors(content: dict[str, Any], name: str) -> dict[str, Tensor]:
    """The encoder's tensors under our names; CheckpointError where there is none."""
    entry = next((content[key] for key in ENCODERS if isinstance(content.get(key), dict)), None)
    if entry is None:
        raise CheckpointError(
            f"{name} has the entries {sorted(map(str, content))[:8]}; a V-JEPA 2 file has one of {ENCODERS}"
        )
    return {key.removeprefix("module.").removeprefix("backbone."): value for key, value in entry.items()}


def recognise(tensors: dict[str, Tensor], name: str) -> Architecture:
    """The architecture that tensors of these shapes belong to; CheckpointError if none does."""
    if EMBEDDING not in tensors or tensors[EMBEDDING].ndim != 5:
        raise CheckpointError(f"{name} holds no {EMBEDDING} of five dimensions; found {sorted(tensors)[:5]}")
    width, _, tubelet, patch, _ = tensors[EMBEDDING].shape
    depth = len({key.split(".")[1] for key in tensors if key.startswith("blocks.")})
    for row, size in SIZES.items():
        if (size.width, size.depth) == (width, depth):
            return Architecture(row, patch=patch, tubelet=tubelet)
    known = ", ".join(f"{row} {size.width} x {size.depth}" for row, size in SIZES.items())
    raise CheckpointError(f"{name} is {width} wide and {depth} blocks deep; known are {known}")
