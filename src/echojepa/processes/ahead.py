"""Items of a data set read ahead by other processes."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


def read_ahead(dataset: Dataset[Any], workers: int, **how: Any) -> DataLoader[Any]:
    """A DataLoader with this many processes, 0 for none; `how` says, in its words, what a batch is.

    They start from a fork server: Lance is not fork-safe. Where there is a GPU, batches are pinned.
    """
    return DataLoader(
        dataset,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
        pin_memory=torch.cuda.is_available(),
        **how,
    )
