"""The narrow transformer that infers what is hidden from what is visible: embeddings, or pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echojepa.config import Architecture, ConfigError, InputSpec, PositionKind, Size
from echojepa.models.flops import block_flops, product
from echojepa.models.positions import Positions
from echojepa.models.vit import Block, initialise, through

MOST_OUTPUTS, MOST_MASK_TOKENS = 2**20, 1000


@dataclass(frozen=True)
class PredictorShape:
    """What must be known beside the tensors to rebuild a predictor."""

    width: int
    """Width of its tokens."""
    depth: int
    """Blocks."""
    heads: int
    """Attention heads."""
    outputs: int
    """Numbers given for each hidden token: the encoder's width, or the pixels of a tubelet."""
    mask_tokens: int = 1
    """Learned stand-ins for hidden tokens. V-JEPA 2's files hold ten, one a mask type and data set, of
    which only the first was ever used; the others are kept so that a file comes back whole."""

    def __post_init__(self) -> None:
        Size(self.width, self.depth, self.heads, 4 * self.width)
        if not (1 <= self.outputs <= MOST_OUTPUTS and 1 <= self.mask_tokens <= MOST_MASK_TOKENS):
            raise ConfigError(
                f"outputs must be 1 to {MOST_OUTPUTS} and mask tokens 1 to {MOST_MASK_TOKENS}; got {self}"
            )


class Predictor(nn.Module):
    """Infer each target token from the context's features. Parameter names are Meta's."""

    def __init__(
        self,
        encoder_width: int,
        grid: tuple[int, int, int],
        shape: PredictorShape,
        position: PositionKind,
        generator: torch.Generator,
        trained_side: int | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        width, heads = shape.width, shape.heads
        self.predictor_embed = nn.Linear(encoder_width, width)
        tokens = [
            nn.Parameter(torch.zeros(1, 1, width), requires_grad=i == 0) for i in range(shape.mask_tokens)
        ]
        self.mask_tokens = nn.ParameterList(tokens)
        self.predictor_blocks = nn.ModuleList(Block(width, heads, 4 * width) for _ in range(shape.depth))
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_proj = nn.Linear(width, shape.outputs)
        self.positions = Positions(grid, width, heads, position, trained_side)
        self.recompute = False
        initialise(self, self.predictor_blocks, generator)

    @classmethod
    def of(
        cls, architecture: Architecture, spec: InputSpec, shape: PredictorShape, generator: torch.Generator
    ) -> Predictor:
        """The predictor that belongs to an encoder of this architecture, fed by this input."""
        width, grid, side = architecture.dimensions.width, architecture.grid(spec), architecture.trained_side
        return cls(width, grid, shape, architecture.position, generator, side)

    def forward(self, context: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Context features (B, N, D) at context_ids (B, N) -> predictions (B, M, outputs) at target_ids.

        Tokens are not sorted by id as in the released code: positions enter through the ids alone, and
        attention does not see the order.
        """
        visible = self.predictor_embed(context)
        hidden = self.mask_tokens[0].to(visible.dtype).expand(len(context), target_ids.shape[1], -1)
        ids = torch.cat([context_ids, target_ids], dim=1)
        x, rotary = self.positions.add(torch.cat([visible, hidden], dim=1), ids), self.positions.rotary(ids)
        x = through(self.predictor_blocks, x, rotary, self.recompute)
        return self.predictor_proj(self.predictor_norm(x[:, context_ids.shape[1] :]))

    def flops(self, context: int, targets: int) -> int:
        """Operations of a forward pass from so many context tokens of a clip to so many targets."""
        width = self.shape.width
        ends = product(context, self.predictor_embed.in_features, width)
        ends += product(targets, width, self.shape.outputs)
        return ends + self.shape.depth * block_flops(context + targets, width, 4 * width)
