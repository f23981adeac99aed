"""What every encoder is fed and what it gives back.

Dimension letters used in the package: B batch, V views, K clips, C channels, T frames,
H W pixels, N tokens, M target tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class InputSpec:
    """The input a model was trained on; the only owner of resolution, sampling and normalisation."""

    size: int = 224
    """Height and width in pixels."""
    frames: int = 16
    """Frames in a clip."""
    seconds: float = 2.0
    """Time the clip spans, from its first frame to one frame interval after its last."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Channel means subtracted after scaling to 0..1."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Channel standard deviations divided by."""

    def __post_init__(self) -> None:
        if self.size <= 0 or self.frames <= 0 or self.seconds <= 0 or min(self.std) <= 0:
            raise ValueError(f"InputSpec needs positive size, frames, seconds and std; got {self}")

    def prepare(self, clips: Tensor) -> Tensor:
        """Turn uint8 clips (B, 3, T, H, W) into the normalised float clips the model expects.

        Clips of another size are resized (bilinear, antialiased). Raises TypeError for clips that are
        not uint8, because a clip normalised twice looks plausible and ruins a comparison, and
        ValueError for another number of frames or channels.
        """
        if clips.dtype != torch.uint8:
            raise TypeError(f"clips must be uint8 until the backbone, got {clips.dtype}")
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[2] != self.frames:
            raise ValueError(f"expected clips (B, 3, {self.frames}, H, W), got {tuple(clips.shape)}")
        pixels = clips.float()
        if clips.shape[-2:] != (self.size, self.size):
            flat = pixels.transpose(1, 2).flatten(0, 1)
            flat = F.interpolate(flat, size=(self.size, self.size), mode="bilinear", antialias=True)
            pixels = flat.unflatten(0, (clips.shape[0], self.frames)).transpose(1, 2)
        mean = torch.tensor(self.mean, device=clips.device).view(1, 3, 1, 1, 1)
        std = torch.tensor(self.std, device=clips.device).view(1, 3, 1, 1, 1)
        return (pixels / 255.0 - mean) / std


@dataclass(frozen=True)
class TokenGrid:
    """Features of a clip on its lattice of tubelets."""

    tokens: Tensor
    """(B, N, D) in raster order: time, then rows, then columns."""
    grid: tuple[int, int, int]
    """(T', H', W') with T' * H' * W' == N."""

    def __post_init__(self) -> None:
        time, rows, columns = self.grid
        if self.tokens.ndim != 3 or self.tokens.shape[1] != time * rows * columns:
            raise ValueError(f"tokens {tuple(self.tokens.shape)} do not fill the grid {self.grid}")

    @property
    def pooled(self) -> Tensor:
        """Mean over tokens, (B, D)."""
        return self.tokens.mean(dim=1)
