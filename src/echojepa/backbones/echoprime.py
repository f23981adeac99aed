"""EchoPrime's video encoder: torchvision's MViT-v2-S with a head of 512, its vector and its 392 tokens.

Facts: github echonet/EchoPrime (echo_prime/model.py, utils/utils.py) and its file's key names; arXiv
2410.09704. Its weights are not redistributable and come from the user. What its own code does before, masking
outside the sector and cutting a wide picture to a square, is the data set's matter here and the same for
every model.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from echojepa.backbones.vision import OfTorchvision, torchvision_models
from echojepa.config import InputSpec
from echojepa.models.contract import TokenGrid

SPEC = InputSpec(
    size=224,
    frames=16,
    seconds=None,
    stride=2,
    margin=0.1,
    interpolation="bicubic",
    value_max=255.0,
    mean=(29.110628, 28.076836, 29.096405),
    std=(47.989223, 46.456997, 47.20083),
)
WIDTH, VECTOR = 768, 512


def is_echoprime(tensors: dict[str, Tensor]) -> bool:
    """Whether a file's tensors are EchoPrime's."""
    return "conv_proj.weight" in tensors and "head.1.weight" in tensors


class EchoPrime(OfTorchvision):
    """The frozen video encoder; `pooled` is the 512-d vector that it was contrasted with reports by."""

    fed, width = SPEC, WIDTH

    @classmethod
    def build(cls) -> nn.Module:
        """MViT-v2-S with EchoPrime's head."""
        model = torchvision_models().mvit_v2_s()
        model.head[1] = nn.Linear(WIDTH, VECTOR)
        return model

    def features(self, pixels: Tensor) -> TokenGrid:
        """The 392 tokens that stand beside the class token at the end, and the vector made of that one.

        torchvision's own forward pass, which gives the vector alone, step by step.
        """
        model: Any = self.network
        x = model.pos_encoding(model.conv_proj(pixels).flatten(2).transpose(1, 2))
        grid = (model.pos_encoding.temporal_size, *model.pos_encoding.spatial_size)
        for block in model.blocks:
            x, grid = block(x, grid)
        x = model.norm(x)
        return TokenGrid(x[:, 1:], grid, model.head(x[:, 0]))
