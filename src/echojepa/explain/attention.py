"""Attention of a frozen encoder, or of a fine-tuned one's head, laid over the pictures it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import InputSpec
from echojepa.data.clips.clips import clock, frame_indices, letterbox
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.models.contract import fit, resize
from echojepa.models.probe import Probes

AttentionOf = Callable[[Tensor], Tensor]
"""uint8 clips (B, 3, T, H, W) to how much each token is attended to, (B, T', H', W'); 1 is an even spread."""


@dataclass(frozen=True)
class Film:
    """A cine loop, and beside it the same frames coloured by attention."""

    frames: NDArray[np.uint8]
    """(T, side, side * (1 + maps), 3)."""
    seconds: float
    """From one frame to the next."""


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


def encoder_attention(backbone: VideoTransformer, clips: Tensor) -> Tensor:
    """What tokens receive in the encoder's last block; see `AttentionOf`."""
    received = [attention_received(one, backbone.encoder.grid) for one in backbone.attention(clips, -1)]
    return torch.stack(received).cpu()


@torch.inference_mode()
def head_attention(backbone: VideoTransformer, head: Probes, clips: Tensor) -> Tensor:
    """What tokens receive from the query of a head's pooler, the mean over its heads; see `AttentionOf`.

    UserError for a head that reads several clips at once; ValueError for a linear one.
    """
    if head.shape.slots > 1:
        raise UserError(
            "this head reads several clips at once; give a fine-tuning for a task of single clips"
        )
    tokens = backbone(clips).tokens.to(head.target.device)
    attention = head.attention(tokens)[0].mean(dim=1) * tokens.shape[1]
    return attention.unflatten(1, head.shape.grid).cpu()


def attention_film(
    store: LoopStore, row: int, spec: InputSpec, maps: Sequence[AttentionOf], side: int
) -> Film:
    """A whole stored loop, clip after clip of `spec`, its frames `side` pixels: plain, then once for each of
    `maps`. Every map has one scale of colours for the whole loop."""
    times = store.times(row)
    mask = resize(letterbox(store.mask(row)[None].astype(np.uint8) * 255), side)[0, 0].numpy() > 127
    moments, interval = clock(times, spec)
    span = interval * spec.frames
    clips, shown = [], []
    for number in range(max(1, round((moments[-1] + moments[1]) / span))):
        pixels = letterbox(store.frames(row, frame_indices(times, number * span, spec).tolist()))
        clips.append(fit(spec, pixels).expand(3, -1, -1, -1))
        shown.append(grey_frames(resize(pixels, side)))
    frames, fed = np.concatenate(shown), torch.stack(clips)
    painted = [overlay(frames, attention(fed).flatten(0, 1), mask) for attention in maps]
    plain = np.repeat(frames[..., None], 3, axis=-1)
    return Film(np.concatenate([plain, *painted], axis=2), float(interval * times[-1] / moments[-1]))
