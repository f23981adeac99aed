"""What every encoder is fed and what it gives back.

Dimension letters used in the package: B batch, V views, K clips, C channels, T frames,
H W pixels, N tokens, M target tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.config import InputSpec, Interpolation


def fit(spec: InputSpec, pixels: Tensor) -> Tensor:
    """Cut a margin off square pictures (..., S, S) uint8, resize, and cut their centre -> (..., size, size)
    uint8."""
    cut = int(pixels.shape[-1] * spec.margin)
    pixels = pixels[..., cut : pixels.shape[-2] - cut, cut : pixels.shape[-1] - cut]
    side = spec.resized or spec.size
    if pixels.shape[-2:] != (side, side):
        pixels = resize(pixels, side, spec.interpolation)
    edge = (side - spec.size) // 2
    return pixels[..., edge : edge + spec.size, edge : edge + spec.size]


def prepare(spec: InputSpec, clips: Tensor) -> Tensor:
    """Turn uint8 clips (B, 3, T, H, W) into the normalised float clips the model expects.

    Clips of `size` are taken as fitted, all others are fitted. Raises TypeError for clips that are
    not uint8, because a clip normalised twice looks plausible and ruins a comparison, and
    ValueError for another number of frames or channels.
    """
    if clips.dtype != torch.uint8:
        raise TypeError(f"clips must be uint8 until the backbone; got {clips.dtype}")
    if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[2] != spec.frames:
        raise ValueError(f"expected clips (B, 3, {spec.frames}, H, W), got {tuple(clips.shape)}")
    pixels = clips if clips.shape[-2:] == (spec.size, spec.size) else fit(spec, clips)
    mean = torch.tensor(spec.mean, device=clips.device).view(1, 3, 1, 1, 1)
    std = torch.tensor(spec.std, device=clips.device).view(1, 3, 1, 1, 1)
    return pixels.float().mul_(spec.value_max / 255.0).sub_(mean).div_(std)


def resize(pixels: Tensor, side: int | tuple[int, int], interpolation: Interpolation = "bilinear") -> Tensor:
    """Resize uint8 pictures (..., H, W) to a square of `side`, or to (height, width), uint8, rounded to the
    nearest value."""
    size = (side, side) if isinstance(side, int) else side
    flat = pixels.flatten(0, -3).unsqueeze(1).float()
    if interpolation == "area":
        shrinks = all(after <= before for after, before in zip(size, pixels.shape[-2:], strict=True))
        shares = overlap if shrinks else spread
        rows, columns = (
            shares(*ends).to(pixels.device) for ends in zip(pixels.shape[-2:], size, strict=True)
        )
        flat = rows @ flat @ columns.T
    elif interpolation == "bicubic":
        flat = F.interpolate(flat, size=size, mode="bicubic")
    else:
        flat = F.interpolate(flat, size=size, mode="bilinear", antialias=interpolation == "bilinear")
    return flat.round().clamp(0, 255).to(torch.uint8).view(*pixels.shape[:-2], *size)


def overlap(before: int, after: int) -> Tensor:
    """Share (after, before) of each new pixel of a line that each old pixel covers; rows sum to one."""
    ends = torch.arange(after + 1) * (before / after)
    old = torch.arange(before)
    covered = torch.minimum(ends[1:, None], old + 1) - torch.maximum(ends[:-1, None], old)
    return covered.clamp_min(0) * (after / before)


def spread(before: int, after: int) -> Tensor:
    """Share (after, before) of each new pixel of a line that grows that each old pixel has, as OpenCV's
    INTER_AREA does it (modules/imgproc/src/resize.cpp): of the one it begins in, or of two where it reaches
    over an old one's end."""
    new = torch.arange(after, dtype=torch.float64)
    first = (new * (before / after)).floor()
    second = (new + 1 - (first + 1) * (after / before)).clamp_min(0)
    second = torch.where(first + 1 < before, second - second.floor(), 0.0)
    shares = torch.zeros(after, before, dtype=torch.float64)
    shares[new.long(), first.long()] = 1 - second
    shares[new.long(), (first.long() + 1).clamp_max(before - 1)] += second
    return shares.float()


@dataclass(frozen=True)
class TokenGrid:
    """Features of a clip on its lattice of tubelets."""

    tokens: Tensor
    """(B, N, D) in raster order: time, then rows, then columns."""
    grid: tuple[int, int, int]
    """(T', H', W') with T' * H' * W' == N."""
    vector: Tensor | None = None
    """(B, E) the model's own embedding of the clip, where it has one beside its tokens."""

    def __post_init__(self) -> None:
        time, rows, columns = self.grid
        if self.tokens.ndim != 3 or self.tokens.shape[1] != time * rows * columns:
            raise ValueError(f"tokens {tuple(self.tokens.shape)} do not fill the grid {self.grid}")

    @property
    def pooled(self) -> Tensor:
        """One vector a clip: the model's own (B, E), or the mean over tokens (B, D)."""
        return self.tokens.mean(dim=1) if self.vector is None else self.vector
