"""Probes on frozen features: trained on training patients, chosen on validation patients, applied to all.

Every head and every epoch is scored on validation patients alone; the best of them predicts. Test labels
take part in nothing but the predictions table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor

from echojepa.config import ProbeConfig
from echojepa.evaluation.features import Features
from echojepa.evaluation.metrics import METRICS
from echojepa.models.grid import GridAdamW
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.randomness import derive_seed
from echojepa.tasks import Task
from echojepa.vocabulary import Split

RIDGE_STRENGTHS = tuple(10.0**power for power in range(-4, 3))
"""Ridge penalties tried, as multiples of the mean diagonal of the kernel."""


@dataclass(frozen=True)
class Labelled:
    """Clips of one task with their truth; all fields have one entry a clip."""

    features: Features
    truth: Tensor
    """(n,) float values, or long class numbers."""
    items: NDArray[np.str_]
    """What a prediction is averaged to: study ids or loop ids."""
    patients: NDArray[np.str_]
    splits: NDArray[np.str_]
    classes: tuple[str, ...]
    """Class names; empty for regression."""

    def within(self, split: Split) -> Tensor:
        """Indices of the clips of a split."""
        return torch.from_numpy(np.flatnonzero(self.splits == split))


@dataclass(frozen=True)
class ItemPredictions:
    """Predictions averaged to items (studies or loops)."""

    items: NDArray[np.str_]
    patients: NDArray[np.str_]
    splits: NDArray[np.str_]
    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]


@dataclass(frozen=True)
class ProbeResult:
    """A chosen probe's predictions and how it came to be chosen."""

    probe: str
    predictions: ItemPredictions
    chosen: dict[str, float]
    """The settings that validation patients chose."""
    history: dict[str, list[float]]
    """Per epoch: training loss of the chosen head, validation metric of the chosen head."""
    converged: bool
    """Whether the validation metric of the chosen head was settled before training ended."""


def average(outputs: Tensor, data: Labelled, clips: Tensor, task: Task) -> ItemPredictions:
    """Average outputs (n, outputs) of clips to items: values, or probabilities, then the likeliest class."""
    values = outputs.softmax(-1) if task.kind == "classification" else outputs
    index = clips.numpy()
    items, first, owner = np.unique(data.items[index], return_index=True, return_inverse=True)
    total = np.zeros((len(items), values.shape[1]))
    np.add.at(total, owner, values.double().numpy())
    mean = total / np.bincount(owner)[:, None]
    prediction = mean.argmax(1).astype(float) if task.kind == "classification" else mean[:, 0]
    chosen = index[first]
    truth = data.truth[torch.from_numpy(chosen)].double().numpy()
    return ItemPredictions(items, data.patients[chosen], data.splits[chosen], truth, prediction)


def score(predictions: ItemPredictions, task: Task) -> float:
    """The task's leading metric, turned so that lower is better."""
    metric = next(iter(METRICS[task.kind].values()))
    value = metric(predictions.truth, predictions.prediction)
    return -value if metric.better == "higher" else value


def constant_probe(data: Labelled, task: Task) -> ProbeResult:
    """The median of the training items, or their commonest class: what a model must beat."""
    train = average(F.one_hot(data.truth.long()).float() if data.classes else data.truth[:, None], data,
                    torch.arange(len(data.truth)), task)  # fmt: skip
    known = train.truth[train.splits == Split.TRAIN]
    value = float(np.bincount(known.astype(int)).argmax()) if data.classes else float(np.median(known))
    filled = np.full(len(train.truth), value)
    predictions = ItemPredictions(train.items, train.patients, train.splits, train.truth, filled)
    return ProbeResult("constant", predictions, {"value": value}, {}, True)


def ridge_probe(data: Labelled, task: Task) -> ProbeResult:
    """Closed-form ridge on the flattened, standardised token grid; the penalty is chosen on validation."""
    train, val = data.within(Split.TRAIN), data.within(Split.VAL)
    tokens = data.features.tokens
    standardise = Standardiser.fit(tokens[train])
    flat = torch.stack([standardise(t[None])[0].half() for t in tokens]).flatten(1)
    kernel = gram(flat, flat[train]).numpy()
    truth = (
        F.one_hot(data.truth.long(), len(data.classes)).double()
        if data.classes
        else data.truth[:, None].double()
    )
    centre = truth[train].mean(0)
    scale = float(np.diag(kernel[train.numpy()]).mean())
    best: tuple[float, float, Tensor] | None = None
    for strength in RIDGE_STRENGTHS:
        penalty: Any = strength * scale
        model = KernelRidge(alpha=penalty, kernel="precomputed")
        model.fit(kernel[train.numpy()], (truth[train] - centre).numpy())
        outputs = torch.from_numpy(model.predict(kernel).reshape(len(truth), -1)) + centre
        if data.classes:
            outputs = outputs.clamp_min(1e-6).log()
        error = score(average(outputs[val], data, val, task), task)
        if best is None or error < best[0]:
            best = (error, strength, outputs)
    assert best is not None
    everything = torch.arange(len(truth))
    return ProbeResult("ridge", average(best[2], data, everything, task), {"penalty": best[1]}, {}, True)


