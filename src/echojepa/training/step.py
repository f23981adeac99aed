"""One training step: forward, backward, optimiser, and what follows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from echojepa.config import PretrainConfig
from echojepa.models.contract import prepare
from echojepa.models.objective import Objective
from echojepa.training.distributed import World, gradient_norm, last_backward
from echojepa.training.loader import Batch
from echojepa.training.schedules import ema_momentum, learning_rate


@dataclass(frozen=True)
class TrainStep:
    """A step, with what it works on. It decides nothing: the loop in `pretrain` does."""

    config: PretrainConfig
    world: World
    model: Objective
    runner: nn.Module
    """What is called in the model's place (`distributed.distribute`)."""
    optimizer: torch.optim.Optimizer
    dtype: torch.dtype
    """What matrix products compute in; bf16 needs no GradScaler, it has float32's range."""
    steps: int
    """Steps that the schedules are laid out over."""

    def __call__(self, batch: Batch, step: int) -> dict[str, Any]:
        """One step on this rank's share: forward, backward, optimiser, EMA; what to log.

        Weights stay where loss or gradient is not finite, and `nonfinite` in the log says which.
        """
        rate = learning_rate(self.config.optim, step, self.steps)
        momentum = ema_momentum(self.config.optim, step, self.steps)
        summed, clips = self.world.sum([self.forward_and_backward(batch), len(batch.clips)])
        measured: dict[str, Any] = {
            "loss": summed / clips,
            "lr": rate,
            "momentum": momentum,
            "redraws": sum(mask.redraws for mask in batch.masks),
            "gradient": gradient_norm(self.runner),
            "flops": self.model.flops(batch.masks) * self.config.batch_size,
        }
        wrong = [name for name in ("loss", "gradient") if not math.isfinite(measured[name])]
        if wrong:
            measured |= {"nonfinite": wrong} | dict.fromkeys(wrong)
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.model.update_ema(momentum)
        self.optimizer.zero_grad(set_to_none=True)
        return measured

    def forward_and_backward(self, batch: Batch) -> float:
        """Sum over this rank's clips of the loss; gradients are left of the mean over all planned clips.

        A clip that could not be read counts as one without gradient, whatever the number of ranks. Each mask
        type has its own backward pass, so that the activations of one are in memory.
        """
        clips, losses = len(batch.clips), []
        size = self.config.microbatch or clips
        parts = [batch.part(first, first + size) for first in range(0, clips, size)]
        with self.autocast(self.dtype == torch.bfloat16):
            for part in parts:
                prepared = prepare(self.config.spec, part.clips)
                targets = self.model.targets(prepared, part.masks, part.labels)
                for mask, wanted in zip(part.masks, targets, strict=True):
                    last = part is parts[-1] and mask is part.masks[-1]
                    with last_backward(self.runner, last):
                        loss = self.runner(prepared, mask, wanted) / len(part.masks)
                        with self.autocast(False):
                            (loss * (len(part.clips) / batch.planned)).backward()
                    losses.append(loss.detach() * len(part.clips))
        return torch.stack(losses).sum().item()

    def autocast(self, enabled: bool) -> torch.autocast:
        """Matrix products within compute in bf16, if enabled. It remembers the weights that it casts until
        the outermost of its contexts ends: one around the whole step casts each weight once."""
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled)
