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
from echojepa.weights.meta import OURS, TABLE
from echojepa.weights.tensors import CheckpointError, below, file_sha256
from echojepa.weights.videomae import VideoMAEWeights, sorted_out

CLASS_TOKEN = "cls_token"
SPEC = InputSpec(size=112, frames=64, seconds=None, stride=3)
"""What it was pretrained on: 64 frames, every third, of 112 pixels."""
FED = {"input_size": "size", "num_frames": "frames", "sampling_rate": "stride"}
"""What its settings call parts of the input."""
BESIDE = ("local_pos_embed", "head.weight", "head.bias")
"""Beginnings of tables for cut-outs of pictures and of a classifier, which no features need."""
ENCODER = "encoder."


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
) -> VideoMAEWeights:
    """The encoder of a file whose tensors are `state`, fed as its settings say, or SPEC where there are none;
    its class token is among its tensors.

    CheckpointError where its table of positions is of another grid.
    """
    own = below(ENCODER, state) or state
    if TABLE not in own:
        raise CheckpointError(f"{path.name} has a class token but no {TABLE}; DISCOVR needs both")
    settings = vars(content["args"]) if hasattr(content.get("args"), "__dict__") else {}
    said = {ours: settings[theirs] for theirs, ours in FED.items() if type(settings.get(theirs)) is int}
    spec = spec or decode_plain(InputSpec, plain(SPEC) | said)
    weights = sorted_out(own, path.name, file_sha256(path), spec, heads, BESIDE)
    tokens, rows = math.prod(weights.architecture.grid(spec)), len(weights.encoder[OURS])
    if rows != tokens + 1:
        raise CheckpointError(
            f"{path.name} has positions of {rows - 1} tokens and a class token; a clip of {spec.frames} "
            f"frames of {spec.size} px has {tokens}. Give `spec` with those that it was trained on"
        )
    return weights
