"""Ridge regression in closed form on the flattened, standardised token grid: it cannot fail to converge.

What is absent is zero after standardising, which is the training mean. The smaller square is solved, that of
samples or that of features; the first is summed over slices of the grid, the second over samples, so that no
more than a slice of all clips is in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.linalg import solve
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor

from echojepa.evaluation.features.samples import FeatureSamples, SlotFeatures, targets
from echojepa.evaluation.features.tokens import fit_standardiser
from echojepa.evaluation.probes.predictions import average, error_of
from echojepa.models.probe import Standardiser
from echojepa.tasks import Task
from echojepa.vocabulary import Split

STRENGTHS = tuple(10.0**power for power in range(-4, 3))
"""Penalties tried, as multiples of the mean diagonal of the kernel."""
BATCH = 512
"""Samples that are read at a time."""
Numbers = NDArray[np.float64]


def standardised(
    data: SlotFeatures, chosen: Tensor, slot: int, span: tuple[int, int], fitted: Standardiser
) -> Tensor:
    """Tokens of one slot in a range of positions, (m, columns), zero where the slot is absent."""
    places = torch.from_numpy(data.places[chosen.numpy(), slot])
    start, stop = span
    tokens = data.features.tokens.columns(places.clamp_min(0), start, stop).float()
    centred = (tokens - fitted.mean[start:stop]) / fitted.std
    return (centred * (places >= 0)[:, None, None]).flatten(1)


def kernel(data: SlotFeatures, rows: Tensor, columns: Tensor, fitted: Standardiser) -> Tensor:
    """Inner products (rows, columns) of samples over all slots and positions."""
    total = torch.zeros(len(rows), len(columns))
    for slot in range(data.places.shape[1]):
        for span in data.features.tokens.slices(len(rows)):
            left = standardised(data, rows, slot, span, fitted)
            right = left if rows is columns else standardised(data, columns, slot, span, fitted)
            total += left @ right.T
    return total


class RidgeProbe:
    """Weights on the flattened grid of every slot."""

    def __init__(self, fitted: Standardiser, weights: Tensor, centre: Tensor, classes: bool) -> None:
        self.fitted = fitted
        self.weights = weights
        """(S, N, D, outputs)."""
        self.centre = centre
        """(outputs,) added to every prediction: the training mean."""
        self.classes = classes

    def outputs(self, data: SlotFeatures) -> Tensor:
        """Values, or log scores of classes, (n, outputs)."""
        every = torch.arange(len(data.places))
        total = self.centre.expand(len(every), -1).clone()
        for slot in range(data.places.shape[1]):
            for part, out in zip(every.split(64), total.split(64), strict=True):
                for start, stop in data.features.tokens.slices(len(part)):
                    x = standardised(data, part, slot, (start, stop), self.fitted)
                    out += x @ self.weights[slot, start:stop].flatten(0, 1)
        return total.clamp_min(1e-6).log() if self.classes else total

    def tensors(self) -> dict[str, Tensor]:
        """All that is needed to predict."""
        parts = {"weights": self.weights, "centre": self.centre}
        return parts | {"input_mean": self.fitted.mean, "input_std": self.fitted.std}


class BySamples:
    """Solutions from inner products of training samples, (n, n): for more features than samples."""

    def __init__(
        self, data: SlotFeatures, train: Tensor, val: Tensor, fitted: Standardiser, truth: Tensor
    ) -> None:
        """`truth` (n, outputs): of the training samples, centred."""
        self.data, self.train, self.fitted, self.truth = data, train, fitted, truth.numpy()
        inner = kernel(data, torch.cat([train, val]), train, fitted).double().numpy()
        self.own, self.other = np.split(inner, [len(train)])  # float32 cannot solve the smallest penalty
        self.scale = float(self.own.diagonal().mean())

    def solve(self, penalty: Any) -> tuple[Numbers, Numbers]:
        """What `weights` takes, and outputs for the samples that judge, less the training mean."""
        model = KernelRidge(alpha=penalty, kernel="precomputed").fit(self.own, self.truth)
        return model.dual_coef_.reshape(self.truth.shape), model.predict(self.other)

    def weights(self, solved: Tensor) -> Tensor:
        """Weights (S, N, D, outputs)."""
        return primal(self.data, self.train, self.fitted, solved)


class ByFeatures:
    """The same solutions from products of features, (p, p): for more samples than features."""

    def __init__(
        self, data: SlotFeatures, train: Tensor, val: Tensor, fitted: Standardiser, truth: Tensor
    ) -> None:
        """As `BySamples`."""
        self.data, self.val, self.fitted = data, val, fitted
        width = features_of(data)
        self.products, self.right = np.zeros((width, width)), np.zeros((width, truth.shape[1]))
        for part, own in zip(train.split(BATCH), truth.split(BATCH), strict=True):
            x = self.rows(part)
            self.products += (x.T @ x).numpy()
            self.right += (x.T @ own).numpy()
        self.scale = float(self.products.trace() / len(train))

    def rows(self, chosen: Tensor) -> Tensor:
        """Standardised features of samples, slot by slot, (m, p)."""
        whole, slots = (0, self.data.features.tokens.shape[1]), range(self.data.places.shape[1])
        return torch.cat([standardised(self.data, chosen, n, whole, self.fitted) for n in slots], dim=1)

    def solve(self, penalty: float) -> tuple[Numbers, Numbers]:
        """As `BySamples`."""
        square = self.products.copy()
        square[np.diag_indices_from(square)] += penalty
        found = solve(square, self.right, assume_a="pos", overwrite_a=True)
        said = [self.rows(part).double().numpy() @ found for part in self.val.split(BATCH)]
        return found, np.concatenate(said)

    def weights(self, solved: Tensor) -> Tensor:
        """Weights (S, N, D, outputs)."""
        return solved.view(self.data.places.shape[1], *self.data.features.tokens.shape[1:], -1)


def features_of(data: SlotFeatures) -> int:
    """Numbers that ridge reads of a sample."""
    _, count, width = data.features.tokens.shape
    return data.places.shape[1] * count * width


def fit_ridge(data: FeatureSamples, task: Task) -> tuple[RidgeProbe, dict[str, float]]:
    """Fit on training samples, the penalty chosen on validation samples; the probe and what was chosen."""
    train, val = (torch.from_numpy(data.within(split)) for split in (Split.TRAIN, Split.VAL))
    judges = data.select(val.numpy())
    fitted = fit_standardiser(data.features.tokens, data.seen(train))
    truth = targets(data)
    truth = F.one_hot(truth, len(data.classes)).float() if data.classes else truth[:, None]
    centre = truth[train].mean(0)
    way = ByFeatures if len(train) > features_of(data) else BySamples
    solutions = way(data, train, val, fitted, truth[train] - centre)
    best: tuple[float, float, Tensor] | None = None
    for strength in STRENGTHS:
        solved, said = solutions.solve(strength * solutions.scale)
        outputs = torch.from_numpy(said).view(len(val), -1).float() + centre
        outputs = outputs.clamp_min(1e-6).log() if data.classes else outputs
        error = error_of(average(outputs, judges), task.kind)
        if best is None or error < best[0]:
            best = (error, strength, torch.from_numpy(solved).float())
    assert best is not None
    weights = solutions.weights(best[2])
    return RidgeProbe(fitted, weights, centre, bool(data.classes)), {"penalty": best[1]}


def primal(data: SlotFeatures, train: Tensor, fitted: Standardiser, dual: Tensor) -> Tensor:
    """Weights (S, N, D, outputs) of dual coefficients (m, outputs)."""
    _, count, width = data.features.tokens.shape
    weights = torch.zeros(data.places.shape[1], count, width, dual.shape[1])
    for slot in range(len(weights)):
        for start, stop in data.features.tokens.slices(len(train)):
            x = standardised(data, train, slot, (start, stop), fitted)
            weights[slot, start:stop] = (x.T @ dual).view(stop - start, width, -1)
    return weights
