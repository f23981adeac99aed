"""A grid of linear or attentive heads trained at once on frozen features; validation patients choose one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.config import FrozenConfig
from echojepa.evaluation.features.samples import FeatureSamples, SlotFeatures, targets
from echojepa.evaluation.features.tokens import fit_standardiser
from echojepa.evaluation.probes.predictions import average, error_of
from echojepa.evaluation.protocol.plans import ProbeKind
from echojepa.models.grid import GridAdamW
from echojepa.models.probe import Probes, ProbeShape, Scale, drop_views
from echojepa.randomness import derive_seed
from echojepa.tasks import Task
from echojepa.vocabulary import Split


@dataclass(frozen=True)
class HeadProbe:
    """One trained head."""

    model: Probes
    batch_size: int

    def outputs(self, data: SlotFeatures) -> Tensor:
        """(n, outputs)."""
        return predict(self.model, data, self.batch_size)[0]

    def tensors(self) -> dict[str, Tensor]:
        """Weights, standardiser and scale."""
        return dict(self.model.state_dict())


@dataclass(frozen=True)
class Choice:
    """What validation patients chose, and how training went."""

    settings: dict[str, float]
    history: dict[str, list[float]]
    """Per epoch: training loss and validation metric of what was chosen."""
    converged: bool
    """Whether the validation metric stopped improving before training ended."""


def loss_of(outputs: Tensor, truth: Tensor, scale: Scale, task: Task) -> Tensor:
    """Mean loss of each head (G,): smooth L1 on z-scores, or cross-entropy."""
    if not task.classes:
        target = ((truth - scale.mean) / scale.std).expand(len(outputs), -1)
        return F.smooth_l1_loss(outputs.squeeze(-1), target, reduction="none").mean(1)
    grid, batch, _ = outputs.shape
    flat = F.cross_entropy(outputs.flatten(0, 1), truth.repeat(grid), reduction="none")
    return flat.view(grid, batch).mean(1)


def has_converged(errors: Sequence[float], task: Task) -> bool:
    """Whether the running best of the last quarter of epochs is within 2 % of the best before it."""
    cut = max(1, 3 * len(errors) // 4)
    before, after = min(errors[:cut]), min(errors[cut:], default=math.inf)
    best = {"regression": abs(before), "classification": 100.0}
    return not before - after > 0.02 * best.get(task.kind, 1.0)


def shape_for(data: FeatureSamples, kind: ProbeKind) -> ProbeShape:
    """The probe that a kind means on these features."""
    slots = data.places.shape[1]
    assert kind.depth is not None
    return ProbeShape(
        data.features.grid, data.features.tokens.shape[2], max(1, len(data.classes)), kind.depth,
        views=data.views, clips=slots // data.views, position=kind.position, embeddings=kind.embeddings,
    )  # fmt: skip


def fit_heads(
    data: FeatureSamples, task: Task, kind: ProbeKind, config: FrozenConfig, seed: int
) -> tuple[HeadProbe, Choice]:
    """Train the grid of heads; the head and epoch that validation patients choose predicts."""
    train, judges = torch.from_numpy(data.within(Split.TRAIN)), data.select(data.within(Split.VAL))
    truth = targets(data)
    settings = [(lr, decay) for lr in config.learning_rates for decay in config.weight_decays]
    rates, decays = torch.tensor(settings).T
    generator = torch.Generator().manual_seed(derive_seed(seed, f"probe {task.name}"))
    standardiser = fit_standardiser(data.features.tokens, data.seen(train))
    scale = target_scale(truth[train], task)
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
            loss = loss_of(outputs, truth[samples], scale, task)
            loss.sum().backward()
            optimizer.step(schedule((epoch * batches + number) / (epochs * batches)))
            total += loss.detach() / batches
        losses.append(total.tolist())
        guesses = predict(model, judges, config.batch_size)
        errors.append([error_of(average(guess, judges), task.kind) for guess in guesses])
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
    return HeadProbe(winner, config.batch_size), Choice(chosen, history, has_converged(curve, task))


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
def predict(model: Probes, data: SlotFeatures, batch_size: int) -> Tensor:
    """Predictions (G, n, outputs) of samples."""
    made = []
    for part in torch.arange(len(data.places)).split(batch_size):
        tokens, present = data.tokens(part)
        made.append(model.predict(tokens, None if present.all() else present))
    return torch.cat(made, dim=1)
