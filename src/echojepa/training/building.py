"""Networks and optimiser of a run before its first step, functions of its config alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echojepa.config import PretrainConfig


def build_optimizer(model: nn.Module, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW over encoder and predictor; biases and norms are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.optim.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.optim.lr, betas=(0.9, config.optim.beta2), fused=True)


def training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All that a step changes, by name: weights, what a model remembers beside them (its buffers), and
    AdamW's two moments and count of each trained weight.

    Moments that are not there yet are made, as AdamW makes them at its first step.
    """
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            state = optimizer.state[weight]
            if not state:
                state["step"] = torch.zeros((), device=weight.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
            tensors |= {f"optimizer.{name}.{key}": value.detach() for key, value in state.items()}
    return tensors
