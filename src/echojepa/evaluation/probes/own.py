"""Heads that come with weights: not trained here; their predictions are scored and calibrated like a probe's.

PanEcho's file has a linear layer for each task, on the mean of a clip's tokens. A JSON file
(`backbones.heads`) names the heads of other weights: a linear layer on a clip's vector, such as your own
ridge on EchoPrime's, or a probe file of EchoJEPA's released code, from which validation patients choose one
head.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echojepa.backbones.heads import SUFFIX, read_heads
from echojepa.backbones.panecho import is_panecho, value_head
from echojepa.errors import UserError
from echojepa.evaluation.features.samples import FeatureSamples, SlotFeatures
from echojepa.evaluation.probes.heads import Choice, HeadProbe, predict
from echojepa.evaluation.probes.official import load_official_probes
from echojepa.evaluation.probes.predictions import average, error_of
from echojepa.models.probe import Probes, Scale, Standardiser
from echojepa.tasks import Task
from echojepa.vocabulary import Split
from echojepa.weights.tensors import CheckpointError, load_foreign, load_safetensors, state_of

BATCH = 32
"""Samples that a released head is given at a time."""


@dataclass(frozen=True)
class VectorProbe:
    """A linear layer on a clip's vector; a sample of several clips gets their mean."""

    weight: Tensor
    """(1, E)."""
    bias: Tensor
    """(1,)."""

    def outputs(self, data: SlotFeatures) -> Tensor:
        """(n, 1); CheckpointError for vectors of another length."""
        if data.features.pooled.shape[1] != self.weight.shape[1]:
            raise CheckpointError(
                f"the head reads vectors of {self.weight.shape[1]} numbers; this backbone's have "
                f"{data.features.pooled.shape[1]}"
            )
        each = data.features.pooled.float() @ self.weight.T
        places = torch.from_numpy(data.places)
        there = (places >= 0).unsqueeze(-1)
        return (each[places.clamp_min(0)] * there).sum(1) / there.sum(1).clamp_min(1) + self.bias

    def tensors(self) -> dict[str, Tensor]:
        """Both."""
        return {"weight": self.weight, "bias": self.bias}


@dataclass(frozen=True)
class OwnHead:
    """Where a head lies and in which unit it answers: its tensors, or a released file of several."""

    unit: str
    linear: tuple[Tensor, Tensor] | None = None
    """Weight and bias."""
    released: Path | None = None
    scale: Scale = field(default_factory=Scale)
    """Of the released file's targets."""


def own_head(source: str, task: Task) -> OwnHead | None:
    """The head of a task's label that a backbone comes with, by what it was loaded from; None for none.

    UserError where it gives another unit than the task's.
    """
    path = Path(source)
    if task.classes or not path.is_file():
        return None
    found = named_head(path, task.label) if path.suffix == SUFFIX else panecho_head(path, task.label)
    if found and found.unit != task.unit:
        raise UserError(
            f"task {task.name} is in '{task.unit}', but its head in {path.name} gives '{found.unit}'; "
            "convert the labels, and describe them in your own task"
        )
    return found


def panecho_head(path: Path, label: str) -> OwnHead | None:
    """Of a file of PanEcho's."""
    tensors = state_of(load_foreign(path), path.name)
    found = value_head(tensors, label) if is_panecho(tensors) else None
    return OwnHead(found[2], linear=found[:2]) if found else None


def named_head(path: Path, label: str) -> OwnHead | None:
    """Of a JSON file."""
    record = read_heads(path)
    if label not in record.heads:
        inner = path.parent / record.weights
        return panecho_head(inner, label) if inner.is_file() and inner.suffix != SUFFIX else None
    head = record.heads[label]
    file = path.parent / head.file
    if file.suffix != ".safetensors":
        return OwnHead(head.unit, released=file, scale=Scale(head.mean, head.std))
    tensors = load_safetensors(file)
    if set(tensors) != {"weight", "bias"}:
        raise CheckpointError(
            f"{file.name} contains {sorted(tensors)}; a head needs `weight` (1, E) and `bias` (1,)"
        )
    return OwnHead(head.unit, linear=(head.std * tensors["weight"], head.std * tensors["bias"] + head.mean))


def read_own(head: OwnHead, data: FeatureSamples, task: Task) -> tuple[VectorProbe | HeadProbe, Choice]:
    """The head for these features; validation samples choose among several. CheckpointError where it does not
    fit."""
    if head.linear:
        weight, bias = (value.float() for value in head.linear)
        if weight.ndim != 2 or len(weight) != 1 or bias.shape != (1,):
            raise CheckpointError(
                f"the head of {task.label} has weights {tuple(weight.shape)} and {tuple(bias.shape)}; it "
                "needs (1, E) and (1,)"
            )
        return VectorProbe(weight, bias), Choice({}, {}, True)
    assert head.released is not None
    several = load_official_probes(head.released, data.features.grid, head.scale)
    shape, clips = several.shape, data.places.shape[1] // data.views
    if (shape.views, shape.clips, shape.outputs) != (data.views, clips, 1):
        raise CheckpointError(
            f"the heads in {head.released.name} read {shape.views} views of {shape.clips} clips and give "
            f"{shape.outputs} numbers; task {task.name} has {data.views} of {clips}, and 1"
        )
    judges = data.select(data.within(Split.VAL))
    errors = [error_of(average(one, judges), task.kind) for one in predict(several, judges, BATCH)]
    best = int(np.argmin(errors))
    one = Probes(1, shape, Standardiser.identity(1, shape.width), head.scale, torch.Generator())
    kept = {name: value[best : best + 1].clone() for name, value in several.named_parameters()}
    one.load_state_dict(one.state_dict() | kept)
    return HeadProbe(one, BATCH), Choice({"head": best}, {}, True)
