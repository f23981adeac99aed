"""Occlusion: hide a group of tubelets and measure how far the output for the clip changes.

Attention shows where a network looks, not what matters. Occlusion shows what matters, and needs no attention.
Hidden tubelets get the clip's mean over time there, blurred over the group's own size. This removes motion
and structure, keeps brightness, and makes no unnatural edge. Outside the sector there is nothing to hide, and
nothing changes. (Blurring to hide: Fong and Vedaldi, ICCV 2017.)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from echojepa.backbones.contract import Backbone
from echojepa.explain.heads import ClipReader
from echojepa.models.contract import TokenGrid

Group = tuple[int, int, int]
"""Tokens hidden together: in time, rows and columns."""
AT_ONCE = 32
"""Clips with something hidden that go through a backbone together."""


def occlusion(
    backbone: Backbone, head: ClipReader | None, clips: Tensor, sector: Tensor, group: Group
) -> Tensor:
    """How far hiding the group that a token is in moves what is read, (B, T', H', W') >= 0.

    Of uint8 clips (B, 3, T, H, W) and their sectors (B, H, W). What is read is the prediction of a head, in
    its unit, or the sum of changes of probabilities for classes; without a head the pooled feature, whose
    move is its Euclidean length.
    """
    return torch.stack([one_clip(backbone, head, *one, group) for one in zip(clips, sector, strict=True)])


@torch.inference_mode()
def one_clip(
    backbone: Backbone, head: ClipReader | None, clip: Tensor, sector: Tensor, group: Group
) -> Tensor:
    """`occlusion` of a clip (3, T, H, W), (T', H', W')."""
    whole = backbone(clip[None])
    grid, plain = whole.grid, read(head, whole)
    cells = list(groups(grid, group))
    fill = filling(clip, sector, max(group[1] / grid[1], group[2] / grid[2]) * clip.shape[-1])
    effect = torch.zeros(grid)
    for start in range(0, len(cells), AT_ONCE):
        part = cells[start : start + AT_ONCE]
        variants = torch.stack([hidden(clip, fill, sector, grid, cell) for cell in part])
        moves = (read(head, backbone(variants)) - plain).norm(dim=1, p=2 if head is None else 1)
        for cell, move in zip(part, moves.tolist(), strict=True):
            effect[cell] = move
    return effect


def read(head: ClipReader | None, tokens: TokenGrid) -> Tensor:
    """What is read of clips, (B, D): a prediction, probabilities of classes, or the pooled feature."""
    if head is None:
        return tokens.pooled.float().cpu()
    outputs = head.predict(tokens)
    return (outputs if outputs.shape[1] == 1 else outputs.softmax(1)).cpu()


def groups(grid: tuple[int, int, int], group: Group) -> Iterator[tuple[slice, slice, slice]]:
    """Tokens of each group; those at the end may be smaller."""
    starts = (range(0, length, size) for length, size in zip(grid, group, strict=True))
    for corner in product(*starts):
        time, row, column = (slice(begin, begin + size) for begin, size in zip(corner, group, strict=True))
        yield time, row, column


def filling(clip: Tensor, sector: Tensor, side: float) -> Tensor:
    """Pixels that replace hidden ones, (3, H, W) float: the mean over time of a clip (3, T, H, W), blurred
    within its sector (H, W) by a Gaussian of standard deviation `side` / 2 pixels."""
    inside = sector.numpy().astype(np.float32)
    weight = np.maximum(gaussian_filter(inside, side / 2), 1e-6)
    mean = clip.float().mean(1).numpy() * inside
    return torch.from_numpy(np.stack([gaussian_filter(channel, side / 2) / weight for channel in mean]))


def hidden(
    clip: Tensor, fill: Tensor, sector: Tensor, grid: tuple[int, int, int], cell: tuple[slice, slice, slice]
) -> Tensor:
    """A clip (3, T, H, W) whose pixels of the tokens `cell` show `fill`, inside the sector."""
    box = tuple(
        slice(length * part.start // count, length * min(part.stop, count) // count)
        for length, count, part in zip(clip.shape[1:], grid, cell, strict=True)
    )
    time, rows, columns = box
    out = clip.clone()
    there = out[:, time, rows, columns]
    put = fill[:, None, rows, columns].round().clamp(0, 255).to(torch.uint8)
    out[:, time, rows, columns] = torch.where(sector[rows, columns], put, there)
    return out
