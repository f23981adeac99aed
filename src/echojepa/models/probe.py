"""Attentive probes: a grid of independent heads trained together on the same frozen tokens.

Each head is V-JEPA's depth-1 attentive pooler: a learned query attends over normalised tokens (no output
projection, the query itself is not normalised), an MLP block follows, then a linear layer. Two things are
ours. Tokens are standardised by the training set, position by position, because features of one position
share a large mean that says nothing. And keys get a fixed 3-D sine-cosine position: under rotary embeddings
tokens carry no absolute position, so that attention pooling alone could not tell where something is.

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
    def fit(cls, tokens: Tensor) -> Standardiser:
        """Fit on training tokens (n, N, D) of any float type."""
        mean = tokens.float().mean(dim=0)
        variance = torch.zeros(tokens.shape[-1])
        for part in tokens.split(64):
            variance += (part.float() - mean).square().sum(dim=(0, 1))
        return cls(mean, (variance / (len(tokens) * tokens.shape[1])).sqrt().clamp_min(1e-6))

    def __call__(self, tokens: Tensor) -> Tensor:
        """Standardised float32 tokens (B, N, D)."""
        return (tokens.float() - self.mean) / self.std


@dataclass(frozen=True)
class Scale:
    """What turns a head's outputs into clinical units: output * std + mean."""

    mean: float = 0.0
    std: float = 1.0


class AttentiveProbes(nn.Module):
    """G heads of the same shape and start; they differ by how they are trained.

    What standardises tokens and what turns outputs into clinical units are buffers, saved with the weights.
    """

    position: Tensor
    input_mean: Tensor
    input_std: Tensor
    target: Tensor

    def __init__(
        self,
        heads: int,
        grid: tuple[int, int, int],
        outputs: int,
        standardiser: Standardiser,
        scale: Scale,
        generator: torch.Generator,
        attention_heads: int = 8,
    ) -> None:
        super().__init__()
        width = len(standardiser.std)
        if width % attention_heads:
            raise ValueError(f"width {width} is no multiple of {attention_heads} attention heads")
        self.attention_heads = attention_heads
        self.register_buffer("position", sincos_position(grid, width))
        self.register_buffer("input_mean", standardiser.mean)
        self.register_buffer("input_std", standardiser.std)
        self.register_buffer("target", torch.tensor([scale.mean, scale.std]))

        def weight(*shape: int) -> nn.Parameter:
            start = nn.init.trunc_normal_(torch.empty(*shape), std=0.02, generator=generator)
            return nn.Parameter(start.expand(heads, *shape).clone())

        def constant(size: int, value: float = 0.0) -> nn.Parameter:
            return nn.Parameter(torch.full((heads, size), value))

        self.query = weight(width)
        self.norm1_weight, self.norm1_bias = constant(width, 1.0), constant(width)
        self.q_weight, self.q_bias = weight(width, width), constant(width)
        self.k_weight = weight(width, width)
        self.v_weight, self.v_bias = weight(width, width), constant(width)
        self.norm2_weight, self.norm2_bias = constant(width, 1.0), constant(width)
        self.fc1_weight, self.fc1_bias = weight(4 * width, width), constant(4 * width)
        self.fc2_weight, self.fc2_bias = weight(width, 4 * width), constant(width)
        self.linear_weight, self.linear_bias = weight(outputs, width), constant(outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of the backbone (B, N, D) -> standardised outputs (G, B, outputs)."""
        pooled, _ = self.attend(tokens)
        x = self.query.unsqueeze(1) + pooled
        normed = F.layer_norm(x, x.shape[-1:]) * self.norm2_weight.unsqueeze(1) + self.norm2_bias.unsqueeze(1)
        hidden = F.gelu(torch.baddbmm(self.fc1_bias.unsqueeze(1), normed, self.fc1_weight.mT))
        x = x + torch.baddbmm(self.fc2_bias.unsqueeze(1), hidden, self.fc2_weight.mT)
        return torch.baddbmm(self.linear_bias.unsqueeze(1), x, self.linear_weight.mT)

    def predict(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, D) -> values in clinical units, or logits, (G, B, outputs)."""
        mean, std = self.target
        return self(tokens) * std + mean

    def attend(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled values (G, B, D) and the attention (B, G, A, N) that pooled them."""
        grid, width = self.query.shape
        lanes, each = self.attention_heads, width // self.attention_heads
        tokens = Standardiser(self.input_mean, self.input_std)(tokens)
        normed = F.layer_norm(tokens, tokens.shape[-1:])
        query = torch.einsum("gij,gj->gi", self.q_weight, self.query) + self.q_bias
        keys = self.k_weight.view(grid, lanes, each, width)
        folded = torch.einsum("gai,gaij->gaj", query.view(grid, lanes, each), keys) / math.sqrt(each)
        scaled = (folded * self.norm1_weight.unsqueeze(1)).flatten(0, 1)
        scores = normed @ scaled.T + self.position @ folded.flatten(0, 1).T
        attention = scores.softmax(dim=1).transpose(1, 2)
        means = (attention @ normed).unflatten(1, (grid, lanes))
        means = means * self.norm1_weight.unsqueeze(1) + self.norm1_bias.unsqueeze(1)
        values = torch.einsum("bgaj,gaij->gbai", means, self.v_weight.view(grid, lanes, each, width))
        pooled = values.flatten(2) + self.v_bias.unsqueeze(1)
        return pooled, attention.unflatten(1, (grid, lanes))


class GridAdamW:
    """AdamW whose learning rate and weight decay differ along the first dimension of every parameter.

    Decoupled decay (arXiv 1711.05101) on matrices; vectors of a head are not decayed.
    """

    def __init__(self, model: nn.Module, rates: Tensor, decays: Tensor) -> None:
        self.parameters = list(model.parameters())
        self.rates, self.decays = rates, decays
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self, schedule: float) -> None:
        """Update with learning rates times `schedule` and clear the gradients."""
        self.steps += 1
        first, second = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        for parameter, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            gradient = parameter.grad
            assert gradient is not None
            shape = (-1, *[1] * (parameter.ndim - 1))
            rate = schedule * self.rates.view(shape)
            if parameter.ndim > 2:
                parameter.mul_(1 - rate * self.decays.view(shape))
            mean.lerp_(gradient, 0.1)
            square.lerp_(gradient.square(), 0.001)
            parameter.sub_(rate * (mean / first) / ((square / second).sqrt() + 1e-8))
            parameter.grad = None
