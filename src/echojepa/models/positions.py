"""How tokens know where they are: rotary positions in three dimensions, or a fixed table."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from echojepa.config import ConfigError, PositionKind


def rotary_tables(
    grid: tuple[int, int, int], head_width: int, kind: PositionKind, trained_side: int | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of a 3-D rotary position, each (N, head_width).

    A head's channels are [time | row | column | rest]; each axis has 2 * ((head_width // 3) // 2)
    of them and the rest is not rotated. Rotation pairs are adjacent channels. Kind "interleaved" gives
    both of a pair the same frequency 10000^(-2k/d), a true rotation. Kind "vjepa2" *tiles* the
    frequencies over an axis' channels, so the two of a pair turn by different angles: a quirk of the
    released code that its weights were trained with. With a `trained_side` the rows and columns of any
    grid run from 0 to trained_side - 1. ConfigError for an odd head_width, whose channels make no pairs.
    """
    if head_width % 2:
        raise ConfigError(f"rotary positions need an even number of channels a head; got {head_width}")
    width = 2 * ((head_width // 3) // 2)
    frequency = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    lines = [torch.arange(n, dtype=torch.float64) for n in grid]
    if trained_side is not None:
        lines[1:] = [line * ((trained_side - 1) / max(1, len(line) - 1)) for line in lines[1:]]
    each = frequency.repeat(2) if kind == "vjepa2" else frequency.repeat_interleave(2)
    angles = [torch.outer(axis.flatten(), each) for axis in torch.meshgrid(*lines, indexing="ij")]
    rest = torch.zeros(math.prod(grid), head_width - 3 * width, dtype=torch.float64)
    angle = torch.cat([*angles, rest], dim=1)
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate adjacent channel pairs of x (B, heads, N, head_width) by the given tables."""
    return x * cos + quarter_turn(x) * sin


def quarter_turn(x: Tensor) -> Tensor:
    """Adjacent channel pairs (a, b) of x (..., D) as (-b, a)."""
    return torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)


def fast_quarter_turn(x: Tensor) -> Tensor:
    """`quarter_turn` in training: a complex number times i, one pass over memory where there are
    complex numbers of such halves."""
    if x.dtype != torch.float32:
        return quarter_turn(x)
    pairs = torch.view_as_complex(x.contiguous().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * 1j).flatten(-2)


class RotatedHeads(torch.autograd.Function):
    """`rotate` of queries and keys for training, from the projection of all three. Its backward pass is a
    rotation too and writes each gradient in its place, where autograd would fill tensors with zeros to
    scatter into them and join the parts by copies."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(cos, sin)
        q, k, v = heads.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        q, k = (torch.addcmul(x * cos, fast_quarter_turn(x), sin) for x in (q, k))
        return q, k, v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: D102
        cos, sin = ctx.saved_tensors
        batch, heads, tokens, width = gradients[0].shape
        whole = gradients[0].new_empty(batch, tokens, 3, heads, width)
        for place, x in enumerate(gradients):
            if place < 2:
                x = (x * cos).sub_(fast_quarter_turn(x * sin))
            whole[:, :, place].copy_(x.transpose(1, 2))
        return whole, None, None


def sincos_table(tokens: int, width: int) -> Tensor:
    """VideoMAE's fixed positions (N, D): token number n, sines of n / 10000^(2k/D) on even channels and
    cosines on odd ones (arXiv 2203.12602 and its code; arXiv 1706.03762, section 3.5)."""
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.outer(torch.arange(tokens, dtype=torch.float64), frequency)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, :width].float()


RotaryTables = tuple[Tensor, Tensor] | None


ADDED: tuple[PositionKind, ...] = ("sincos", "table")
"""Kinds that are a table added to the tokens; the others turn queries and keys."""


class Positions(nn.Module):
    """The positions of one grid: tables built once and gathered by token ids. A `table` of a file of weights
    is one of the module's tensors, and of sines until one is loaded; the others are facts and not saved."""

    def __init__(
        self,
        grid: tuple[int, int, int],
        width: int,
        heads: int,
        kind: PositionKind,
        trained_side: int | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        with torch.device("cpu"):  # weights may be built without storage; tables are facts, not weights
            if kind in ADDED:
                tables = {"table": sincos_table(math.prod(grid), width)}
            else:
                cos, sin = rotary_tables(grid, width // heads, kind, trained_side)
                tables = {"cos": cos, "sin": sin}
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=kind == "table")

    def add(self, tokens: Tensor, ids: Tensor | None) -> Tensor:
        """Tokens (B, N, D) of the whole grid, or at ids (B, N), with what this kind adds to them."""
        if self.kind not in ADDED:
            return tokens
        table = self.get_buffer("table").to(tokens.dtype)
        return tokens + (table if ids is None else table[ids])

    def rotary(self, ids: Tensor | None) -> RotaryTables:
        """Cosines and sines broadcastable over heads: for all tokens, or for ids (B, N)."""
        if self.kind in ADDED:
            return None
        cos, sin = self.get_buffer("cos"), self.get_buffer("sin")
        return (cos, sin) if ids is None else (cos[ids].unsqueeze(1), sin[ids].unsqueeze(1))
