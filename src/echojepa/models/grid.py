"""Layers of many small networks trained side by side: every parameter has the heads first, (G, ...).

Inputs are (G, ..., D), or (1, ..., D) where all heads are still given the same.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def same_start(
    heads: int, shape: tuple[int, ...], generator: torch.Generator, std: float = 0.02
) -> nn.Parameter:
    """A parameter (G, *shape) whose heads start from one draw: they differ by how they are trained."""
    start = nn.init.trunc_normal_(torch.empty(*shape), std=std, generator=generator)
    return nn.Parameter(start.expand(heads, *shape).clone())


class GridLinear(nn.Module):
    """A linear layer a head."""

    def __init__(
        self,
        heads: int,
        inputs: int,
        outputs: int,
        generator: torch.Generator,
        *,
        bias: bool = True,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.weight = same_start(heads, (outputs, inputs), generator, std)
        self.bias = nn.Parameter(torch.zeros(heads, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(G or 1, ..., inputs) -> (G, ..., outputs)."""
        flat = x.flatten(1, -2).expand(len(self.weight), -1, -1)
        out = flat @ self.weight.mT if self.bias is None else GridProduct.apply(flat, self.weight, self.bias)
        return out.unflatten(1, x.shape[1:-1])


class GridProduct(torch.autograd.Function):
    """A linear layer a head, whose weights' gradient is laid out as they are: the product's own would be
    transposed, and be copied at each step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(G, n, inputs), (G, outputs, inputs), (G, outputs) -> (G, n, outputs)."""
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of what `forward` takes."""
        (above,), (x, weight) = gradients, ctx.saved_tensors
        return above @ weight, above.mT @ x, above.sum(1)


class GridNorm(nn.Module):
    """A layer norm a head, eps 1e-5 as in the released probes."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(heads, width))
        self.bias = nn.Parameter(torch.zeros(heads, width))

    def forward(self, x: Tensor) -> Tensor:
        """(G or 1, ..., D) -> (G, ..., D)."""
        middle = [1] * (x.ndim - 2)
        weight, bias = (p.view(len(p), *middle, -1) for p in (self.weight, self.bias))
        return F.layer_norm(x, x.shape[-1:]) * weight + bias


class GridMLP(nn.Module):
    """Two linear layers a head with GELU between, four times as wide inside."""

    def __init__(self, heads: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.fc1 = GridLinear(heads, width, 4 * width, generator)
        self.fc2 = GridLinear(heads, 4 * width, width, generator)

    def forward(self, x: Tensor) -> Tensor:
        """(G, ..., D) -> (G, ..., D)."""
        return self.fc2(F.gelu(self.fc1(x)))


class GridBlock(nn.Module):
    """A pre-norm transformer block a head, without positions."""

    def __init__(self, heads: int, width: int, attention_heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.attention_heads = attention_heads
        self.norm1 = GridNorm(heads, width)
        self.qkv = GridLinear(heads, width, 3 * width, generator)
        self.proj = GridLinear(heads, width, width, generator)
        self.norm2 = GridNorm(heads, width)
        self.mlp = GridMLP(heads, width, generator)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """Tokens (G or 1, B, M, D) -> (G, B, M, D); keys where `seen` (B, M) is false are not looked at."""
        q, k, v = (
            self.qkv(self.norm1(x)).unflatten(-1, (3, self.attention_heads, -1)).permute(3, 0, 1, 4, 2, 5)
        )
        mask = None if seen is None else seen[None, :, None, None, :]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(2, 3).flatten(-2)
        x = x + self.proj(mixed)
        return x + self.mlp(self.norm2(x))


class GridAdamW:
    """AdamW (arXiv 1711.05101) whose learning rate and weight decay differ along the first dimension of every
    parameter; vectors of a head are not decayed."""

    def __init__(self, model: nn.Module, rates: Tensor, decays: Tensor) -> None:
        self.parameters = list(model.parameters())
        self.heads = [
            [nn.Parameter(whole.data[head]) for whole in self.parameters] for head in range(len(rates))
        ]
        """Each head's part of every parameter: views, so that one fused optimiser steps all in place."""
        groups = [
            {
                "params": [p for p in own if (p.ndim > 1) == matrices],
                "weight_decay": matrices * decay,
                "lr": rate,
            }
            for own, rate, decay in zip(self.heads, rates.tolist(), decays.tolist(), strict=True)
            for matrices in (True, False)
        ]
        self.inner = torch.optim.AdamW([group for group in groups if group["params"]], fused=True)
        self.rates = [group["lr"] for group in self.inner.param_groups]

    def step(self, schedule: float) -> None:
        """Update with learning rates times `schedule` and clear the gradients."""
        for group, rate in zip(self.inner.param_groups, self.rates, strict=True):
            group["lr"] = rate * schedule
        for head, own in enumerate(self.heads):
            for part, whole in zip(own, self.parameters, strict=True):
                assert whole.grad is not None
                part.grad = whole.grad[head]
        self.inner.step()
        for whole in self.parameters:
            whole.grad = None
