"""Frozen features of clips, extracted once and shared by every probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from echojepa.backbones.contract import Backbone
from echojepa.data.clips import ClipDataset


@dataclass(frozen=True)
class Features:
    """Token grids of clips and where they come from."""

    tokens: Tensor
    """(n, N, D) float16."""
    pooled: Tensor
    """(n, E) float32: the backbone's own vector of a clip, or the mean of its tokens."""
    grid: tuple[int, int, int]
    """(T', H', W')."""
    rows: Tensor
    """(n,) row of the data set's table that each clip was cut from."""

    def of_rows(self, rows: list[int]) -> Features:
        """The clips of these rows, in the order of the features."""
        chosen = torch.isin(self.rows, torch.tensor(rows, dtype=torch.long))
        return Features(self.tokens[chosen], self.pooled[chosen], self.grid, self.rows[chosen])


def extract_features(
    backbone: Backbone, dataset: ClipDataset, batch_size: int, progress: Callable[[int, int], None]
) -> Features:
    """Run the backbone over every clip once; calls progress(clips done, clips)."""
    tokens: Tensor | None = None
    pooled = []
    rows = torch.zeros(len(dataset), dtype=torch.long)
    done, grid = 0, (0, 0, 0)
    for clips, batch_rows in DataLoader(dataset, batch_size=batch_size):
        output = backbone(clips)
        grid = output.grid
        if tokens is None:
            tokens = torch.empty(len(dataset), *output.tokens.shape[1:], dtype=torch.float16)
        tokens[done : done + len(clips)] = output.tokens.half().cpu()
        pooled.append(output.pooled.float().cpu())
        rows[done : done + len(clips)] = batch_rows
        done += len(clips)
        progress(done, len(dataset))
    if tokens is None:
        raise ValueError("no clips to extract features from")
    return Features(tokens, torch.cat(pooled), grid, rows)
