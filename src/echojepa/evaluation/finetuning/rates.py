"""How fast each layer learns in fine-tuning: the more slowly, the nearer it is to the pixels.

The learning rate of layer l of an encoder of L blocks is lr * decay^(L + 1 - l): layer 0 embeds, block k is
layer k + 1, the last norm is layer L + 1 and, like the head, has the whole rate (BEiT's rule, arXiv
2106.08254; its use for video: VideoMAE, arXiv 2203.12602).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from echojepa.config import TuningConfig
from echojepa.models.vit import VisionTransformer


def layer_of(name: str, blocks: int) -> int:
    """The layer that an encoder's parameter belongs to, 0 to blocks + 1."""
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1
    return blocks + 1 if name.startswith("norm.") else 0


def parameter_groups(
    encoder: VisionTransformer, head: nn.Module, config: TuningConfig
) -> list[dict[str, Any]]:
    """AdamW's groups: `scale` is what the learning rate is multiplied by, norms and biases are not decayed.

    A parameter of the head has one dimension more than what it is, for its number of heads.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    blocks = len(encoder.blocks)
    for name, weight in encoder.named_parameters():
        scale = config.layer_decay ** (blocks + 1 - layer_of(name, blocks))
        groups.setdefault((scale, weight.ndim > 1), []).append(weight)
    for weight in head.parameters():
        groups.setdefault((1.0, weight.ndim > 2), []).append(weight)
    return [
        {"params": weights, "scale": scale, "weight_decay": config.weight_decay * decayed}
        for (scale, decayed), weights in groups.items()
    ]