def gram(left: Tensor, right: Tensor) -> Tensor:
    """Inner products (n, m) of half-precision rows, summed in float32 over slices of the columns."""
    parts = zip(left.split(16384, dim=1), right.split(16384, dim=1), strict=True)
    return torch.stack([a.float() @ b.float().T for a, b in parts]).sum(0)


def loss_of(outputs: Tensor, truth: Tensor, scale: Scale, task: Task) -> Tensor:
    """Mean loss of each head (G,): smooth L1 on z-scores, or cross-entropy."""
    if task.kind == "regression":
        target = ((truth - scale.mean) / scale.std).expand(len(outputs), -1)
        return F.smooth_l1_loss(outputs.squeeze(-1), target, reduction="none").mean(1)
    grid, batch, _ = outputs.shape
    flat = F.cross_entropy(outputs.flatten(0, 1), truth.repeat(grid), reduction="none")
    return flat.view(grid, batch).mean(1)


def settled(errors: Sequence[float], task: Task) -> bool:
    """Whether the running best of the last quarter of epochs is within 2 % of the best before it."""
    cut = max(1, 3 * len(errors) // 4)
    before, after = min(errors[:cut]), min(errors[cut:], default=math.inf)
    reach = abs(before) if task.kind == "regression" else 100.0
    return before - after <= 0.02 * reach


def attentive_probe(data: Labelled, task: Task, config: ProbeConfig) -> tuple[ProbeResult, Probes]:
    """Train the grid of heads; the head and epoch that validation patients choose predicts."""
    train, val = data.within(Split.TRAIN), data.within(Split.VAL)
    settings = [(lr, decay) for lr in config.learning_rates for decay in config.weight_decays]
    rates, decays = torch.tensor(settings).T
    generator = torch.Generator().manual_seed(derive_seed(config.seed, f"probe {task.name}"))
    standardiser = Standardiser.fit(data.features.tokens[train])
    scale = target_scale(data.truth[train], task)
    shape = ProbeShape(data.features.grid, data.features.tokens.shape[-1], max(1, len(data.classes)))
    model = Probes(len(settings), shape, standardiser, scale, generator)
    optimizer = GridAdamW(model, rates, decays)
    batches = math.ceil(len(train) / config.batch_size)
    losses, errors = [], []
    best: tuple[float, int, int, dict[str, Tensor]] | None = None
    for epoch in range(config.epochs):
        order = train[torch.randperm(len(train), generator=generator)]
        total = torch.zeros(len(settings))
        for number, clips in enumerate(order.tensor_split(batches)):
            loss = loss_of(model(data.features.tokens[clips]), data.truth[clips], scale, task)
            loss.sum().backward()
            optimizer.step(schedule((epoch * batches + number) / (config.epochs * batches)))
            total += loss.detach() / batches
        losses.append(total.tolist())
        guesses = predict(model, data.features.tokens[val], config.batch_size)
        errors.append([score(average(guess, data, val, task), task) for guess in guesses])
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
    everything = predict(winner, data.features.tokens, config.batch_size)[0]
    predictions = average(everything, data, torch.arange(len(data.truth)), task)
    return ProbeResult("attentive", predictions, chosen, history, settled(curve, task)), winner


def target_scale(truth: Tensor, task: Task) -> Scale:
    """Mean and standard deviation that regression targets are z-scored with; none for classes."""
    if task.kind == "classification":
        return Scale()
    return Scale(float(truth.mean()), max(1e-6, float(truth.std())))


def schedule(share: float) -> float:
    """Share of the learning rate at a share of training: linear warm-up over 5 %, then cosine to zero."""
    return min(share / 0.05, 1.0) if share < 0.05 else 0.5 + 0.5 * math.cos(math.pi * (share - 0.05) / 0.95)


@torch.no_grad()
def predict(model: Probes, tokens: Tensor, batch_size: int) -> Tensor:
    """Predictions (G, n, outputs) of all clips."""
    return torch.cat([model.predict(part) for part in tokens.split(batch_size)], dim=1)
