"""Probes: a grid of independent heads trained together on the same frozen tokens of one view or many.

Depth 0 is linear: the mean of tokens, a norm, a linear layer. Depth 1 is V-JEPA's attentive pooler: a
learned query attends over normalised tokens (no output projection, the query itself is not normalised), an
MLP block follows, then a linear layer. Depth d has d - 1 transformer blocks over the tokens before. A study's
clips are slots, view by view and clip by clip: each gets the sum of an embedding of its view and one of its
clip, and an absent slot is not looked at.

Three things are ours. Tokens are standardised by the training set, position by position, because features of
one position share a large mean that says nothing. Keys get a fixed 3-D sine-cosine position: under rotary
embeddings tokens carry no absolute position, so that pooling alone could not tell where something is. And
query and keys start so that attention scores have a spread of QUERY_STD: from V-JEPA's 0.02 everywhere they
are so small, the more so in a narrow encoder, that attention takes dozens of passes to leave the mean.

With one query per head, keys and values need never be computed token by token:
q . (Wk x) = (Wk^T q) . x, and a weighted mean of values is Wv applied to the weighted mean of tokens. This
is the same function at a fraction of the cost, so a grid of heads is nearly as cheap as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echojepa.models.grid import GridBlock, GridLinear, GridMLP, GridNorm, same_start

QUERY_STD = 0.5
"""Spread of the query at the start, and of attention scores: near the mean of tokens, on a slope from it."""


def sincos_position(grid: tuple[int, int, int], width: int) -> Tensor:
    """Fixed (N, width) sines and cosines of time, row and column; channels that do not divide stay zero."""
    each = width // 6
    frequency = 100.0 ** (-torch.arange(each, dtype=torch.float32) / max(1, each))
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in grid), indexing="ij")
    angles = [torch.outer(axis.flatten(), frequency) for axis in axes]
    waves = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
    return F.pad(waves, (0, width - waves.shape[1]))


@dataclass(frozen=True)
class Standardiser:
    """Mean of each position and channel, and spread of each channel, over training tokens."""

    mean: Tensor
    """(N, D)."""
    std: Tensor
    """(D,)."""

    @classmethod
    def identity(cls, tokens: int, width: int) -> Standardiser:
        """One that leaves tokens as they are."""
        return cls(torch.zeros(tokens, width), torch.ones(width))

    def __call__(self, tokens: Tensor) -> Tensor:
        """Standardised float32 tokens (..., N, D)."""
        return (tokens.float() - self.mean) / self.std


@dataclass(frozen=True)
class Scale:
    """What turns a head's outputs into clinical units: output * std + mean."""

    mean: float = 0.0
    std: float = 1.0


MOST = (2**18, 2**17, 2**17, 512, 2**12)
"""Tokens, width, outputs, blocks and slots of a probe at most: what a card claims is built."""


@dataclass(frozen=True)
class ProbeShape:
    """What must be known beside the tensors to rebuild a probe."""

    grid: tuple[int, int, int]
    """(T', H', W') of a clip's tokens."""
    width: int
    """Width of the backbone's tokens."""
    outputs: int
    """Values, or classes."""
    depth: int = 1
    """0 linear, 1 attentive, more: transformer blocks before it."""
    attention_heads: int = 8
    """Heads of each attention."""
    views: int = 1
    """Views of a study."""
    clips: int = 1
    """Clips of a view."""
    position: bool = True
    """Whether keys of the pooler get a fixed position."""
    embeddings: bool = True
    """Whether slots, where there is more than one, are told apart by embeddings of their view and clip."""

    def __post_init__(self) -> None:
        if self.width % self.attention_heads or min(self.views, self.clips, self.outputs, self.depth + 1) < 1:
            raise ValueError(
                "a probe needs a width that its attention heads divide, depth >= 0, and at least one view, "
                f"clip and output; got {self}"
            )
        tokens = math.prod(self.grid)
        sizes = (tokens, self.width, self.outputs, self.depth, self.views * self.clips)
        if tokens < 1 or any(size > most for size, most in zip(sizes, MOST, strict=True)):
            raise ValueError(
                f"a probe has at most {MOST} tokens, width, outputs, blocks, and clips of a study; got {self}"
            )

    @property
    def slots(self) -> int:
        """Clips of a study."""
        return self.views * self.clips


