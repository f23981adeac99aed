"""What objectives that learn from labels share: an encoder, and a head from its tokens to a few numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echojepa.models.flops import product
from echojepa.models.masking import Mask
from echojepa.models.objective import Trained
from echojepa.models.vit import VisionTransformer

STILL = 1e-12
"""Variance of what does not move: above what rounding leaves, of which a root's gradient makes much."""


def moments(tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Mean and population standard deviation over time of tokens (n, N, D) -> (n, 2 * H' * W', D).

    They do not depend on where in the beat a clip begins, as the tokens themselves do. Spelled out: `std`
    over a dimension in the middle takes three times as long.
    """
    slots = tokens.unflatten(1, (grid[0], -1))
    mean = slots.mean(1)
    variance = (slots - mean.unsqueeze(1)).square().mean(1)
    return torch.cat([mean, variance.clamp_min(STILL).sqrt()], dim=1)


class ClipHead(nn.Module):
    """One linear layer on mean and deviation over time of every place: a clip begins anywhere in the beat.

    They are divided by the root of their number of tokens: so many inputs, each moved by AdamW's whole rate,
    would throw a young head about.
    """

    def __init__(
        self, grid: tuple[int, int, int], width: int, outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.grid = grid
        self.linear = nn.Linear(2 * grid[1] * grid[2] * width, outputs)
        nn.init.trunc_normal_(self.linear.weight, std=self.linear.in_features**-0.5, generator=generator)
        nn.init.zeros_(self.linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, D) of the whole grid -> (B, outputs)."""
        read = moments(tokens, self.grid)
        return self.linear(read.flatten(1) / read.shape[1] ** 0.5)

    @property
    def flops(self) -> int:
        """Operations of a forward pass a clip."""
        return product(1, self.linear.in_features, self.linear.out_features)


class FromLabels(Trained):
    """An encoder and a head that learn from labels: nothing is hidden, and no target follows the weights."""

    predictor = None

    def __init__(self, encoder: VisionTransformer, head: ClipHead) -> None:
        super().__init__(encoder)
        self.head = head

    def targets(self, clips: Tensor, masks: Sequence[Mask], labels: Tensor) -> list[Tensor]:
        """The clips' labels (B, columns) themselves."""
        return [labels for _ in masks]
