"""Samples with the features of their clips: what probes are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.evaluation.features.tokens import Features
from echojepa.evaluation.protocol.samples import ClipSamples, Samples
from echojepa.tasks import Task


def targets(samples: Samples) -> Tensor:
    """What is learned, (n,): float values, or long class numbers."""
    truth = torch.from_numpy(samples.truth)
    return truth.long() if samples.classes else truth.float()


@dataclass(frozen=True, kw_only=True)
class SlotFeatures:
    """Features of the clips in samples' slots: all that a probe reads."""

    features: Features
    places: NDArray[np.int64]
    """(n, S) place among the features of each slot's clip; -1 where absent."""
    views: int = 1
    """Views among the slots; S = views * clips of a view."""

    def tokens(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (m, S, N, D) of samples, zero where a slot is absent, and which are present (m, S)."""
        places = torch.from_numpy(self.places[chosen.numpy()])
        present = places >= 0
        tokens = self.features.tokens[places.clamp_min(0).flatten()].unflatten(0, places.shape)
        return tokens * present[..., None, None], present

    def seen(self, chosen: Tensor) -> Tensor:
        """Places of every clip of samples, sample by sample."""
        places = torch.from_numpy(self.places[chosen.numpy()].flatten())
        return places[places >= 0]


@dataclass(frozen=True, kw_only=True)
class FeatureSamples(Samples, SlotFeatures):
    """Samples of one task with the features of their clips: what a probe is trained on."""

    def shown(self, views: Sequence[int]) -> FeatureSamples:
        """With these views alone; samples that have none of them are left out. No views means all."""
        if not views:
            return self
        each = self.places.shape[1] // self.views
        visible = np.repeat(np.isin(np.arange(self.views), views), each)
        places = np.where(visible, self.places, -1)
        return replace(self, places=places).select(np.asarray((places >= 0).any(1)))

    def separate(self) -> FeatureSamples:
        """Every present clip as a sample of its own, predictions to be averaged to the same items."""
        owner, slot = np.nonzero(self.places >= 0)
        return replace(self.select(owner), places=self.places[owner, slot][:, None], views=1)


def with_features(samples: ClipSamples, features: Features, task: Task) -> FeatureSamples:
    """Samples with the features of all their clips."""
    places = features.places() | {(-1, -1, -1): -1}
    index = [places[store, row, n] for store, row, n in samples.clips.reshape(-1, 3).tolist()]
    return FeatureSamples(
        **samples.columns(), features=features, views=max(1, len(task.slots)),
        places=np.array(index, dtype=np.int64).reshape(samples.clips.shape[:2]),
    )  # fmt: skip
