"""The video vision transformer: tubelets, positions, pre-norm blocks.

Parameter names are Meta's (`blocks.0.attn.qkv.weight`, ...), so V-JEPA 2 files need no map. Layer facts:
V-JEPA 2 (arXiv 2506.09985) and its released code: LayerNorm eps 1e-6, fused qkv with bias, exact GELU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from echojepa.config import Architecture, InputSpec
from echojepa.models.flops import block_flops, product
from echojepa.models.positions import Positions, RotaryTables, RotatedHeads, rotate


def gather_tokens(tokens: Tensor, ids: Tensor) -> Tensor:
    """Tokens (B, N, D) at ids (B, M) -> (B, M, D); whole rows are copied, a tenth of `gather`'s time."""
    batch, count, _ = tokens.shape
    rows = ids + count * torch.arange(batch, device=ids.device).unsqueeze(1)
    return tokens.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, ids.shape)


PLAIN_KEYS = 256
"""Up to so many keys plain products are faster than torch's fused attention in bf16 on AMX, forward and
backward, one thread: 1.9 against 16 ms at 40 keys, 35 against 68 at 256, equal near 576. In float32 on
AVX2 the fused kernel is as fast or faster at every length (`benchmarks/attention.py`)."""


@cache
def has_amx() -> bool:
    """Whether this CPU multiplies bf16 tiles."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of queries, keys and values (B, heads, N, head_width), by what is faster here.

    The choice is a function of CPU, type and length alone, so that a resumed run makes it again.
    """
    small = q.device.type == "cpu" and q.dtype == torch.bfloat16 and k.shape[-2] <= PLAIN_KEYS
    if not (small and has_amx()):
        return F.scaled_dot_product_attention(q, k, v)
    return plain_attention(q, k, v)


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention by two products, the softmax in float32."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores.float().softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Multi-head self-attention, with rotary positions where there are any."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def queries_keys_values(self, x: Tensor, rotary: RotaryTables) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, rotated, and values: each (B, heads, N, head_width)."""
        heads = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        if rotary is None:
            return heads.permute(2, 0, 3, 1, 4).unbind(0)
        cos, sin = (table.to(heads.dtype) for table in rotary)
        if heads.requires_grad and torch.is_grad_enabled():
            return RotatedHeads.apply(heads, cos, sin)  # pyright: ignore[reportReturnType]
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def forward(self, x: Tensor, rotary: RotaryTables) -> Tensor:
        """Tokens (B, N, D) -> (B, N, D)."""
        q, k, v = self.queries_keys_values(x, rotary)
        return self.proj(attend(q, k, v).transpose(1, 2).flatten(-2))


class MLP(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, D) -> (B, N, D)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width, hidden)

    def forward(self, x: Tensor, rotary: RotaryTables) -> Tensor:
        """Tokens (B, N, D) -> (B, N, D)."""
        x = x + self.attn(self.norm1(x), rotary)
        return x + self.mlp(self.norm2(x))


def through(blocks: nn.ModuleList, x: Tensor, rotary: RotaryTables, recompute: bool) -> Tensor:
    """Tokens (B, N, D) through blocks; with `recompute` only their inputs are kept for the backward pass."""
    for block in blocks:
        if recompute and torch.is_grad_enabled():
            x = checkpoint(block, x, rotary, use_reentrant=False)
        else:
            x = block(x, rotary)
    return x


def initialise(module: nn.Module, blocks: nn.ModuleList, generator: torch.Generator) -> None:
    """V-JEPA's start: normal weights of std 0.02 cut at two units, zero biases, and block outputs
    divided by sqrt(2 * layer) so that the residual stream does not grow with depth."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv3d):
            nn.init.trunc_normal_(layer.weight, std=0.02, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    with torch.no_grad():
        for number, block in enumerate(blocks, start=1):
            assert isinstance(block, Block)
            block.attn.proj.weight.div_(math.sqrt(2 * number))
            block.mlp.fc2.weight.div_(math.sqrt(2 * number))


class PatchEmbed(nn.Module):
    """Cut a clip into tubelets and embed them; a Conv3d by name and shape, a matrix product by act."""

    def __init__(self, architecture: Architecture, width: int) -> None:
        super().__init__()
        self.kernel = (architecture.tubelet, architecture.patch, architecture.patch)
        self.proj = nn.Conv3d(3, width, self.kernel, stride=self.kernel)

    def forward(self, clips: Tensor, ids: Tensor | None) -> Tensor:
        """Clips (B, 3, T, H, W) -> tokens (B, N, D) in raster order, or only those at ids (B, M)."""
        t, h, w = self.kernel
        cut = clips.unflatten(4, (-1, w)).unflatten(3, (-1, h)).unflatten(2, (-1, t))
        tubelets = cut.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        if ids is not None:
            tubelets = gather_tokens(tubelets, ids)
        return F.linear(tubelets, self.proj.weight.flatten(1), self.proj.bias)


class VisionTransformer(nn.Module):
    """The encoder. Clips are float (B, 3, T, H, W), already prepared by the InputSpec."""

    def __init__(self, architecture: Architecture, spec: InputSpec, generator: torch.Generator) -> None:
        super().__init__()
        size = architecture.dimensions
        self.grid = architecture.grid(spec)
        self.width = size.width
        self.patch_embed = PatchEmbed(architecture, size.width)
        self.blocks = nn.ModuleList(Block(size.width, size.heads, size.hidden) for _ in range(size.depth))
        self.norm: nn.Module = nn.LayerNorm(size.width, eps=1e-6)
        self.hidden = size.hidden
        self.recompute = False
        self.positions = Positions(
            self.grid, size.width, size.heads, architecture.position, architecture.trained_side
        )
        initialise(self, self.blocks, generator)

    def forward(self, clips: Tensor, ids: Tensor | None = None, mean_of_layers: bool = False) -> Tensor:
        """Features (B, N, D) of all tokens, or (B, M, D) when only those at ids (B, M) are visible.

        With `mean_of_layers` the mean of all blocks' outputs, each layer-normalised.
        """
        x, rotary = self.enter(clips, ids)
        if not mean_of_layers:
            return self.norm(through(self.blocks, x, rotary, self.recompute))
        total = torch.zeros_like(x)
        for block in self.blocks:
            x = block(x, rotary)
            total += F.layer_norm(x, x.shape[-1:])
        return total / len(self.blocks)

    def embed_flops(self, tokens: int) -> int:
        """Operations of embedding so many tokens of a clip."""
        return product(tokens, 3 * math.prod(self.patch_embed.kernel), self.width)

    def flops(self, tokens: int) -> int:
        """Operations of a forward pass over so many tokens of a clip."""
        return self.embed_flops(tokens) + len(self.blocks) * block_flops(tokens, self.width, self.hidden)

    def enter(self, clips: Tensor, ids: Tensor | None) -> tuple[Tensor, RotaryTables]:
        """What the first block is given: embedded tokens and their rotary positions."""
        return self.positions.add(self.patch_embed(clips, ids), ids), self.positions.rotary(ids)

    def attention(self, clips: Tensor, block: int) -> Tensor:
        """Softmax attention (B, heads, N queries, N keys) of one block, counted from 0 or from the
        end by negative numbers; IndexError outside."""
        return next(islice(self.attentions(clips), range(len(self.blocks))[block], None))

    @torch.no_grad()
    def attentions(self, clips: Tensor) -> Iterator[Tensor]:
        """The same of every block in order, one at a time. Fused attention keeps no weights: they are
        computed again."""
        x, rotary = self.enter(clips, None)
        for block in self.blocks:
            assert isinstance(block, Block)
            q, k, _ = block.attn.queries_keys_values(block.norm1(x), rotary)
            yield (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
            x = block(x, rotary)
