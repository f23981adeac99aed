"""Probe files of EchoJEPA's released evaluation code: every head of the grid, as our Probes.

A file is a dictionary with `classifiers`, a list of state dicts that differ by learning rate and weight
decay. Facts: github bowang-lab/EchoJEPA and alif-munim/EchoJEPA (src/models/attentive_pooler.py,
linear_pooler.py, evals/). Their bias of keys is left out: it adds the same to every score of a query, which
softmax does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.backbones.contract import Backbone
from echojepa.backbones.heads import OFFICIAL
from echojepa.backbones.loading import load_backbone
from echojepa.config import InputSpec
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.store.loop_store import LoopStore
from echojepa.evaluation.features.cache import shape_of
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.weights.tensors import CheckpointError, build_from, load_foreign, plain_names, renamed

CROSS = "pooler.cross_attention_block"
RENAMED = (
    (f"{CROSS}.norm1.", "pooler.norm1."),
    (f"{CROSS}.norm2.", "pooler.norm2."),
    (f"{CROSS}.mlp.", "pooler.mlp."),
    (f"{CROSS}.xattn.q.", "pooler.q."),
    ("pooler.query_tokens", "pooler.query"),
    ("pooler.blocks.", "blocks."),
    (".attn.qkv.", ".qkv."),
    (".attn.proj.", ".proj."),
    ("regressor.", "linear."),
    ("view_embed.weight", "view_embed"),
    ("clip_embed.weight", "clip_embed"),
)
"""Parts of their names and of ours; an unknown name stays, and is refused."""
CLIPS_PER_LOOP = 2
"""Clips of a video whose predictions are averaged, or that fill a head's slots."""


@dataclass(frozen=True)
class OfficialModel:
    """A frozen encoder fed as the heads of a released probe file were, and those heads."""

    backbone: Backbone
    probes: Probes

    def clips(self, store: LoopStore, rows: Sequence[int] | NDArray[np.int64]) -> ClipDataset:
        """The clips of cine loops that the heads know: two a loop, in order."""
        return ClipDataset(store, rows, self.backbone.spec, clips_per_loop=CLIPS_PER_LOOP)

    def predict(self, clips: Tensor) -> Tensor:
        """Predictions (heads, n, outputs) of uint8 clips (n, 3, T, size, size), as `Probes.predict`."""
        return self.probes.predict(self.backbone(clips).tokens.clone().cpu())


def load_official(
    probes: Path, encoder: Path | str, scale: Scale | None = None, spec: InputSpec = OFFICIAL
) -> OfficialModel:
    """A released encoder with the heads of a released probe file, fed as these were (OFFICIAL) unless `spec`
    says otherwise: EchoJEPA's giant with 336 px, for example. CheckpointError as `load_backbone`."""
    backbone = load_backbone(encoder, spec)
    return OfficialModel(backbone, load_official_probes(probes, shape_of(backbone).grid, scale))


def load_official_probes(
    path: Path, grid: tuple[int, int, int], scale: Scale | None = None, attention_heads: int = 16
) -> Probes:
    """The heads of a file for a backbone whose clips have this grid of tokens.

    `scale` is the mean and standard deviation that the file's regression targets were z-scored with, and
    the number of attention heads is 16 in all released settings: the file holds neither. CheckpointError
    for a file of another kind, and for one that does not fit.
    """
    content = load_foreign(path)
    states = content.get("classifiers")
    if not isinstance(states, list) or not states or not all(isinstance(state, dict) for state in states):
        raise CheckpointError(
            f"{path.name} has the entries {sorted(map(str, content))[:8]}; a probe file has a list "
            "`classifiers`"
        )
    plain = [plain_names(state, path.name) for state in states]
    heads = [{renamed(key, RENAMED): value for key, value in translate(state).items()} for state in plain]
    designs = [{key: value.shape for key, value in head.items()} for head in heads]
    if any(design != designs[0] for design in designs):
        raise CheckpointError(
            f"{path.name} holds heads of different designs; each must have the same tensors"
        )
    shape = recognise_probe(heads[0], grid, attention_heads, path.name)
    tensors = {key: torch.stack([head[key] for head in heads]) for key in heads[0]}
    scale = scale or Scale()
    standardiser = Standardiser.identity(1, shape.width)
    tensors |= {"input_mean": standardiser.mean, "input_std": standardiser.std,
                "target": torch.tensor([float(scale.mean), float(scale.std)])}  # fmt: skip
    return build_from(
        lambda: Probes(len(heads), shape, standardiser, scale, torch.Generator()), tensors, path.name
    )


def translate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """One head's tensors, keys and values apart, slots factorised."""
    plain = dict(state)
    for kind in ("weight", "bias"):
        fused = plain.pop(f"{CROSS}.xattn.kv.{kind}", None)
        if fused is not None:
            key, value = fused.chunk(2)
            plain[f"pooler.v.{kind}"] = value
            if kind == "weight":
                plain["pooler.k.weight"] = key
    if "slot_embed.weight" in plain:
        plain["view_embed.weight"] = plain.pop("slot_embed.weight")
        plain["clip_embed.weight"] = torch.zeros_like(plain["view_embed.weight"][:1])
    if "pooler.query_tokens" in plain:
        plain["pooler.query_tokens"] = plain["pooler.query_tokens"].flatten()
    return plain


def recognise_probe(
    head: dict[str, Tensor], grid: tuple[int, int, int], attention_heads: int, name: str
) -> ProbeShape:
    """The shape of a head; CheckpointError where it has no linear layer, or cannot be built."""
    if "linear.weight" not in head or head["linear.weight"].ndim != 2:
        raise CheckpointError(f"{name} has no linear or regressor weight; found {sorted(head)[:5]}")
    outputs, width = head["linear.weight"].shape
    blocks = {key.split(".")[1] for key in head if key.startswith("blocks.")}
    views, clips = (len(head[key]) if key in head else 1 for key in ("view_embed", "clip_embed"))
    depth = 1 + len(blocks) if "pooler.query" in head else 0
    try:
        return ProbeShape(grid, width, outputs, depth, attention_heads, views, clips, position=False)
    except ValueError as error:
        raise CheckpointError(f"the heads in {name} cannot be built: {error}") from error
