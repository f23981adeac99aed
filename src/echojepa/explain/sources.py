"""The kinds of maps: attention of a layer or a head, roll-out, a probe's pooling weights, occlusion.

Every map gives a token's share as a multiple of an even share. It is never negative, its mean over a clip is
1, and nothing is inverted. Only the user chooses a single head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from echojepa.backbones.contract import Backbone
from echojepa.backbones.transformer import VideoTransformer
from echojepa.errors import ConfigError, UserError, unknown
from echojepa.explain.heads import ClipReader
from echojepa.explain.occlusion import Group, occlusion
from echojepa.models.vit import Block

LAYER = re.compile(r"layer:(-?\d{1,4})(?::(\d{1,4}))?")
KNOWN = ("layer:N", "layer:N:HEAD", "rollout", "probe", "occlusion")


@dataclass(frozen=True)
class ClipBatch:
    """Clips as one backbone is fed them."""

    pixels: Tensor
    """(B, 3, T, H, W) uint8."""
    sector: Tensor
    """(B, H, W) bool: where the ultrasound is."""


MapOf = Callable[[ClipBatch], Tensor]
"""Clips to maps (B, T', H', W') of mean 1 each."""


@dataclass(frozen=True)
class MapSource:
    """One kind of map of one backbone."""

    name: str
    """As on the command line."""
    said: str
    """In words."""
    of: MapOf


def check_source(name: str) -> None:
    """ConfigError for a name that is none of a source."""
    if name not in KNOWN[2:] and not LAYER.fullmatch(name):
        raise unknown(name, KNOWN, "source")


def source_of(
    name: str, backbone: Backbone, head: ClipReader | None = None, group: Group = (1, 1, 1), unit: str = ""
) -> MapSource:
    """A source by its name: `layer:N` (the mean of its heads), `layer:N:HEAD`, `rollout`, `probe`,
    `occlusion`.

    `head` is the probe that `probe` looks into and `occlusion` asks, in `unit`; without one occlusion asks
    the pooled feature. UserError where a backbone or a probe has no such thing.
    """
    check_source(name)
    if name == "occlusion":
        asked = f"the prediction ({unit or 'probabilities'})" if head else "the pooled feature"
        hidden = " x ".join(map(str, group))
        said = f"occlusion: how {asked} moves when {hidden} tokens are hidden"
        return MapSource(
            name, said, lambda clips: evened(occlusion(backbone, head, clips.pixels, clips.sector, group))
        )
    if name == "probe":
        if head is None:
            raise ConfigError(
                "the source `probe` shows a probe's pooling weights; give its folder with --results"
            )
        said = "weights of the probe's pooling, the mean of its heads"
        return MapSource(name, said, lambda clips: head_attention(backbone, head, clips.pixels))
    if not isinstance(backbone, VideoTransformer):
        raise UserError(
            f"the attention of {backbone.name} does not lie on a grid; take the source `occlusion` or `probe`"
        )
    if name == "rollout":
        return MapSource(name, "roll-out of attention over all layers", partial(of_each, rollout, backbone))
    layer, chosen = check_layer(name, backbone)
    whose = "the mean of its heads" if chosen is None else f"head {chosen}"
    said = f"attention received in layer {layer + 1} of {len(backbone.encoder.blocks)}, {whose}"
    return MapSource(
        name, said, partial(of_each, partial(layer_attention, layer=layer, head=chosen), backbone)
    )


def check_layer(name: str, backbone: VideoTransformer) -> tuple[int, int | None]:
    """Layer, counted from 0, and head of `layer:N[:HEAD]`; ConfigError for those that are not there."""
    found = LAYER.fullmatch(name)
    assert found is not None
    layer, head = int(found[1]), int(found[2]) if found[2] else None
    blocks, first = len(backbone.encoder.blocks), backbone.encoder.blocks[0]
    assert isinstance(first, Block)
    heads = first.attn.heads
    if not -blocks <= layer < blocks or not 0 <= (head or 0) < heads:
        raise ConfigError(
            f"'{name}': {backbone.name} has layers 0 to {blocks - 1}, or -{blocks} to -1 from the end, with "
            f"heads 0 to {heads - 1}"
        )
    return layer % blocks, head


def evened(maps: Tensor) -> Tensor:
    """Maps (B, ...) >= 0 divided by their mean; all ones for a map of zeros, which prefers nothing."""
    mean = maps.flatten(1).mean(1).view(-1, *[1] * (maps.ndim - 1))
    return torch.where(mean > 0, maps / mean.clamp_min(1e-30), torch.ones_like(maps))


def received(attention: Tensor) -> Tensor:
    """Attention (heads, N queries, N keys) -> what each key receives, (N,): the mean over heads and queries
    of its weight, times N."""
    return attention.mean(dim=(0, 1)) * attention.shape[-1]


def layer_attention(backbone: VideoTransformer, clip: Tensor, layer: int, head: int | None) -> Tensor:
    """Attention received by tokens (N,) of a clip (1, 3, T, H, W) in a layer, of one head or the mean of
    all."""
    (attention,) = backbone.attention(clip, layer)
    return received(attention if head is None else attention[head : head + 1])


def rollout(backbone: VideoTransformer, clip: Tensor) -> Tensor:
    """What tokens (N,) of a clip receive when attention is followed through all layers.

    Each layer is half its attention, the mean of heads, and half the identity, for the residual way around
    it; the layers are multiplied (Abnar and Zuidema, ACL 2020, arXiv 2005.00928). The mean over output
    tokens, for there is no class token.
    """
    flow: Tensor | None = None
    for (attention,) in backbone.attentions(clip):
        mixed = 0.5 * (attention.mean(0) + torch.eye(attention.shape[-1], device=attention.device))
        flow = mixed if flow is None else mixed @ flow
    assert flow is not None
    return received(flow[None])


def of_each(
    make: Callable[[VideoTransformer, Tensor], Tensor], backbone: VideoTransformer, clips: ClipBatch
) -> Tensor:
    """Maps (B, T', H', W') of clips, made one clip at a time: a layer's attention is large."""
    maps = [make(backbone, clip[None]).cpu() for clip in clips.pixels]
    return torch.stack(maps).unflatten(1, backbone.encoder.grid)


@torch.inference_mode()
def head_attention(backbone: Backbone, head: ClipReader, clips: Tensor) -> Tensor:
    """Attention received by tokens of uint8 clips from the query of a head's pooler, mean over its heads:
    maps like those of `MapOf`.

    UserError for a head that has no pooler.
    """
    if not head.attentive:
        raise UserError("a linear probe weights all tokens equally; name an attentive probe with --probe")
    weights = head.attention(backbone(clips))
    return (weights * weights[0].numel()).cpu()
