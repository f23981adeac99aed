"""Attention maps of a frozen encoder, laid over the pictures they were made from."""

from __future__ import annotations

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def attention_received(attention: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Attention (heads, N queries, N keys) -> how much each token is attended to, (T', H', W').

    The mean over heads and queries of the weight a key receives, times N: 1 is what an even spread
    would give. No head is picked and nothing is inverted.
    """
    received = attention.mean(dim=(0, 1)) * attention.shape[-1]
    return received.view(grid)


def overlay(frames: NDArray[np.uint8], weights: Tensor, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colour frames (T, H, W) by a map (T', H', W'), one scale for the whole loop -> (T, H, W, 3).

    The map is resized linearly in space and held for the frames of a tubelet; outside the mask (H, W)
    the picture stays as it is. The scale runs from the 5th to the 99th percentile of the loop.
    """
    time, (height, width) = len(frames), frames.shape[1:]
    fine = F.interpolate(weights[None].float(), size=(height, width), mode="bilinear")[0].numpy()
    fine = fine[np.arange(time) * len(fine) // time]
    inside = fine[:, mask]
    low, high = np.percentile(inside, [5, 99])
    share = np.clip((fine - low) / max(1e-9, high - low), 0, 1)
    colours = matplotlib.colormaps["inferno"](share)[..., :3]
    grey = np.repeat(frames[..., None] / 255.0, 3, axis=-1)
    strength = (0.65 * share * mask)[..., None]
    return np.round(255 * (grey * (1 - strength) + colours * strength)).astype(np.uint8)


def grey_frames(clip: Tensor) -> NDArray[np.uint8]:
    """A uint8 clip (3, T, H, W) as grey frames (T, H, W)."""
    return clip.float().mean(0).round().to(torch.uint8).numpy()
