"""Two-dimensional maps of embeddings."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from echojepa.errors import UserError


def embedding_map(
    embeddings: NDArray[np.float32], method: Literal["pca", "umap"] = "pca"
) -> NDArray[np.float64]:
    """Embeddings (n, D) -> coordinates (n, 2), after each dimension is standardised.

    PCA is exact and draws no clusters that are not there. UMAP needs the extra `umap`; UserError names it.
    """
    scaled = (embeddings - embeddings.mean(0)) / np.maximum(embeddings.std(0), 1e-6)
    if method == "pca":
        return PCA(2, random_state=0).fit_transform(scaled)
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("UMAP is not installed; run: pip install 'echojepa[umap]', or choose pca") from None
    return np.asarray(UMAP(n_neighbors=15, min_dist=0.1, random_state=0).fit_transform(scaled))
