"""Which tokens are hidden: parts of the picture through the whole clip, or a later or earlier part of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from echojepa.config import MaskConfig, TimeSplit

MAX_REDRAWS = 1000


@dataclass(frozen=True)
class Mask:
    """Token ids of a batch: each row's context and targets are disjoint."""

    context_ids: Tensor
    """(B, N) long, ascending: what the encoder sees."""
    target_ids: Tensor
    """(B, M) long, ascending: what the predictor infers."""
    redraws: int
    """Draws thrown away because too little was visible."""

    def to(self, device: torch.device) -> Mask:
        """The same ids on a device."""
        return Mask(self.context_ids.to(device), self.target_ids.to(device), self.redraws)

    def rows(self, chosen: slice | Tensor) -> Mask:
        """The ids of some clips of the batch."""
        return Mask(self.context_ids[chosen], self.target_ids[chosen], self.redraws)


def block_shape(config: MaskConfig, rows: int, columns: int, generator: torch.Generator) -> tuple[int, int]:
    """Height and width in tokens of a block with a random aspect ratio, clipped to the picture."""
    low, high = config.aspect
    aspect = low + (high - low) * torch.rand((), generator=generator).item()
    area = int(rows * columns * config.scale)
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return min(max(height, 1), rows), min(max(width, 1), columns)


def draw_hidden(
    config: MaskConfig, shape: tuple[int, int], rows: int, columns: int, generator: torch.Generator
) -> tuple[Tensor, int]:
    """One clip's hidden picture positions (rows, columns) bool, and the draws that were thrown away."""
    if config.blocks == 0:
        hidden = torch.zeros(rows * columns, dtype=torch.bool)
        count = int(config.scale * rows * columns)
        hidden[torch.randperm(rows * columns, generator=generator)[:count]] = True
        return hidden.view(rows, columns), 0
    height, width = shape
    for redraws in range(MAX_REDRAWS):
        tops = torch.randint(rows - height + 1, (config.blocks,), generator=generator)
        lefts = torch.randint(columns - width + 1, (config.blocks,), generator=generator)
        hidden = np.zeros((rows, columns), dtype=np.bool_)  # so few elements: numpy's calls cost less
        for top, left in zip(tops.tolist(), lefts.tolist(), strict=True):
            hidden[top : top + height, left : left + width] = True
        if 1 - float(hidden.mean(dtype=np.float32)) >= config.min_visible:
            return torch.from_numpy(hidden), redraws
    raise ValueError(
        f"{MAX_REDRAWS} draws of {config} on a grid of {rows} x {columns} left less than "
        f"{config.min_visible:.0%} visible; use smaller or fewer blocks, or a finer grid"
    )


def equalise(rows: list[Tensor], generator: torch.Generator) -> Tensor:
    """Cut lists of ids to the shortest one's length by a random choice, order kept.

    Cutting off the end instead, as the released code does, starves the last frames of the clip.
    """
    length = min(len(row) for row in rows)
    kept = [np.sort(torch.randperm(len(row), generator=generator).numpy()[:length]) for row in rows]
    return torch.from_numpy(np.stack([row.numpy()[places] for row, places in zip(rows, kept, strict=True)]))


def split_times(split: TimeSplit, times: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Slots seen and slots inferred of a clip, ascending; a coin says which of the two comes first."""
    seen, first, hidden = split.slots(times)
    slots = torch.arange(times)
    if torch.rand((), generator=generator).item() < 0.5:
        return slots[:seen], slots[first : first + hidden]
    return slots[times - seen :], slots[times - first - hidden : times - first]


def sample_mask(
    config: MaskConfig, grid: tuple[int, int, int], batch: int, generator: torch.Generator
) -> Mask:
    """Draw one mask type for a batch: one block shape a batch, positions of their own for each clip."""
    times, rows, columns = grid
    shape = block_shape(config, rows, columns, generator)
    ids = torch.arange(times * rows * columns).view(times, -1)
    context, targets, redraws = [], [], 0
    for _ in range(batch):
        hidden, thrown = draw_hidden(config, shape, rows, columns, generator)
        redraws += thrown
        if config.time is None:
            context.append(ids[:, ~hidden.flatten()].flatten())
            targets.append(ids[:, hidden.flatten()].flatten())
        else:
            seen, later = split_times(config.time, times, generator)
            context.append(ids[seen].flatten())
            targets.append(ids[later][:, hidden.flatten()].flatten())
    return Mask(equalise(context, generator), equalise(targets, generator), redraws)


def touches_sector(clips: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Tokens (B, N) bool whose place in the picture is not black in all frames of clips (B, 3, T, H, W)."""
    times, rows, columns = grid
    lit = clips.amax((1, 2)) > 0
    places = lit.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).flatten(4).any(-1).any(2)
    return places.flatten(1).repeat(1, times)


def inside_sector(mask: Mask, inside: Tensor, generator: torch.Generator) -> Mask:
    """A mask whose targets are those of tokens `inside` (B, N) bool, as many in each clip as in the clip with
    the fewest; all of a clip's own where none of its targets is inside. What is seen stays."""
    pairs = zip(mask.target_ids, inside.gather(1, mask.target_ids), strict=True)
    rows = [ids[chosen] if chosen.any() else ids for ids, chosen in pairs]
    return Mask(mask.context_ids, equalise(rows, generator), mask.redraws)
