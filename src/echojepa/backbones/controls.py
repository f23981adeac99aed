"""Backbones that know nothing: what a probe scores on them is what the protocol gives away for free."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from echojepa.backbones.contract import Backbone
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import Architecture, InputSpec, SizeName
from echojepa.models.contract import TokenGrid
from echojepa.models.vit import VisionTransformer, initialise

WIDTH = 8
GRID = (2, 2, 2)


class Constant(Backbone):
    """The same tokens for every clip."""

    def __init__(self, spec: InputSpec | None = None) -> None:
        super().__init__("constant features", nn.Identity(), spec or InputSpec(), WIDTH)

    def features(self, pixels: Tensor) -> TokenGrid:
        """Tokens that differ by place alone."""
        tokens = torch.linspace(-1, 1, 8 * WIDTH, device=pixels.device).view(1, 8, WIDTH)
        return TokenGrid(tokens.expand(len(pixels), -1, -1), GRID)


def untrained_videomae(size: SizeName, spec: InputSpec) -> VideoTransformer:
    """The architecture of the original VideoMAE with random weights."""
    architecture = Architecture(size, position="sincos")
    encoder = VisionTransformer(architecture, spec, torch.Generator().manual_seed(0))
    return VideoTransformer(f"untrained architecture (VideoMAE, {size})", encoder, spec)


def random_start(backbone: VideoTransformer) -> VideoTransformer:
    """The same architecture, fed the same, with weights as pretraining starts from (seed 0)."""
    encoder = copy.deepcopy(backbone.encoder)
    for module in encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    initialise(encoder.cpu(), encoder.blocks, torch.Generator().manual_seed(0))
    return VideoTransformer("random encoder", encoder, backbone.spec)
