"""Two-dimensional maps of embeddings, and how far what they seem to show is so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances, silhouette_samples

from echojepa.errors import UserError
from echojepa.evaluation.statistics.intervals import Estimate, mean_over_patients

NEIGHBOURS = 15
"""Neighbours of UMAP's graph, and those whose class purity counts."""


RESAMPLES = 1000
"""Of patients, for intervals."""


@dataclass(frozen=True)
class Islands:
    """How far loops of a class lie together, in all dimensions and not on the map."""

    silhouette: Estimate
    """-1 to 1 (Rousseeuw, J Comput Appl Math 20:53, 1987), cosine distance: 0 where classes overlap."""
    purity: Estimate
    """Share of a loop's nearest loops of other patients that are of its class."""
    chance: float
    """That share where classes are dealt out at random."""


def standardised(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings (n, D) with each dimension of mean 0 and spread 1."""
    return (embeddings - embeddings.mean(0)) / np.maximum(embeddings.std(0), 1e-6)


def embedding_map(
    embeddings: NDArray[np.float32], method: Literal["pca", "umap"] = "pca"
) -> NDArray[np.float64]:
    """Embeddings (n, D) -> coordinates (n, 2), after each dimension is standardised.

    PCA is exact and draws no clusters that are not there. UMAP, of cosine distances and 15 neighbours, needs
    the extra `umap`; UserError names it.
    """
    scaled = standardised(embeddings)
    if method == "pca":
        return PCA(2, random_state=0).fit_transform(scaled)
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("UMAP is not installed; run: pip install 'echojepa[umap]', or choose pca") from None
    layout = UMAP(n_neighbors=NEIGHBOURS, min_dist=0.1, metric="cosine", random_state=0)
    return np.asarray(layout.fit_transform(scaled))


def islands(embeddings: NDArray[np.float32], classes: NDArray[Any], patients: NDArray[Any]) -> Islands | None:
    """Silhouette and nearest-neighbour purity of embeddings (n, D), with 95 % intervals by patient.

    Loops of one patient are no neighbours: that they are alike says nothing of a class. None where there is
    a single class, or a single patient.
    """
    if len(set(classes)) < 2 or len(set(patients)) < 2:
        return None
    away = pairwise_distances(standardised(embeddings), metric="cosine").clip(0)
    np.fill_diagonal(away, 0)
    each = np.asarray(silhouette_samples(away, classes, metric="precomputed"))
    others = patients[:, None] != patients
    same = classes[:, None] == classes
    order = np.argsort(np.where(others, away, np.inf), axis=1, kind="stable")[:, :NEIGHBOURS]
    counted = np.take_along_axis(others, order, axis=1)
    pure = (np.take_along_axis(same, order, axis=1) & counted).sum(1) / np.maximum(1, counted.sum(1))
    chance = ((same & others).sum(1) / others.sum(1)).mean()
    silhouette, purity = (
        mean_over_patients(values, patients, resamples=RESAMPLES, seed=0) for values in (each, pure)
    )
    return Islands(silhouette, purity, float(chance))
