"""V-JEPA 2, V-JEPA 2.1 and EchoJEPA as Meta's training code saves them, read and written.

Such a file is a dictionary of an encoder (`target_encoder`, in 2.1 `ema_encoder`: the moving average, what
one evaluates with; or `encoder`) and a `predictor`, whose keys are ours behind `module.backbone.`. Facts:
github facebookresearch/vjepa2 (src/hub/backbones.py, src/models); of 2.1, descriptions of its app/vjepa_2_1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echojepa.config import InputSpec
from echojepa.files.durable import write_file
from echojepa.models.predictor import PredictorShape
from echojepa.weights.folder import VJEPA2, Origin, Weights, recognise
from echojepa.weights.tensors import CheckpointError, file_sha256, load_foreign

ENCODERS = ("target_encoder", "ema_encoder", "encoder")
"""Entries that hold an encoder, the one to evaluate with first."""
PREFIX = "module.backbone."
UNUSED = ("pos_embed", "predictor_pos_embed")
"""Fixed tables that V-JEPA 2's own code leaves aside under rotary positions."""
PREDICTOR_HEAD_WIDTH = 32
"""Every released predictor has 12 heads of 384 channels; no tensor tells the number of heads."""
TRAINED_PIXELS = 256
"""Side of the pictures of V-JEPA 2.1's pretraining, which its rotary positions are stretched to."""
STILLS = ("patch_embed_img.", "img_mod_embed", "norms_block.0.", "norms_block.1.", "norms_block.2.")
"""What V-JEPA 2.1 holds for single pictures and for the outputs of earlier blocks."""


def is_meta(content: dict[str, Any]) -> bool:
    """Whether a file's dictionary has an encoder's entry of this layout."""
    return any(isinstance(content.get(key), dict) for key in ENCODERS)


def read_meta(path: Path, spec: InputSpec | None = None) -> Weights:
    """The weights of a file; EchoJEPA's input, 16 frames over 2 s at 224 px, unless `spec` says otherwise,
    because the file does not tell. CheckpointError for a file of another kind or an unknown size."""
    content, name = load_foreign(path), path.name
    entry = next((key for key in ENCODERS if isinstance(content.get(key), dict)), None)
    if entry is None:
        raise CheckpointError(
            f"{name} has the entries {sorted(map(str, content))[:8]}; a V-JEPA 2 file has one of {ENCODERS}"
        )
    encoder = plain_names(content[entry])
    if any(key.startswith("norms_block.") for key in encoder):
        return read_second_edition(encoder, name, file_sha256(path), spec)
    architecture = recognise(encoder, name)
    predictor = plain_names(content.get("predictor", {}))
    return Weights(
        architecture,
        spec or InputSpec(),
        encoder,
        Origin(name),
        file_sha256(path),
        predictor_shape(predictor) if predictor else None,
        predictor,
    )


def read_online(path: Path) -> dict[str, Tensor]:
    """The encoder of a file that was trained, not its moving average, where the file has both; or nothing."""
    content = load_foreign(path)
    return plain_names(content["encoder"]) if isinstance(content.get("encoder"), dict) else {}


def plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under our names, without the tables that are not used."""
    plain = {key.removeprefix("module.").removeprefix("backbone."): value for key, value in tensors.items()}
    return {key: value for key, value in plain.items() if key not in UNUSED}


def predictor_shape(tensors: dict[str, Tensor]) -> PredictorShape | None:
    """The shape of a predictor with these tensors; None where it is of another design."""
    if not {"predictor_embed.weight", "predictor_proj.weight"} <= tensors.keys():
        return None
    width = tensors["predictor_embed.weight"].shape[0]
    return PredictorShape(
        width,
        len({key.split(".")[1] for key in tensors if key.startswith("predictor_blocks.")}),
        max(1, width // PREDICTOR_HEAD_WIDTH),
        tensors["predictor_proj.weight"].shape[0],
        sum(key.startswith("mask_tokens.") for key in tensors),
    )


def read_second_edition(
    tensors: dict[str, Tensor], name: str, sha256: str, spec: InputSpec | None
) -> Weights:
    """V-JEPA 2.1: what clips need of it, as one of our encoders.

    The embedding of the video modality is added to every token, so it goes into the patch embedding's
    bias. Its predictor, which reads four depths of the encoder, is left out.
    """
    kept = {key: value for key, value in tensors.items() if not key.startswith(STILLS)}
    kept = {key.replace("norms_block.3.", "norm."): value for key, value in kept.items()}
    bias = "patch_embed.proj.bias"
    if "video_mod_embed" in kept and bias in kept:
        kept[bias] = kept[bias] + kept.pop("video_mod_embed").flatten()
    patch = kept["patch_embed.proj.weight"].shape[-1] if "patch_embed.proj.weight" in kept else 16
    architecture = recognise(kept, name, position="interleaved", trained_side=TRAINED_PIXELS // patch)
    return Weights(architecture, spec or InputSpec(), kept, Origin(name), sha256)


def write_meta(path: Path, weights: Weights) -> None:
    """Write a file that V-JEPA 2's code reads; CheckpointError for weights that it does not know."""
    if not weights.of_vjepa2:
        raise CheckpointError(f"Meta's V-JEPA 2 has only {VJEPA2}; {weights.outline}")
    encoder = {PREFIX + key: value.contiguous() for key, value in weights.encoder.items()}
    content: dict[str, Any] = {"encoder": encoder, "target_encoder": encoder}
    if weights.predictor_shape:
        content["predictor"] = {PREFIX + key: value.contiguous() for key, value in weights.predictor.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, lambda file: torch.save(content, file))
