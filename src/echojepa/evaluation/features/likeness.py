"""How far a loop's features lie from those of the training set.

The distance of Mahalanobis from the nearest view's mean, under one covariance about the views' means that is
shrunk after Ledoit and Wolf (Journal of Multivariate Analysis 88:365, 2004), divided by the root of the
number of features: about 1 for loops like those of training. Lee et al. (NeurIPS 2018) use it so to tell what
a network was not trained on. It sees what the encoder sees and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from torch import Tensor


@dataclass(frozen=True)
class Likeness:
    """Statistics of the features of a training set."""

    views: tuple[str, ...]
    means: Tensor
    """(V, E) float64: mean of each view's loops."""
    whitening: Tensor
    """(E, E) float64: features times this have the unit covariance about their view's mean."""

    def distances(self, pooled: Tensor) -> NDArray[np.float64]:
        """Distance (n,) of loops' features (n, E)."""
        return self.from_views(pooled).amin(dim=1).numpy()

    def nearest(self, pooled: Tensor) -> list[str]:
        """The view (n,) whose mean is nearest to each loop's features (n, E)."""
        return [self.views[place] for place in self.from_views(pooled).argmin(dim=1).tolist()]

    def from_views(self, pooled: Tensor) -> Tensor:
        """Distance (n, V) of loops' features (n, E) from each view's mean."""
        white, centres = pooled.double() @ self.whitening, self.means @ self.whitening
        return torch.cdist(white, centres) / pooled.shape[1] ** 0.5

    def tensors(self) -> dict[str, Tensor]:
        """All but the names of the views."""
        return {"means": self.means, "whitening": self.whitening}


def fit_likeness(pooled: Tensor, views: Sequence[str]) -> Likeness:
    """Statistics of training loops with features (n, E) and views (n,)."""
    features, names = pooled.double().numpy(), np.array(views)
    known = tuple(sorted(set(views)))
    means = np.stack([features[names == name].mean(0) for name in known])
    about = features - means[np.searchsorted(known, names)]
    covariance = np.asarray(ledoit_wolf(about, assume_centered=True)[0])
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    return Likeness(known, torch.from_numpy(means), torch.from_numpy(np.ascontiguousarray(whitening)))