class Pooler(nn.Module):
    """One query a head over tokens, and the MLP block that follows."""

    position: Tensor

    def __init__(self, heads: int, shape: ProbeShape, generator: torch.Generator) -> None:
        super().__init__()
        width = shape.width
        self.attention_heads = shape.attention_heads
        with torch.device("cpu"):  # a fact, not a weight: also where weights are built without storage
            position = sincos_position(shape.grid, width).repeat(shape.slots, 1)
        self.register_buffer("position", position * shape.position, persistent=False)
        self.query = same_start(heads, (width,), generator, std=QUERY_STD)
        self.norm1 = GridNorm(heads, width)
        self.q = GridLinear(heads, width, width, generator, std=width**-0.5)
        self.k = GridLinear(heads, width, width, generator, bias=False, std=width**-0.5)
        self.v = GridLinear(heads, width, width, generator)
        self.norm2 = GridNorm(heads, width)
        self.mlp = GridMLP(heads, width, generator)

    def forward(self, tokens: Tensor, seen: Tensor | None) -> Tensor:
        """Tokens (G or 1, B, M, D), looked at where `seen` (B, M) -> (G, B, D)."""
        x = self.query.unsqueeze(1) + self.attend(tokens, seen)[0]
        return x + self.mlp(self.norm2(x))

    def attend(self, tokens: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        """Pooled values (G, B, D) and the attention (G, B, A, M) that pooled them.

        Queries of heads that are shown the same tokens are rows of one product over all tokens of a batch.
        """
        shown, batch, count, width = tokens.shape
        heads, each = len(self.query), width // self.attention_heads
        normed = F.layer_norm(tokens, (width,))
        query = self.q(self.query.unsqueeze(1)).squeeze(1).unflatten(1, (self.attention_heads, each))
        keys = self.k.weight.unflatten(1, (self.attention_heads, each))
        folded = torch.einsum("gai,gaid->gad", query, keys) / math.sqrt(each)
        place = self.position @ folded.reshape(shown, -1, width).mT
        scaled = (folded * self.norm1.weight.unsqueeze(1)).reshape(shown, -1, width)
        scores = (normed.flatten(1, 2) @ scaled.mT).unflatten(1, (batch, count)) + place.unsqueeze(1)
        if seen is not None:
            scores = scores.masked_fill(~seen[:, :, None], -math.inf)
        attention = scores.softmax(2).mT
        means = (attention @ normed).unflatten(2, (-1, self.attention_heads))
        means = means.transpose(1, 2).reshape(heads, batch, self.attention_heads, width)
        means = means * self.norm1.weight[:, None, None] + self.norm1.bias[:, None, None]
        rows = self.v.weight.unflatten(1, (self.attention_heads, each))
        assert self.v.bias is not None
        pooled = torch.einsum("gbad,gaid->gbai", means, rows).flatten(2) + self.v.bias.unsqueeze(1)
        looked = attention.unflatten(2, (-1, self.attention_heads)).transpose(1, 2)
        return pooled, looked.reshape(heads, batch, self.attention_heads, count)


class Probes(nn.Module):
    """G heads of the same shape and start; they differ by how they are trained.

    What standardises tokens and what turns outputs into clinical units are buffers, saved with the weights.
    """

    input_mean: Tensor
    input_std: Tensor
    target: Tensor

    def __init__(
        self,
        heads: int,
        shape: ProbeShape,
        standardiser: Standardiser,
        scale: Scale,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        width = shape.width
        self.shape = shape
        self.register_buffer("input_mean", standardiser.mean)
        self.register_buffer("input_std", standardiser.std)
        self.register_buffer("target", torch.tensor([scale.mean, scale.std]))
        if shape.slots > 1 and shape.embeddings:
            self.view_embed = same_start(heads, (shape.views, width), generator)
            self.clip_embed = same_start(heads, (shape.clips, width), generator)
        blocks = (GridBlock(heads, width, shape.attention_heads, generator) for _ in range(shape.depth - 1))
        self.blocks = nn.ModuleList(blocks)
        self.pooler = Pooler(heads, shape, generator) if shape.depth else None
        self.norm = None if shape.depth else GridNorm(heads, width)
        self.linear = GridLinear(heads, width, shape.outputs, generator)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D), or of slots (B, S, N, D), present where (B, S) -> outputs (G, B, outputs).

        Slots are view-major: S = view * clips + clip. ValueError for another number of slots, and for a
        study of which nothing is present.
        """
        x, seen = self.enter(tokens, present)
        if self.pooler is None:
            assert self.norm is not None
            weight = torch.ones(x.shape[1:3]) if seen is None else seen.float()
            mean = (x * weight.to(x)[None, :, :, None]).sum(2) / weight.sum(1).to(x)[None, :, None]
            return self.linear(self.norm(mean))
        return self.linear(self.pooler(x, seen))

    def predict(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """As `forward`, in clinical units, or logits."""
        mean, std = self.target
        return self(tokens, present) * std + mean

    def attention(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """The pooler's attention (G, B, A, S * N); ValueError for a linear probe, which has none."""
        if self.pooler is None:
            raise ValueError("a linear probe has no attention; use a probe of depth 1 or more")
        return self.pooler.attend(*self.enter(tokens, present))[1]

    def enter(self, tokens: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Standardised tokens with their slots' embeddings, after the blocks (G or 1, B, S * N, D), and which
        are present."""
        slots = tokens if tokens.ndim == 4 else tokens.unsqueeze(1)
        if slots.shape[1] != self.shape.slots:
            raise ValueError(
                f"this probe reads {self.shape.views} views of {self.shape.clips} clips, "
                f"{self.shape.slots} slots; got tokens {tuple(tokens.shape)}"
            )
        x = Standardiser(self.input_mean, self.input_std)(slots).flatten(1, 2).unsqueeze(0)
        if self.shape.slots > 1 and self.shape.embeddings:
            slot = self.view_embed.unsqueeze(2) + self.clip_embed.unsqueeze(1)
            x = x + slot.flatten(1, 2).repeat_interleave(slots.shape[2], dim=1).unsqueeze(1)
        if present is not None and (present.shape != slots.shape[:2] or not present.any(dim=1).all()):
            raise ValueError(
                f"present must be {tuple(slots.shape[:2])} with a slot in every study; "
                f"got {tuple(present.shape)}"
            )
        seen = None if present is None else present.repeat_interleave(slots.shape[2], dim=1)
        for block in self.blocks:
            x = block(x, seen)
        return x, seen


def drop_views(present: Tensor, shape: ProbeShape, rate: float, generator: torch.Generator) -> Tensor:
    """Training studies' presence (B, S) with each view absent by chance `rate`, never the last one.

    A probe that has seen missing views in training reads studies that lack them.
    """
    views = present.unflatten(1, (shape.views, shape.clips)).any(2)
    chance = torch.rand(views.shape, generator=generator).masked_fill(~views, -1.0)
    kept = (chance >= rate) | (chance == chance.amax(1, keepdim=True))
    return present & (kept & views).repeat_interleave(shape.clips, dim=1)
