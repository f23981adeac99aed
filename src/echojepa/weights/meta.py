"""V-JEPA, V-JEPA 2, V-JEPA 2.1 and EchoJEPA as Meta's training code saves them, read and written.

Such a file is a dictionary of an encoder (`target_encoder`, in 2.1 `ema_encoder`: the moving average, what
one evaluates with; or `encoder`) and a `predictor`, whose keys are ours behind `module.backbone.`. Facts:
github facebookresearch/jepa and facebookresearch/vjepa2 (src/hub/backbones.py, src/models); of 2.1,
descriptions of its app/vjepa_2_1.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.config import ConfigError, InputSpec, PositionKind, Untold
from echojepa.files.durable import write_file
from echojepa.models.predictor import PredictorShape
from echojepa.weights.folder import Origin, Weights, count_blocks, recognise
from echojepa.weights.tensors import CheckpointError, file_sha256, load_foreign, plain_names

ENCODERS = ("target_encoder", "ema_encoder", "encoder")
"""Entries that hold an encoder, the one to evaluate with first."""
PREFIX = "module.backbone."
TABLE, PREDICTOR_TABLE, OURS = "pos_embed", "predictor_pos_embed", "positions.table"
"""Tables of positions: what they are called in a file, and in our modules."""
RELEASED_TABLES = (32 * 16 * 16, 32 * 24 * 24)
RELEASED_MASK_TOKENS = 10
"""Rows of the tables in V-JEPA 2's released files (64 frames of 256 or 384 px), and their mask tokens."""
PREDICTOR_HEAD_WIDTH = 32
"""V-JEPA 2's predictors have 12 heads of 384 channels; no tensor tells the number of heads."""
FRAMES_PER_SECOND = 8
"""EchoJEPA's sampling."""
TRAINED_PIXELS = 256
"""Side of the pictures of V-JEPA 2.1's pretraining, which its rotary positions are stretched to."""
STILLS = ("patch_embed_img.", "img_mod_embed", "norms_block.0.", "norms_block.1.", "norms_block.2.")
"""What V-JEPA 2.1 holds for single pictures and for the outputs of earlier blocks."""
ACTIONS = "action_encoder.weight"
"""What the predictor of V-JEPA 2-AC has and no other."""


def is_meta(content: dict[str, Any]) -> bool:
    """Whether a file's dictionary has an encoder's entry of this layout."""
    return any(isinstance(content.get(key), dict) for key in ENCODERS)


def read_meta(path: Path, spec: InputSpec | None = None, untold: Untold | None = None) -> Weights:
    """The weights of a file; EchoJEPA's input, 16 frames over 2 s at 224 px, unless `spec` says otherwise or
    a table of positions tells its frames and pixels. CheckpointError for a file of another kind."""
    content, name, untold = load_foreign(path), path.name, untold or Untold()
    key = next((key for key in ENCODERS if isinstance(content.get(key), dict)), None)
    if key is None:
        raise CheckpointError(
            f"{name} has the entries {sorted(map(str, content))[:8]}; a V-JEPA 2 file has one of {ENCODERS}"
        )
    encoder, sha256 = without_backbone(content[key], name), file_sha256(path)
    if any(key.startswith("norms_block.") for key in encoder):
        return read_second_edition(encoder, name, sha256, spec, untold)
    if untold.interpolate_rope is not None:
        raise CheckpointError(f"{name} is not a V-JEPA 2.1 file; leave interpolate_rope out")
    predictor = read_predictor(content.get("predictor"), name)
    table, predictor_table = encoder.pop(TABLE, None), predictor.pop(PREDICTOR_TABLE, None)
    position: PositionKind = "vjepa2"
    if added_table(table, predictor, untold, name) and table is not None:
        position = "table"
        spec, encoder[OURS] = fitted_table(table, encoder, spec, name)
        if predictor_table is not None:
            _, predictor[OURS] = fitted_table(predictor_table, encoder, spec, name)
        elif predictor:
            predictor = left_aside(name, "has no position table")
    architecture = recognise(encoder, name, position, heads=untold.heads)
    heads = untold.predictor_heads or (architecture.dimensions.heads if position == "table" else None)
    shape = None
    if predictor:
        try:
            shape = predictor_shape(predictor, heads)
        except ConfigError as error:
            predictor = left_aside(name, f"cannot be built ({error}); give --untold.predictor-heads")
    return Weights(architecture, spec or InputSpec(), encoder, Origin(name), sha256, shape, predictor)


def without_backbone(entry: Any, name: str) -> dict[str, Tensor]:
    """An entry's tensors under our names."""
    plain = plain_names(entry, name)
    return plain_names({key.removeprefix("backbone."): value for key, value in plain.items()}, name)


def read_online(path: Path) -> dict[str, Tensor]:
    """The encoder of a file that was trained, not its moving average, where the file has both; or nothing.
    Its positions are those of the moving average."""
    content = load_foreign(path)
    online = content.get("encoder")
    tensors = without_backbone(online, path.name) if isinstance(online, dict) else {}
    tensors.pop(TABLE, None)
    return tensors


