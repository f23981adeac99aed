"""Backbones that know nothing: what a probe scores on them is what the protocol gives away for free."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echojepa.backbones.contract import Backbone
from echojepa.config import InputSpec
from echojepa.models.contract import TokenGrid

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
