"""Heads that weights come with: nothing is trained, and what they say is scored and calibrated as a probe's.

PanEcho's file holds a linear layer a task, on the mean of a clip's tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from echojepa.backbones.panecho import WIDTH, is_panecho, value_head
from echojepa.errors import UserError
from echojepa.evaluation.features.samples import SlotFeatures
from echojepa.tasks import Task
from echojepa.weights.tensors import CheckpointError, load_foreign, state_of


@dataclass(frozen=True)
class VectorProbe:
    """A linear layer on a clip's vector; a sample of several clips gets their mean."""

    weight: Tensor
    """(outputs, E)."""
    bias: Tensor
    """(outputs,)."""

    def outputs(self, data: SlotFeatures) -> Tensor:
        """(n, outputs)."""
        each = data.features.pooled.float() @ self.weight.T
        places = torch.from_numpy(data.places)
        there = (places >= 0).unsqueeze(-1)
        return (each[places.clamp_min(0)] * there).sum(1) / there.sum(1).clamp_min(1) + self.bias

    def tensors(self) -> dict[str, Tensor]:
        """Both."""
        return {"weight": self.weight, "bias": self.bias}


def own_head(source: str, task: Task) -> VectorProbe | None:
    """The head of a task's label in the file that a backbone was loaded from, None where it has none.

    UserError where it gives another unit than the task's, CheckpointError where it does not fit its encoder.
    """
    path = Path(source)
    if task.classes or not path.is_file():
        return None
    tensors = state_of(load_foreign(path), path.name)
    found = value_head(tensors, task.label) if is_panecho(tensors) else None
    if found is None:
        return None
    weight, bias, unit = found
    if unit != task.unit:
        raise UserError(
            f"task {task.name} is in '{task.unit}', the head in {path.name} gives '{unit}'; convert labels"
        )
    if weight.shape != (1, WIDTH) or bias.shape != (1,):
        raise CheckpointError(
            f"the head of {task.label} in {path.name} has weights {tuple(weight.shape)}, not (1, {WIDTH})"
        )
    return VectorProbe(weight, bias)
