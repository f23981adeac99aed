"""DISCOVR's encoder: a VideoMAE with a class token and the table of positions that stands in its file.

Facts: github mdivyanshu97/DISCOVR (models/modeling_pretrain.py, models/modeling_finetune.py,
config/run_pretraining.sh): its pretraining file has the video encoder under `encoder.`, beside image
encoders, teachers and heads; a fine-tuned one has no prefix. Its settings `args` say what it was fed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from echojepa.config import InputSpec
from echojepa.files.records import decode_plain, plain
from echojepa.weights.folder import recognise
from echojepa.weights.meta import OURS, TABLE
from echojepa.weights.tensors import CheckpointError, file_sha256
from echojepa.weights.videomae import VideoMAEWeights, fuse

CLASS_TOKEN = "cls_token"
SPEC = InputSpec(size=112, frames=64, seconds=None, stride=3)
"""What it was pretrained on: 64 frames, every third, of 112 pixels."""
FED = {"input_size": "size", "num_frames": "frames", "sampling_rate": "stride"}
"""What its settings call parts of the input."""
BESIDE = ("local_pos_embed", "local_pos_embed_video", "head.weight", "head.bias")
"""Tables for cut-outs of pictures and a classifier, which no features need."""
ENCODER, POOL = "encoder.", "fc_norm."


class DISCOVRWeights(VideoMAEWeights):
    """A VideoMAE's, with a class token among the encoder's tensors."""


def is_discovr(tensors: dict[str, Tensor]) -> bool:
    """Whether a file's tensors are of a VideoMAE with a class token."""
    names = {key.removeprefix(ENCODER) for key in tensors}
    return CLASS_TOKEN in names and "blocks.0.attn.q_bias" in names


def read_discovr(
    state: dict[str, Tensor],
    content: dict[str, Any],
    path: Path,
    spec: InputSpec | None = None,
    heads: int | None = None,
) -> DISCOVRWeights:
    """The encoder of a file whose tensors are `state`, fed as its settings say, or SPEC where there are none.

    CheckpointError where its table of positions is of another grid.
    """
    whole = any(key.startswith(ENCODER) for key in state)
    own = {key.removeprefix(ENCODER): v for key, v in state.items() if key.startswith(ENCODER) or not whole}
    own = {key: value for key, value in fuse(own).items() if key not in BESIDE}
    pool = {key.removeprefix(POOL): own.pop(key) for key in list(own) if key.startswith(POOL)}
    table = own.pop(TABLE, None)
    if table is None:
        raise CheckpointError(f"{path.name} has a class token but no {TABLE}; DISCOVR needs both")
    own[OURS] = table.flatten(0, -2)
    architecture = recognise(own, path.name, "table", heads=heads)
    settings = vars(content["args"]) if hasattr(content.get("args"), "__dict__") else {}
    said = {ours: settings[theirs] for theirs, ours in FED.items() if type(settings.get(theirs)) is int}
    spec = spec or decode_plain(InputSpec, plain(SPEC) | said)
    tokens, rows = math.prod(architecture.grid(spec)), len(own[OURS])
    if rows != tokens + 1:
        raise CheckpointError(
            f"{path.name} has positions of {rows - 1} tokens and a class token; a clip of {spec.frames} "
            f"frames of {spec.size} px has {tokens}. Give `spec` with those that it was trained on"
        )
    return DISCOVRWeights(path.name, file_sha256(path), architecture, spec, own, pool)
