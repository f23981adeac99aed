"""What every encoder is fed and what it gives back.

Dimension letters used in the package: B batch, V views, K clips, C channels, T frames,
H W pixels, N tokens, M target tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic", "area"]


@dataclass(frozen=True)
class InputSpec:
    """The input a model was trained on; the only owner of resolution, sampling and normalisation."""

    size: int = 224
    """Height and width in pixels."""
    frames: int = 16
    """Frames in a clip."""
    seconds: float | None = 2.0
    """Time the clip spans, from its first frame to one frame interval after its last."""
    stride: int | None = None
    """In place of `seconds`: stored frames from one frame of a clip to the next, whatever their rate."""
    resized: int | None = None
    """Side that pictures are resized to before their centre of `size` is cut; `size` itself if None."""
    interpolation: Interpolation = "bilinear"
    """How pictures are resized: bilinear is antialiased, bicubic is not (OpenCV's), area takes the mean
    of what a new pixel covers (OpenCV's, bilinear where a picture grows)."""
    value_max: float = 1.0
    """What the brightest pixel, 255, is before the mean is subtracted."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Channel means subtracted."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Channel standard deviations divided by."""

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.stride is None):
            raise ValueError(
                f"InputSpec needs either seconds or stride; got seconds={self.seconds}, stride={self.stride}"
            )
        numbers = (self.size, self.frames, self.seconds or self.stride or 0, self.value_max, *self.std)
        if min(numbers) <= 0 or (self.resized or self.size) < self.size:
            raise ValueError(
                "InputSpec needs positive size, frames, seconds or stride, value_max and std, and "
                f"resized not below size; got {self}"
            )

    @property
    def sampling(self) -> str:
        """Which frames a clip has, in words."""
        if self.stride is None:
            return f"{self.frames} frames over {self.seconds} s"
        return f"{self.frames} frames, every {self.stride} of the stored ones"

    def fit(self, pixels: Tensor) -> Tensor:
        """Resize square pictures (..., S, S) uint8 and cut their centre -> (..., size, size) uint8."""
        side = self.resized or self.size
        if pixels.shape[-2:] != (side, side):
            pixels = resize(pixels, side, self.interpolation)
        edge = (side - self.size) // 2
        return pixels[..., edge : edge + self.size, edge : edge + self.size]

    def prepare(self, clips: Tensor) -> Tensor:
        """Turn uint8 clips (B, 3, T, H, W) into the normalised float clips the model expects.

        Clips of `size` are taken as fitted, all others are fitted. Raises TypeError for clips that are
        not uint8, because a clip normalised twice looks plausible and ruins a comparison, and
        ValueError for another number of frames or channels.
        """
        if clips.dtype != torch.uint8:
            raise TypeError(f"clips must be uint8 until the backbone, got {clips.dtype}")
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[2] != self.frames:
            raise ValueError(f"expected clips (B, 3, {self.frames}, H, W), got {tuple(clips.shape)}")
        pixels = clips if clips.shape[-2:] == (self.size, self.size) else self.fit(clips)
        mean = torch.tensor(self.mean, device=clips.device).view(1, 3, 1, 1, 1)
        std = torch.tensor(self.std, device=clips.device).view(1, 3, 1, 1, 1)
        return (pixels.float() * (self.value_max / 255.0) - mean) / std


def resize(pixels: Tensor, side: int, interpolation: Interpolation = "bilinear") -> Tensor:
    """Resize uint8 pictures (..., H, W) to (..., side, side) uint8, rounded to the nearest value."""
    flat = pixels.flatten(0, -3).unsqueeze(1).float()
    if interpolation == "area" and side <= min(pixels.shape[-2:]):
        rows, columns = (overlap(n, side).to(pixels.device) for n in pixels.shape[-2:])
        flat = rows @ flat @ columns.T
    elif interpolation == "bicubic":
        flat = F.interpolate(flat, size=(side, side), mode="bicubic")
    else:
        flat = F.interpolate(flat, size=(side, side), mode="bilinear", antialias=interpolation == "bilinear")
    return flat.round().clamp(0, 255).to(torch.uint8).view(*pixels.shape[:-2], side, side)


def overlap(before: int, after: int) -> Tensor:
    """Share (after, before) of each new pixel of a line that each old pixel covers; rows sum to one."""
    ends = torch.arange(after + 1) * (before / after)
    old = torch.arange(before)
    covered = torch.minimum(ends[1:, None], old + 1) - torch.maximum(ends[:-1, None], old)
    return covered.clamp_min(0) * (after / before)


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
