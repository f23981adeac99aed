"""From a probe's outputs on clips to predictions of items, in clinical units or probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.evaluation.protocol.samples import Labelled
from echojepa.evaluation.statistics.metrics import leading_metric
from echojepa.tasks import Task


@dataclass(frozen=True)
class ItemPredictions:
    """Predictions averaged to items (studies or loops), sorted by item."""

    items: NDArray[np.str_]
    patients: NDArray[np.str_]
    splits: NDArray[np.str_]
    sites: NDArray[np.str_]
    truth: NDArray[np.float64]
    """Values, or numbers of classes."""
    prediction: NDArray[np.float64]
    """(n,) values, or (n, K) probabilities."""


def average(outputs: Tensor, data: Labelled, chosen: Tensor, task: Task) -> ItemPredictions:
    """Average outputs (n, outputs) of samples `chosen` to items: values, or probabilities of classes."""
    values = outputs.softmax(-1) if task.classes else outputs
    index = chosen.numpy()
    items, first, owner = np.unique(data.items[index], return_index=True, return_inverse=True)
    total = np.zeros((len(items), values.shape[1]))
    np.add.at(total, owner, values.double().numpy())
    mean = total / np.bincount(owner)[:, None]
    one = index[first]
    truth = data.truth[torch.from_numpy(one)].double().numpy()
    prediction = mean if task.classes else mean[:, 0]
    return ItemPredictions(items, data.patients[one], data.splits[one], data.sites[one], truth, prediction)


def error_of(predictions: ItemPredictions, task: Task) -> float:
    """The task's leading metric, turned so that lower is better; infinite where it is not defined."""
    metric = leading_metric(task.kind)
    value = metric(predictions.truth, predictions.prediction)
    if math.isnan(value):
        return math.inf
    return -value if metric.better == "higher" else value
