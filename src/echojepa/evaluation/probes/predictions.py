"""From a probe's outputs on clips to predictions of items, in clinical units or probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from echojepa.evaluation.protocol.samples import Samples
from echojepa.evaluation.statistics.metrics import leading_metric
from echojepa.tasks import TaskKind
from echojepa.vocabulary import Split


@dataclass(frozen=True, kw_only=True)
class Predictions(Samples):
    """Predictions averaged to items (studies or loops), an entry each, sorted by item."""

    values: NDArray[np.float64]
    """(n,) values, or (n, K) probabilities."""

    def of_test(self) -> Predictions:
        """Those of test items."""
        return self.select(self.within(Split.TEST))


def average(outputs: Tensor, samples: Samples) -> Predictions:
    """Average outputs (n, outputs) of samples to items: values, or probabilities of classes."""
    values = outputs.softmax(-1) if samples.classes else outputs
    items, first, owner = np.unique(samples.items, return_index=True, return_inverse=True)
    total = np.zeros((len(items), values.shape[1]))
    np.add.at(total, owner, values.double().numpy())
    mean = total / np.bincount(owner)[:, None]
    columns = Samples(**samples.columns()).select(first).columns()
    return Predictions(**columns, values=mean if samples.classes else mean[:, 0])


def error_of(predictions: Predictions, kind: TaskKind) -> float:
    """The leading metric of a kind of task, lower made better; infinite where it is not defined."""
    metric = leading_metric(kind)
    value = metric(predictions.truth, predictions.values)
    if math.isnan(value):
        return math.inf
    return -value if metric.better == "higher" else value
