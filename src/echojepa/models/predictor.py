"""The narrow transformer that infers hidden embeddings from visible ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echojepa.models.vit import Block, RopeLayout, Rotary, initialise


class Predictor(nn.Module):
    """Predict the embeddings at target ids from the context's. Parameter names are Meta's."""

    def __init__(
        self,
        encoder_width: int,
        grid: tuple[int, int, int],
        width: int,
        depth: int,
        heads: int,
        generator: torch.Generator,
        rope: RopeLayout = "vjepa2",
    ) -> None:
        super().__init__()
        self.predictor_embed = nn.Linear(encoder_width, width)
        self.mask_tokens = nn.ParameterList([nn.Parameter(torch.zeros(1, 1, width))])
        self.predictor_blocks = nn.ModuleList(Block(width, heads, 4 * width) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_proj = nn.Linear(width, encoder_width)
        self.rotary = Rotary(grid, width // heads, rope)
        initialise(self, self.predictor_blocks, generator)

    def forward(self, context: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Context features (B, N, D) at context_ids (B, N) -> predictions (B, M, D) at target_ids (B, M).

        Tokens are not sorted by id as in the released code: positions enter through the ids alone, and
        attention does not see the order.
        """
        visible = self.predictor_embed(context)
        hidden = self.mask_tokens[0].to(visible.dtype).expand(len(context), target_ids.shape[1], -1)
        x = torch.cat([visible, hidden], dim=1)
        rotary = self.rotary(torch.cat([context_ids, target_ids], dim=1))
        for block in self.predictor_blocks:
            x = block(x, rotary)
        return self.predictor_proj(self.predictor_norm(x[:, context_ids.shape[1] :]))
