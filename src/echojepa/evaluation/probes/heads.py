"""Probes on frozen features: trained on training patients, chosen on validation patients, applied to all.

Every head and every epoch is scored on validation patients alone; the best of them predicts. Test labels
take part in nothing but the predictions table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.config import HarnessConfig
from echojepa.evaluation.features.tokens import fit_standardiser, principal_axes, projected
from echojepa.evaluation.probes.predictions import average, error_of
from echojepa.evaluation.probes.ridge import fit_ridge
from echojepa.evaluation.protocol.plans import ProbeKind
from echojepa.evaluation.protocol.samples import Labelled
from echojepa.models.grid import GridAdamW
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser, drop_views
from echojepa.randomness import derive_seed
from echojepa.tasks import Task
from echojepa.vocabulary import Split


class Readout(Protocol):
    """What turns features into outputs."""

    def outputs(self, data: Labelled, chosen: Tensor) -> Tensor:
        """Values in clinical units, or logits, (m, outputs) of samples `chosen` (m,)."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All that is needed to predict."""
        ...


@dataclass(frozen=True)
class Fitted:
    """A chosen probe and how it came to be chosen."""

    readout: Readout
    chosen: dict[str, float]
    """The settings that validation patients chose."""
    history: dict[str, list[float]]
    """Per epoch: training loss of the chosen head, validation metric of the chosen head."""
    converged: bool
    """Whether the validation metric of the chosen head was settled before training ended."""


@dataclass(frozen=True)
class ConstantProbe:
    """The same for every sample."""

    value: Tensor
    """(outputs,): a value, or log shares of classes."""

    def outputs(self, data: Labelled, chosen: Tensor) -> Tensor:
        """(m, outputs)."""
        return self.value.expand(len(chosen), -1)

    def tensors(self) -> dict[str, Tensor]:
        """The value."""
        return {"value": self.value}


@dataclass(frozen=True)
class HeadProbe:
    """One trained head."""

    model: Probes
    batch_size: int

    def outputs(self, data: Labelled, chosen: Tensor) -> Tensor:
        """(m, outputs)."""
        return predict(self.model, data, chosen, self.batch_size)[0]

    def tensors(self) -> dict[str, Tensor]:
        """Weights, standardiser and scale."""
        return dict(self.model.state_dict())


@dataclass(frozen=True)
class ReducedProbe:
    """A probe on principal components of the tokens."""

    inner: Readout
    standardiser: Standardiser
    axes: Tensor
    """(D, width)."""

    def outputs(self, data: Labelled, chosen: Tensor) -> Tensor:
        """(m, outputs)."""
        features = projected(data.features, self.standardiser, self.axes)
        return self.inner.outputs(replace(data, features=features), chosen)

    def tensors(self) -> dict[str, Tensor]:
        """The axes, what they were found on, and the probe."""
        parts = {"axes": self.axes, "mean": self.standardiser.mean, "std": self.standardiser.std}
        return {f"components.{name}": value for name, value in parts.items()} | self.inner.tensors()


def fit_probe(data: Labelled, task: Task, kind: ProbeKind, config: HarnessConfig, seed: int) -> Fitted:
    """Train on the training samples of `data` and choose on its validation samples; others are not used."""
    if kind.width is None:
        return fit_plain(data, task, kind, config, seed)
    tokens, seen = data.features.tokens, data.clips[data.within(Split.TRAIN)].flatten()
    train = seen[seen >= 0]
    standardiser = fit_standardiser(tokens, train)
    axes = principal_axes(tokens, train, standardiser, kind.width)
    smaller = replace(data, features=projected(data.features, standardiser, axes))
    fitted = fit_plain(smaller, task, kind, config, seed)
    return replace(fitted, readout=ReducedProbe(fitted.readout, standardiser, axes))


def fit_plain(data: Labelled, task: Task, kind: ProbeKind, config: HarnessConfig, seed: int) -> Fitted:
    """Train and choose one probe on the tokens as they are."""
    if kind.depth is None:
        readout, chosen = fit_ridge(data, data.within(Split.TRAIN), data.within(Split.VAL), task)
        return Fitted(readout, chosen, {}, True)
    return fit_heads(data, task, kind, config, seed)


def fit_constant(data: Labelled, task: Task) -> Fitted:
    """The median of the training items, or their commonest class: what a model must beat."""
    train = data.within(Split.TRAIN)
    _, first = np.unique(data.items[train.numpy()], return_index=True)
    known = data.truth[train][torch.from_numpy(first)]
    if task.classes:
        shares = torch.bincount(known, minlength=len(data.classes)) / len(known)
        return Fitted(
            ConstantProbe(shares.clamp_min(1e-6).log()), {"class": float(shares.argmax())}, {}, True
        )
    value = float(np.median(known.double().numpy()))
    return Fitted(ConstantProbe(torch.tensor([value])), {"value": value}, {}, True)


