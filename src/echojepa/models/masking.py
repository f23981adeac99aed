"""Which tokens are hidden: parts of the picture through the whole clip, or a later or earlier part of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_REDRAWS = 1000


@dataclass(frozen=True)
class TimeSplit:
    """What is seen and what is inferred lie apart in time: the later from the earlier or, by a coin for each
    clip, the earlier from the later. Shares are of the clip's time slots, rounded to whole ones."""

    seen: float = 0.375
    """Share of the slots, at one end of the clip, whose tokens are all seen."""
    gap: float = 0.125
    """Share after them that is neither seen nor inferred, so that no target has a neighbour in time."""
    hidden: float = 0.375
    """Share after the gap whose tokens are inferred."""

    def __post_init__(self) -> None:
        if min(self.seen, self.hidden) <= 0 or self.gap < 0 or self.seen + self.gap + self.hidden > 1:
            raise ValueError(
                f"a split in time needs seen > 0, gap >= 0 and hidden > 0 that sum to at most 1; got {self}"
            )

    def slots(self, times: int) -> tuple[int, int, int]:
        """Slots seen, from which on slots are hidden, and how many; ValueError for a clip of too few."""
        seen, hidden = round(self.seen * times), round(self.hidden * times)
        first = seen + round(self.gap * times)
        if min(seen, hidden) < 1 or first + hidden > times:
            raise ValueError(f"{self} does not fit a clip of {times} time slots; give more frames")
        return seen, first, hidden


@dataclass(frozen=True)
class MaskConfig:
    """One mask type: the union of equally sized blocks is hidden, or scattered single tokens are."""

    blocks: int
    """Blocks in a clip; 0 hides scattered tokens in their place (VideoMAE's tube mask)."""
    scale: float
    """Share of the picture that one block covers, or that the scattered tokens do; 1 only with `time`."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Range of height over width."""
    min_visible: float = 0.1
    """A draw of blocks that leaves a smaller share of tokens visible is redrawn."""
    time: TimeSplit | None = None
    """In place of the whole clip, hide these parts of the picture in a part of it, of which nothing else is
    seen either, and show the other part whole."""

    def __post_init__(self) -> None:
        whole = self.scale == 1 and self.blocks == 0 and self.time is not None
        if self.blocks < 0 or not (0 < self.scale < 1 or whole) or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(
                "a mask needs blocks >= 0, 0 < scale < 1 (1 for no blocks and a split in time) and "
                f"0 < aspect low <= high; got {self}"
            )


PAPER_MASKS: tuple[MaskConfig, ...] = (MaskConfig(8, 0.15), MaskConfig(2, 0.70))
TUBE_MASK = MaskConfig(blocks=0, scale=0.9)
TIME_MASK = MaskConfig(blocks=0, scale=1.0, time=TimeSplit())
"""Everything in three eighths of the clip is inferred from all that is seen in three others."""


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
        hidden[torch.randperm(rows * columns, generator=generator)[: int(config.scale * rows * columns)]] = (
            True
        )
        return hidden.view(rows, columns), 0
    height, width = shape
    for redraws in range(MAX_REDRAWS):
        tops = torch.randint(rows - height + 1, (config.blocks,), generator=generator)
        lefts = torch.randint(columns - width + 1, (config.blocks,), generator=generator)
        hidden = torch.zeros(rows, columns, dtype=torch.bool)
        for top, left in zip(tops.tolist(), lefts.tolist(), strict=True):
            hidden[top : top + height, left : left + width] = True
        if 1 - hidden.float().mean().item() >= config.min_visible:
            return hidden, redraws
    raise ValueError(
        f"{MAX_REDRAWS} draws of {config} on a grid of {rows} x {columns} left under "
        f"{config.min_visible:.0%} visible; use smaller or fewer blocks, or a finer grid"
    )


def equalise(rows: list[Tensor], generator: torch.Generator) -> Tensor:
    """Cut lists of ids to the shortest one's length by a random choice, order kept.

    Cutting off the end instead, as the released code does, starves the last frames of the clip.
    """
    length = min(len(row) for row in rows)
    kept = [row[torch.randperm(len(row), generator=generator)[:length].sort().values] for row in rows]
    return torch.stack(kept)


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
