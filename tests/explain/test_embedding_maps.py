"""Claims about maps of embeddings, and about the numbers beside them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from echojepa.explain.maps import NEIGHBOURS, embedding_map, islands, standardised


def islands_apart(distance: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sixty loops of twenty patients and three classes, whose means are so far apart."""
    rng = np.random.default_rng(seed)
    classes = np.arange(60) % 3
    vectors = rng.normal(size=(60, 3)) + distance * np.eye(3)[classes]
    return vectors.astype(np.float32), classes, np.arange(60) // 3


def test_islands_that_are_apart_are_pure_and_others_are_as_pure_as_chance() -> None:
    far, near = islands(*islands_apart(12)), islands(*islands_apart(0))
    assert far is not None and near is not None
    assert far.purity.value == 1 and far.silhouette.value > 0.8
    assert near.purity.low < near.chance < near.purity.high and abs(near.silhouette.value) < 0.1
    assert far.chance == near.chance == pytest.approx(19 / 57) and far.purity.patients == 20


def test_silhouette_is_scikit_learn_s() -> None:
    vectors, classes, patients = islands_apart(2)
    found = islands(vectors, classes, patients)
    expected = silhouette_score(standardised(vectors), classes, metric="cosine")
    assert found is not None and found.silhouette.value == pytest.approx(expected, abs=1e-5)


def test_a_patient_s_own_loops_are_no_neighbours() -> None:
    """Each patient's loops lie together and far from all others': nothing is told of classes."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(10), 20)
    classes = patients % 2
    vectors = (8 * rng.normal(size=(10, 5))[patients] + 0.1 * rng.normal(size=(200, 5))).astype(np.float32)
    found = islands(vectors, classes, patients)
    assert found is not None and 0 < found.purity.value < 0.9
    alone = islands(vectors, classes, np.arange(200))
    assert alone is not None and alone.purity.value == 1, f"with their own they fill the {NEIGHBOURS}"


def test_one_class_or_one_patient_has_no_islands() -> None:
    vectors, classes, patients = islands_apart(1)
    assert islands(vectors, np.zeros(60), patients) is None
    assert islands(vectors, classes, np.zeros(60)) is None


@pytest.mark.slow  # its compiler takes longer than all other tests of maps
def test_umap_keeps_neighbours_together() -> None:
    pytest.importorskip("umap")
    vectors, classes, _ = islands_apart(12)
    points = embedding_map(vectors, "umap")
    assert points.shape == (60, 2) and silhouette_score(points, classes) > 0.5
