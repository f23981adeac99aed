"""Where a map may lie: parts of the picture, as the share of each token's tubelet that is inside.

What the pixels alone tell is there for every loop; what they show is there for loops of the phantom, whose
data set has `truth.parquet`, exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.config import InputSpec
from echojepa.data.clips.clips import fitted
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.explain.loops import ShownLoop
from echojepa.phantom.cohort.regions import Recorded, RegionName

SECTOR, MOVING, BRIGHT = "sector", "moving tissue", "bright tissue"
QUARTER = 75
"""Percentile of the sector's pixels above which one is moving, or bright."""
TRUTH = "truth.parquet"

Masks = dict[str, NDArray[np.bool_]]
"""Masks (n, H, W) by the names of regions."""


def grey_of(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Frames (T, H, W) or (T, H, W, 3) as the mean of their channels."""
    return frames.mean(-1, dtype=np.float32) if frames.ndim == 4 else frames.astype(np.float32)


def pixel_regions(loop: ShownLoop, indices: NDArray[np.int64]) -> Masks:
    """Regions of some frames from their pixels: the sector, and the quarter of it whose brightness changes
    most over the loop, or is highest on average."""
    grey = grey_of(loop.frames)
    found = {SECTOR: loop.sector}
    for name, level in ((MOVING, grey.std(0)), (BRIGHT, grey.mean(0))):
        found[name] = loop.sector & (level > np.percentile(level[loop.sector], QUARTER))
    return {name: np.broadcast_to(mask, (len(indices), *mask.shape)) for name, mask in found.items()}


class PhantomTruth:
    """`truth.parquet` beside a data set that `echojepa simulate --layout store` wrote."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        self.table = pq.read_table(path)
        self.places = {name: place for place, name in enumerate(self.table["loop_id"].to_pylist())}

    @classmethod
    def beside(cls, root: Path) -> PhantomTruth | None:
        """That of a data set, where there is any."""
        path = root / TRUTH
        return cls(path, LoopStore.open(root).split_seed) if path.is_file() else None

    def row(self, loop_id: str) -> dict[str, Any] | None:
        """What is true of a loop; None for one that is not the phantom's, and for one without a heart."""
        place = self.places.get(loop_id)
        found = None if place is None else self.table.slice(place, 1).to_pylist()[0]
        return found if found and found["volume"] is not None else None

    def regions(self, row: dict[str, Any], loop: ShownLoop, indices: NDArray[np.int64]) -> Masks:
        """Exact regions of some frames; UserError where the loop is not stored as the phantom wrote it."""
        some, back = np.unique(indices, return_inverse=True)
        found = Recorded.of_row(row, self.seed).regions(some)
        expected = found[RegionName.HEART].shape[1:]
        if expected != loop.sector.shape:
            raise UserError(
                f"a loop has {loop.sector.shape} pixels, but {self.path} states {expected}; it belongs to "
                "another data set. Simulate again"
            )
        return {str(name): masks[back] for name, masks in found.items()}


def coverage(spec: InputSpec, grid: tuple[int, int, int], masks: NDArray[np.bool_]) -> Tensor:
    """Share (T', H', W') of each token's tubelet that lies in masks (T, H, W), those of a clip's frames."""
    pixels = fitted(spec, masks.astype(np.uint8) * 255).float() / 255
    return torch.nn.functional.adaptive_avg_pool3d(pixels[None], grid)[0, 0]