def loss_of(outputs: Tensor, truth: Tensor, scale: Scale, task: Task) -> Tensor:
    """Mean loss of each head (G,): smooth L1 on z-scores, or cross-entropy."""
    if not task.classes:
        target = ((truth - scale.mean) / scale.std).expand(len(outputs), -1)
        return F.smooth_l1_loss(outputs.squeeze(-1), target, reduction="none").mean(1)
    grid, batch, _ = outputs.shape
    flat = F.cross_entropy(outputs.flatten(0, 1), truth.repeat(grid), reduction="none")
    return flat.view(grid, batch).mean(1)


def settled(errors: Sequence[float], task: Task) -> bool:
    """Whether the running best of the last quarter of epochs is within 2 % of the best before it."""
    cut = max(1, 3 * len(errors) // 4)
    before, after = min(errors[:cut]), min(errors[cut:], default=math.inf)
    best = {"regression": abs(before), "classification": 100.0}
    return not before - after > 0.02 * best.get(task.kind, 1.0)


def shape_for(data: Labelled, kind: ProbeKind) -> ProbeShape:
    """The probe that a kind means on these features."""
    slots = data.clips.shape[1]
    assert kind.depth is not None
    return ProbeShape(
        data.features.grid, data.features.tokens.shape[2], max(1, len(data.classes)), kind.depth,
        views=data.views, clips=slots // data.views, position=kind.position, embeddings=kind.embeddings,
    )  # fmt: skip


def fit_heads(data: Labelled, task: Task, kind: ProbeKind, config: HarnessConfig, seed: int) -> Fitted:
    """Train the grid of heads; the head and epoch that validation patients choose predicts."""
    train, val = data.within(Split.TRAIN), data.within(Split.VAL)
    settings = [(lr, decay) for lr in config.learning_rates for decay in config.weight_decays]
    rates, decays = torch.tensor(settings).T
    generator = torch.Generator().manual_seed(derive_seed(seed, f"probe {task.name}"))
    seen = data.clips[train].flatten()
    standardiser = fit_standardiser(data.features.tokens, seen[seen >= 0])
    scale = target_scale(data.truth[train], task)
    shape = shape_for(data, kind)
    model = Probes(len(settings), shape, standardiser, scale, generator)
    optimizer = GridAdamW(model, rates, decays)
    batches = math.ceil(len(train) / config.batch_size)
    epochs = max(config.epochs, math.ceil(config.min_steps / batches))
    losses, errors = [], []
    best: tuple[float, int, int, dict[str, Tensor]] | None = None
    for epoch in range(epochs):
        order = train[torch.randperm(len(train), generator=generator)]
        total = torch.zeros(len(settings))
        for number, samples in enumerate(order.tensor_split(batches)):
            tokens, present = data.tokens(samples)
            if shape.views > 1:
                present = drop_views(present, shape, kind.view_dropout, generator)
            outputs = model(tokens, None if present.all() else present)
            loss = loss_of(outputs, data.truth[samples], scale, task)
            loss.sum().backward()
            optimizer.step(schedule((epoch * batches + number) / (epochs * batches)))
            total += loss.detach() / batches
        losses.append(total.tolist())
        guesses = predict(model, data, val, config.batch_size)
        errors.append([error_of(average(guess, data, val, task), task) for guess in guesses])
        head = int(np.argmin(errors[-1]))
        if best is None or errors[-1][head] < best[0]:
            kept = {name: p[head : head + 1].clone() for name, p in model.named_parameters()}
            best = (errors[-1][head], epoch, head, kept)
    assert best is not None
    _, epoch, head, kept = best
    winner = Probes(1, shape, standardiser, scale, generator)
    winner.load_state_dict(winner.state_dict() | kept)
    curve = [row[head] for row in errors]
    history = {"train loss": [row[head] for row in losses], "validation": [abs(value) for value in curve]}
    chosen = {"learning rate": settings[head][0], "weight decay": settings[head][1], "epoch": epoch + 1}
    return Fitted(HeadProbe(winner, config.batch_size), chosen, history, settled(curve, task))


def target_scale(truth: Tensor, task: Task) -> Scale:
    """Mean and standard deviation that regression targets are z-scored with; none for classes."""
    if task.classes:
        return Scale()
    spread = float(truth.std()) if len(truth) > 1 else 1.0
    return Scale(float(truth.mean()), max(1e-6, spread))


def schedule(share: float) -> float:
    """Share of the learning rate at a share of training: linear warm-up over 5 %, then cosine to zero."""
    return min(share / 0.05, 1.0) if share < 0.05 else 0.5 + 0.5 * math.cos(math.pi * (share - 0.05) / 0.95)


@torch.no_grad()
def predict(model: Probes, data: Labelled, chosen: Tensor, batch_size: int) -> Tensor:
    """Predictions (G, m, outputs) of samples `chosen` (m,)."""
    made = []
    for part in chosen.split(batch_size):
        tokens, present = data.tokens(part)
        made.append(model.predict(tokens, None if present.all() else present))
    return torch.cat(made, dim=1)