def added_table(table: Tensor | None, predictor: dict[str, Tensor], untold: Untold, name: str) -> bool:
    """Whether an encoder adds its table of positions to its tokens (V-JEPA 1) or is rotary (V-JEPA 2).

    Rotary classes save no table, or one of zeros. V-JEPA 2's released files are said to hold one that their
    own code leaves aside; they have ten mask tokens, and the rows of 64 frames. CheckpointError for a file
    that could be either.
    """
    if table is None or not isinstance(table, Tensor) or not table.float().any():
        if untold.positions == "table":
            raise CheckpointError(f"{name} has no position table; leave `positions` out")
        return False
    if untold.positions is not None:
        return untold.positions == "table"
    ten = sum(key.startswith("mask_tokens.") for key in predictor) == RELEASED_MASK_TOKENS
    if ten and table.shape[-2] not in RELEASED_TABLES:
        raise CheckpointError(
            f"{name} has ten mask tokens, like V-JEPA 2, and a position table, like V-JEPA 1. State which "
            "it is: --untold.positions rotary (its model ignored the table) or table (its model added it)"
        )
    return not ten


def fitted_table(
    table: Tensor, encoder: dict[str, Tensor], spec: InputSpec | None, name: str
) -> tuple[InputSpec, Tensor]:
    """The input of an encoder with a position table, and the table (N, D) for it, resized for another grid as
    in its own code."""
    table = table.float().flatten(0, -2)
    # The first channel is the sine of the time: it changes after a picture's tokens.
    changes = (table[:, 0] - table[0, 0]).abs() > 1e-4
    picture = int(changes.nonzero()[0]) if changes.any() else len(table)
    side, frames = math.isqrt(picture), len(table) // picture
    if side**2 * frames != len(table):
        raise CheckpointError(f"{name} has a position table of unknown shape, {tuple(table.shape)}")
    tubelet, patch = encoder["patch_embed.proj.weight"].shape[2:4]
    own = InputSpec(size=side * patch, frames=frames * tubelet, seconds=frames * tubelet / FRAMES_PER_SECOND)
    spec = spec or own
    grid = (spec.frames // tubelet, spec.size // patch, spec.size // patch)
    if grid != (frames, side, side):
        lattice = table.view(1, frames, side, side, -1).permute(0, 4, 1, 2, 3)
        table = F.interpolate(lattice, size=grid, mode="trilinear").flatten(2)[0].T
    return spec, table.contiguous()


def read_predictor(entry: Any, name: str) -> dict[str, Tensor]:
    """The tensors of a file's predictor; none, with a warning, of one that infers no hidden tokens."""
    tensors = without_backbone(entry, name) if isinstance(entry, dict) and entry else {}
    if ACTIONS in tensors:
        return left_aside(name, "is V-JEPA 2-AC's, which follows a robot's actions")
    if tensors and not {"predictor_embed.weight", "predictor_proj.weight"} <= tensors.keys():
        return left_aside(name, "is of another design")
    return tensors


def left_aside(name: str, why: str) -> dict[str, Tensor]:
    """No predictor, and the reason as a warning."""
    warnings.warn(f"the predictor in {name} {why}; it is ignored, and the encoder loads", stacklevel=2)
    return {}


def predictor_shape(tensors: dict[str, Tensor], heads: int | None) -> PredictorShape:
    """The shape of a predictor with these tensors, of 32 channels a head where `heads` are not given;
    ConfigError for one that cannot be built."""
    width = tensors["predictor_embed.weight"].shape[0]
    return PredictorShape(
        width,
        count_blocks(tensors, "predictor_blocks."),
        heads or max(1, width // PREDICTOR_HEAD_WIDTH),
        tensors["predictor_proj.weight"].shape[0],
        sum(key.startswith("mask_tokens.") for key in tensors),
    )


def read_second_edition(
    tensors: dict[str, Tensor], name: str, sha256: str, spec: InputSpec | None, untold: Untold
) -> Weights:
    """V-JEPA 2.1: what clips need of it, as one of our encoders.

    The embedding of the video modality is added to every token, so it goes into the patch embedding's
    bias. Its predictor, which reads four depths of the encoder, is left out.
    """
    if untold.positions is not None:
        raise CheckpointError(
            f"{name} is a V-JEPA 2.1 file, whose positions are rotary; leave `positions` out"
        )
    kept = {key: value for key, value in tensors.items() if not key.startswith(STILLS) and key != TABLE}
    kept = {key.replace("norms_block.3.", "norm."): value for key, value in kept.items()}
    bias = "patch_embed.proj.bias"
    if "video_mod_embed" in kept and bias in kept:
        kept[bias] = kept[bias] + kept.pop("video_mod_embed").flatten()
    patch = kept["patch_embed.proj.weight"].shape[-1] if "patch_embed.proj.weight" in kept else 16
    side = None if untold.interpolate_rope is False else TRAINED_PIXELS // patch
    architecture = recognise(kept, name, "interleaved", side, untold.heads)
    return Weights(architecture, spec or InputSpec(), kept, Origin(name), sha256)


def write_meta(path: Path, weights: Weights) -> None:
    """Write a file that V-JEPA 2's code reads; CheckpointError for weights that it does not know."""
    weights.check_vjepa2("Meta's V-JEPA 2 supports only", whole=False)
    encoder = {PREFIX + key: value.contiguous() for key, value in weights.encoder.items()}
    content: dict[str, Any] = {"encoder": encoder, "target_encoder": encoder}
    if weights.predictor_shape:
        content["predictor"] = {PREFIX + key: value.contiguous() for key, value in weights.predictor.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, lambda file: torch.save(content, file))
