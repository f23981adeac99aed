"""Probes on frozen features: trained on training patients, chosen on validation patients, applied to all.

Every head and every epoch is scored on validation patients alone; the best of them predicts. Test labels
take part in nothing but the predictions table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from echojepa.config import FrozenConfig
from echojepa.evaluation.features.samples import FeatureSamples, SlotFeatures, targets
from echojepa.evaluation.features.tokens import (
    Features,
    fit_standardiser,
    over_time,
    principal_axes,
    projected,
)
from echojepa.evaluation.probes.heads import Choice, fit_heads
from echojepa.evaluation.probes.ridge import fit_ridge
from echojepa.evaluation.protocol.plans import ProbeKind
from echojepa.evaluation.protocol.samples import Samples
from echojepa.models.probe import Standardiser
from echojepa.tasks import Task
from echojepa.vocabulary import Split

COMPONENTS = "components."
"""Before names of tensors that reduce tokens; those of the probe on them have nothing there."""


class Readout(Protocol):
    """What turns features into outputs."""

    def outputs(self, data: SlotFeatures) -> Tensor:
        """Values in clinical units, or logits, (n, outputs)."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All that is needed to predict."""
        ...


@dataclass(frozen=True)
class ReducedProbe:
    """A probe on principal components of the tokens."""

    inner: Readout
    standardiser: Standardiser
    axes: Tensor
    """(D, width)."""

    def given(self, features: Features) -> Features:
        """What the inner probe is given."""
        return projected(features, self.standardiser, self.axes)

    def outputs(self, data: SlotFeatures) -> Tensor:
        """(n, outputs)."""
        return self.inner.outputs(replace(data, features=self.given(data.features)))

    def tensors(self) -> dict[str, Tensor]:
        """The axes, what they were found on, and the probe."""
        parts = {"axes": self.axes, "mean": self.standardiser.mean, "std": self.standardiser.std}
        return {f"{COMPONENTS}{name}": value for name, value in parts.items()} | self.inner.tensors()


@dataclass(frozen=True)
class OverTimeProbe:
    """A probe on each place's mean and spread over time."""

    inner: Readout

    def given(self, features: Features) -> Features:
        """What the inner probe is given."""
        return over_time(features)

    def outputs(self, data: SlotFeatures) -> Tensor:
        """(n, outputs)."""
        return self.inner.outputs(replace(data, features=self.given(data.features)))

    def tensors(self) -> dict[str, Tensor]:
        """Those of the probe."""
        return self.inner.tensors()


def unwrapped(readout: Readout) -> tuple[Readout, bool]:
    """The probe inside one over time, or the probe itself, and whether it was the former."""
    return (readout.inner, True) if isinstance(readout, OverTimeProbe) else (readout, False)


def innermost(readout: Readout, features: Features) -> tuple[Readout, Features]:
    """The probe inside a reduced one or one over time, or the probe itself, and the features it is given."""
    while isinstance(readout, ReducedProbe | OverTimeProbe):
        readout, features = readout.inner, readout.given(features)
    return readout, features


def fit_probe(
    data: FeatureSamples, task: Task, kind: ProbeKind, config: FrozenConfig, seed: int
) -> tuple[Readout, Choice]:
    """Train on the training samples of `data` and choose on its validation samples; others are not used."""
    if kind.width is not None:
        tokens, train = data.features.tokens, data.seen(torch.from_numpy(data.within(Split.TRAIN)))
        standardiser = fit_standardiser(tokens, train)
        axes = principal_axes(tokens, train, standardiser, kind.width)
        smaller = replace(data, features=projected(data.features, standardiser, axes))
        inner, choice = fit_probe(smaller, task, replace(kind, width=None), config, seed)
        return ReducedProbe(inner, standardiser, axes), choice
    if kind.over_time:
        still = replace(data, features=over_time(data.features))
        inner, choice = fit_probe(still, task, replace(kind, over_time=False), config, seed)
        return OverTimeProbe(inner), choice
    if kind.depth is None:
        readout, chosen = fit_ridge(data, task)
        return readout, Choice(chosen, {}, True)
    return fit_heads(data, task, kind, config, seed)


def constant_outputs(learned: Samples, count: int) -> Tensor:
    """Predictions of the constant, (count, outputs): the median of the training items, or the log shares of
    their classes."""
    train = learned.select(learned.within(Split.TRAIN))
    _, first = np.unique(train.items, return_index=True)
    known = targets(train)[torch.from_numpy(first)]
    value = torch.tensor([float(np.median(known.double().numpy()))])
    if learned.classes:
        shares = torch.bincount(known, minlength=len(learned.classes)) / len(known)
        value = shares.clamp_min(1e-6).log()
    return value.expand(count, -1)
